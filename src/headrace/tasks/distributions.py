"""What a model learnt from and what came since, as frames whose columns are compared: what each task must bring."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from headrace.contract import KNOWN_AT
from headrace.errors import ArtefactError

if TYPE_CHECKING:
    import polars as pl

FEATURE, TARGET, PREDICTION = "feature", "target", "prediction"
DAY = ":day"
"""The column of a frame that says the day, in UTC, that a row is counted in; null where that is not told."""
HELD_OUT = "held_out.json"
"""Among a version's files: what it predicted where it had not learnt."""
DAYS = 400
"""Days of a reference that are counted one by one; what is older is counted as one."""
_KEPT = 1000


@dataclass(frozen=True)
class Variable:
    """One column that is compared.

    Attributes:
        role: ``feature``, ``target`` or ``prediction``.
        name: The feature, or the column.
        kind: ``numeric``, ``categorical`` or ``text``.
    """

    role: str
    name: str
    kind: str


@dataclass(frozen=True)
class ObservedRows:
    """Rows of one role: `DAY`, the segments' columns and the variables', each under the name that `column` gives.

    Attributes:
        frame: The rows.
        variables: What is compared.
    """

    frame: pl.DataFrame
    variables: Sequence[Variable]


def column(variable: Variable) -> str:
    """The column of a variable, which no segment's is called like."""
    return f"{variable.role}:{variable.name}"


class KnownBetween(NamedTuple):
    """Which rows: facts that became known after a time, up to another; what a run made as of the first or later.

    So a fact that is known at midnight belongs to the day before, which a run of that time sees, and what that run
    makes to the day that begins.

    Attributes:
        after: What was known then has gone into the version, UTC.
        upto: No fact that became known later is seen, UTC.
        before: Nothing is seen that was made as of then, or later, UTC.
    """

    after: datetime
    upto: datetime
    before: datetime

    def facts(self) -> pl.Expr:
        """Of facts, by their known time."""
        import polars as pl

        return (pl.col(KNOWN_AT) > _utc(self.after)) & (pl.col(KNOWN_AT) <= _utc(self.upto))

    def made(self) -> pl.Expr:
        """Of what runs, or doors, made."""
        import polars as pl

        return (pl.col(KNOWN_AT) >= _utc(self.after)) & (pl.col(KNOWN_AT) < _utc(self.before))

    def earlier(self) -> tuple[pl.Expr, pl.Expr]:
        """The facts, and what was made, before all of these."""
        import polars as pl

        return pl.col(KNOWN_AT) <= _utc(self.after), pl.col(KNOWN_AT) < _utc(self.after)


def day_of_facts() -> pl.Expr:
    """The day that a fact is counted in."""
    import polars as pl

    return (pl.col(KNOWN_AT) - pl.duration(microseconds=1)).dt.truncate("1d").alias(DAY)


def day_of_made() -> pl.Expr:
    """The day that a prediction is counted in, or what was seen for it."""
    import polars as pl

    return pl.col(KNOWN_AT).dt.truncate("1d").alias(DAY)


def _utc(time: datetime) -> pl.Expr:
    import polars as pl

    return pl.lit(time, pl.Datetime("us", "UTC"))


class Distributions(Protocol):
    """What a version learnt from, and what came since."""

    @property
    def span(self) -> timedelta:
        """How long what came must span at least, until it says something; none where rows have no order."""

    def reference(self) -> Sequence[ObservedRows]:
        """What the version learnt from, role by role, and what it predicted where it had not learnt.

        Raises:
            HeadraceError: It cannot be read any more.
        """

    def marks(self, between: KnownBetween) -> Mapping[datetime, str]:
        """Of every day that something came in, a text that changes when more is known of it."""

    def observed(self, between: KnownBetween) -> Sequence[ObservedRows]:
        """What came, role by role."""

    def unit(self, variable: Variable) -> str | None:
        """What a variable's numbers are counted in; None: in their own unit."""


def save_held_out(folder: Path, target: str, values: NDArray[Any]) -> None:
    """Keep what a fit predicted of rows that it had not seen, as values at equal distances of rank.

    Args:
        folder: Of the model's files.
        target: What is predicted: a feature of drift is called so.
        values: Numbers, or texts of classes; missing ones count as none.
    """
    if values.dtype.kind == "f":
        known = np.sort(values[np.isfinite(values)])
        places = np.linspace(0, max(known.size - 1, 0), min(known.size, _KEPT)).astype(np.int64)
        lines: list[Any] = [float(f"{value:.9g}") for value in known[places].tolist()]
    else:
        names, counts = np.unique(values.astype(str), return_counts=True)
        share = min(_KEPT / max(int(counts.sum()), 1), 1.0)
        lines = [name for name, count in zip(names.tolist(), counts, strict=True) for _ in range(round(count * share))]
    document = {"predicts": target, "rows": int(values.size), "values": lines}
    (folder / HELD_OUT).write_text(json.dumps(document), encoding="utf-8")


def held_out(folder: Path) -> list[Any] | None:
    """What `save_held_out` kept; None in a version of before it was.

    Raises:
        ArtefactError: The file is damaged.
    """
    path = folder / HELD_OUT
    if not path.exists():
        return None
    try:
        values: list[Any] = json.loads(path.read_text(encoding="utf-8"))["values"]
    except (ValueError, LookupError, OSError) as error:
        raise ArtefactError("what was held out cannot be read", where=str(path), hint="train it anew") from error
    return values
