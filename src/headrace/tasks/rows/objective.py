"""The loss of a configuration of a system that scores rows: held out by the folds of its model, as a training does it.

A fifth of the rows no trial sees: the latest ones where rows have a time, whole groups where there are groups, and
otherwise rows drawn at random with the shares of the classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headrace.errors import NotEnoughDataError
from headrace.home import Home
from headrace.system import System
from headrace.tasks.objective import BLOCKS, Objective, Report, UnseenLosses
from headrace.tasks.rows.folds import FORWARD, GROUPS, Fold, RowFolds
from headrace.tasks.rows.lookups import Lookups
from headrace.tasks.rows.outputs.base import Output
from headrace.tasks.rows.outputs.declared import model_of, output_with
from headrace.tasks.rows.training import Log, fit, labelled, learnable
from headrace.watching import holding_out

if TYPE_CHECKING:
    import polars as pl

PARTS = 5
"""One of so many parts is never seen by a trial."""
FEWEST = 30
"""Fewer unseen rows than this compare nothing."""


class RowObjective(Objective):
    """See `Objective`.

    Args:
        system: The declaration.
        home: Where the rows are.
        as_of: What was known then is used, UTC.
        data_version: Logical version of the raw table.

    Raises:
        NotEnoughDataError: There are too few rows with a target.
    """

    learnt = "rows"

    def __init__(self, system: System, home: Home, *, as_of: datetime, data_version: int) -> None:
        rows = learnable(system, labelled(system, home, as_of=as_of, data_version=data_version))
        lookups = Lookups.of(system.features, system, home)
        rows, _ = lookups.join(rows, as_of)
        self._types, self._log = lookups.types, Log.of(system, home, as_of)
        model = model_of(system)
        output = output_with(system, rows[system.target].unique().sort().to_list() if model.discrete else ())
        parting, unseen = _parted(system, rows, output.actual(rows[system.target]) if output.classes else None)
        if unseen.held.size < FEWEST:
            message = f"{unseen.held.size} of {rows.height} rows would be left to compare on, {FEWEST} are needed"
            raise NotEnoughDataError(message, where=system.name, hint=f"headrace ingest {system.name}")
        self._rows, self._unseen = rows[unseen.kept], rows[unseen.held]
        self._blocks = _blocks(parting, unseen.held)
        self.measure, self.folds = output.measure, model.folds * model.repeats
        self.seen = f"{unseen.kept.size:,} rows"
        self._order = _nested(parting, unseen.kept, model.seed)

    def loss(self, system: System, report: Report) -> float:
        """As a training of these rows would tell it: of the members that it chooses, calibrated, on held-out rows."""
        total = 0.0

        def held(place: int, value: float) -> None:
            nonlocal total
            total += value
            report(place, total / (place + 1))

        with holding_out(held):
            fitted = fit(system, self._rows, self._types, self._log)
        return float(fitted.scores[fitted.output.measure])

    def size(self, share: float = 1.0) -> int:
        """Rows."""
        return max(round(share * self._rows.height), 1)

    def unseen(self, system: System, share: float = 1.0) -> tuple[Output, NDArray[np.float64]]:
        """By the model that a training on the rows of the search makes, or on some, evenly taken of all times."""
        rows = self._rows if share == 1 else self._rows[np.sort(self._order[: self.size(share)])]
        model = fit(system, rows, self._types, self._log).model
        return model.output, model.numbers(self._unseen)

    def judged(self, parts: Sequence[Any]) -> UnseenLosses:
        """On rows, by the loss of the output."""
        output = parts[0][0]
        actual = output.actual(self._unseen[output.target])

        def losses(places: NDArray[np.bool_]) -> list[float]:
            return [output.metrics(actual[places], numbers[places])[output.measure] for _, numbers in parts]

        return UnseenLosses.of(losses, self._blocks, output.measure, "rows")


def _parted(system: System, rows: pl.DataFrame, classes: NDArray[np.float64] | None) -> tuple[RowFolds, Fold]:
    """How rows are parted, and the part that no trial sees beside the others."""
    model = model_of(system)
    time = None if system.time is None else rows[system.time]
    group = None if model.groups is None else rows[model.groups]
    strata = None if classes is None else np.nan_to_num(classes).astype(np.intp)
    forward = RowFolds.of(PARTS - 1, rows.height, time, group, strata)
    if forward.kind == FORWARD:
        *_, last = forward.each(model.seed)
        return forward, last
    folds = RowFolds.of(PARTS, rows.height, None, group, strata)
    return folds, next(folds.each(model.seed))


def _nested(parting: RowFolds, places: NDArray[np.intp], seed: int) -> NDArray[np.intp]:
    """An order of rows, of which any beginning is a fair share: of every class alike, or of whole groups."""
    random = np.random.default_rng(seed)
    if parting.groups is not None:
        groups = parting.groups[places]
        return np.argsort(random.permutation(int(groups.max()) + 1)[groups], kind="stable")
    rank = np.empty(places.size)
    strata = np.zeros(places.size, dtype=np.intp) if parting.strata is None else parting.strata[places]
    for stratum in np.unique(strata):
        members = random.permutation(np.flatnonzero(strata == stratum))
        rank[members] = (np.arange(members.size) + 0.5) / members.size
    return np.argsort(rank, kind="stable")


def _blocks(parting: RowFolds, places: NDArray[np.intp]) -> NDArray[np.intp]:
    """The block of each unseen row: rows of one time or group may depend on one another."""
    count = min(BLOCKS, places.size)
    if parting.kind == GROUPS and parting.groups is not None:
        return np.unique(parting.groups[places] % count, return_inverse=True)[1].astype(np.intp)
    order = np.arange(places.size)
    if parting.times is not None:
        order = np.argsort(np.argsort(parting.times[places], kind="stable"))
        return (order * count // places.size).astype(np.intp)
    return (order % count).astype(np.intp)
