"""From labelled rows to a model version: choose, fit, register, and let it win its place or not."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.contract.alike import labels_alike
from headrace.errors import NotEnoughDataError
from headrace.features.served import ServedFeatures
from headrace.features.view import Features
from headrace.home import RAW, Home
from headrace.registry import Trained
from headrace.registry.records import FALLBACK
from headrace.scratch import scratch
from headrace.system import System
from headrace.tasks.distributions import save_held_out
from headrace.tasks.gate import Match, Start, admit
from headrace.tasks.rows import logged_features
from headrace.tasks.rows.card import importance, sections
from headrace.tasks.rows.estimated import save_reference
from headrace.tasks.rows.fitting import GATE_ROWS, RowFit, Rows, fulfilling
from headrace.tasks.rows.fitting import fit as fit_rows
from headrace.tasks.rows.lookups import Lookups
from headrace.tasks.rows.outputs.declared import model_of, output_with
from headrace.tasks.rows.portions import Portions
from headrace.tasks.rows.predictor import RowPredictor
from headrace.tasks.rows.spooled import Spooling, spooled
from headrace.tasks.rows.trials import known
from headrace.tasks.verdict import Verdict, called

if TYPE_CHECKING:
    import polars as pl

    from headrace.registry import ModelVersion
    from headrace.tasks.sections import Section

ASKED = 30
"""Rows that are asked for one by one, to tell how long a prediction takes."""
COMPARED = 30
"""Fewer rows than this that neither model was fitted on compare nothing."""


def labelled(system: System, home: Home, *, as_of: datetime, data_version: int) -> pl.DataFrame:
    """The rows with a target that were known, the newest fact of each key, in order of the keys.

    Raises:
        NotEnoughDataError: There is none.
    """
    import polars as pl

    columns, known_target = _columns(system), pl.col(system.target).is_not_null()
    rows = home.table(system.name, RAW).read(
        identity=system.identity, columns=columns, version=data_version, as_of=as_of, where=known_target
    )
    if rows.is_empty():
        raise _nothing(system)
    return rows


def _nothing(system: System) -> NotEnoughDataError:
    return NotEnoughDataError("no row has a target", where=system.target, hint=f"headrace ingest {system.name}")


def _columns(system: System) -> list[str]:
    """The columns that a training reads."""
    model = model_of(system)
    further = [*([] if model.groups is None else [model.groups]), *model.columns_of_condition]
    return list(dict.fromkeys([*system.identity, *_types(system), system.target, *further, "known_at"]))


def _types(system: System) -> dict[str, str]:
    """Contract type of every column that the features read."""
    read = system.features.columns()
    if system.time is not None and any(e.uses_time() for e in system.features.expressions):
        read = read | {system.time}
    return {column.name: column.type for column in system.contract.columns if column.name in read}


def learnable(system: System, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows that are learnt from: all but those that the model's `learn_from` sets apart.

    Raises:
        NotEnoughDataError: All are set apart.
    """
    kept = rows.filter(fulfilling(model_of(system), rows))
    if kept.is_empty():
        raise _all_apart(rows.height)
    return kept


def _all_apart(count: int) -> NotEnoughDataError:
    message = f"all {count:,} rows with a target are set apart"
    return NotEnoughDataError(message, where="model.learn_from", hint="it is true of rows to learn from")


@dataclass(frozen=True)
class Log:
    """The features that rows were served with, as one training sees them.

    Attributes:
        system: The declaration.
        home: Where their table is.
        as_of: What was served later is not seen.
        version: The table's, which is 0 while there is none.
    """

    system: System
    home: Home
    as_of: datetime
    version: int

    @classmethod
    def of(cls, system: System, home: Home, as_of: datetime) -> Log | None:
        """What is there now; None where a training recomputes."""
        if system.train_on != "served":
            return None
        return cls(system, home, as_of, home.table(system.name, logged_features.TABLE).version())

    def served(self, features: Features, rows: pl.DataFrame) -> ServedFeatures:
        """What these rows were served with by a version of the features."""
        return logged_features.read(
            self.system, self.home, rows, feature_version=features.digest, as_of=self.as_of, version=self.version
        )


def fit(
    system: System, rows: pl.DataFrame, looked_up: Mapping[str, str] | None = None, log: Log | None = None
) -> RowFit:
    """Fit the system's model on labelled rows.

    Args:
        system: The declaration.
        rows: What it learns from.
        looked_up: Contract types of the columns that were looked up for them.
        log: What rows were served with, to learn from that.

    Raises:
        DeclarationError: The model is not one of rows.
        NotEnoughDataError: There are too few rows, or one class only.
    """
    return _fit(system, _rows(system, learnable(system, rows), dict(looked_up or {}), log))


def _rows(system: System, rows: pl.DataFrame, looked_up: dict[str, str], log: Log | None) -> Rows:
    served = None if log is None else log.served(system.features, rows)
    return Rows(rows, system.target, _types(system) | looked_up, system.time, served)


def _fit(system: System, rows: Rows, *, instead: bool = False) -> RowFit:
    model, target = model_of(system), rows.frame[system.target]
    output = output_with(system, target.unique().sort().to_list() if model.discrete else ())
    return fit_rows(model, output, system.features, rows, instead=instead)


def train(
    system: System,
    home: Home,
    *,
    as_of: datetime,
    data_version: int,
    now: datetime,
    because: str | None = None,
    instead: str | None = None,
) -> Trained:
    """Fit on what was known, register the version, and promote it if it beats the champion.

    Args:
        system, home, as_of, data_version, now, because: As `Task.train`.
        instead: Why the best baseline is served in the model's place; None: it is not.

    Raises:
        NotEnoughDataError: There are too few labelled rows.
        ModelError: The new model's row form disagrees with its table form, or what a request would look up with the
            table: it is not registered.
        RegistryError: The tracking server cannot be reached.
    """
    began = Start.of(system, home, now)
    log = Log.of(system, home, as_of)
    portions = Portions(system, home, tuple(_columns(system)), as_of, data_version)
    if portions.facts() > model_of(system).max_rows:
        with scratch(home.path) as folder:
            challenger = _of_files(portions, log, folder, now, instead)
    else:
        challenger = _of_memory(portions, log, now, instead)
    return admit(
        system,
        home,
        challenger,
        as_of=as_of,
        data_version=data_version,
        began=began,
        because=because,
        importance=importance(challenger.fitted, challenger.learnt.some),
    )


def _of_memory(portions: Portions, log: Log | None, now: datetime, instead: str | None) -> _RowChallenger:
    """Fit on rows that are in memory at once."""
    system, home, as_of = portions.system, portions.home, portions.as_of
    every_row = labelled(system, home, as_of=as_of, data_version=portions.version)
    frame = learnable(system, every_row)
    lookups = Lookups.of(system.features, system, home)
    frame, stored = lookups.join(frame, as_of)
    lookups.refuse_disagreement(frame.tail(GATE_ROWS), as_of, now)
    rows, apart = _rows(system, frame, lookups.types, log), every_row.height - frame.height
    fitted = _fit(system, rows, instead=instead is not None)
    return _RowChallenger(portions, fitted, rows, log, stored, apart, instead)


def _of_files(portions: Portions, log: Log | None, folder: Path, now: datetime, instead: str | None) -> _RowChallenger:
    """Fit on rows whose features are written to files."""
    system, model, as_of = portions.system, model_of(portions.system), portions.as_of
    lookups = Lookups.of(system.features, system, portions.home)
    apart, stored = 0, dict[str, int]()

    def parts() -> Iterator[Rows]:
        nonlocal apart, stored
        for rows, others, versions in portions:
            apart, stored = apart + others, versions
            if not rows.is_empty():
                yield _rows(system, rows, lookups.types, log)

    categories = [column.name for column in system.contract.columns if column.type in ("category", "boolean")]
    groups = [] if model.groups is None else [model.groups]
    times = [] if system.time is None else [system.time]
    meta = [*system.identity, system.target, *groups, *times, *set(categories) & set(_types(system)), "known_at"]
    how = Spooling(system.features, folder, system.identity, list(dict.fromkeys(meta)), model.max_rows)
    rows = spooled(parts(), how)
    if rows is None:
        raise _all_apart(apart) if apart else _nothing(system)
    lookups.refuse_disagreement(rows.some.tail(GATE_ROWS), as_of, now)
    fitted = _fit(system, rows, instead=instead is not None)
    return _RowChallenger(portions, fitted, rows, log, stored, apart, instead)


@dataclass(frozen=True)
class _RowChallenger:
    """A fit of rows before the gate; see `headrace.tasks.gate.Challenger`."""

    portions: Portions
    fitted: RowFit
    learnt: Rows
    log: Log | None
    stored: Mapping[str, int]
    apart: int
    instead: str | None = None

    @property
    def system(self) -> System:
        return self.portions.system

    @property
    def rows(self) -> pl.DataFrame:
        return self.learnt.frame

    @property
    def params(self) -> Mapping[str, Any]:
        fitted, output = self.fitted, self.fitted.output
        weights = dict(zip(fitted.model.names, fitted.model.weights, strict=True))
        known = {"chosen": fitted.chosen, "weights": weights, "held_by": fitted.held_by, "output": output.kind}
        return self.system.model.model_dump(mode="json") | known | {"classes": list(output.classes)}

    @property
    def pins(self) -> Mapping[str, Any]:
        served = {} if self.log is None else {"served": self.fitted.served, "logged_features": self.log.version}
        apart = {} if model_of(self.system).learn_from is None else {"apart": self.apart}
        stored = {"stored": dict(self.stored)} if self.stored else {}
        alike = labels_alike(self.rows[self.system.target]) if self.fitted.output.classes else []
        further: dict[str, Any] = {"alike": alike} if alike else {}
        further |= {} if self.instead is None else {FALLBACK: True}
        return {"rows": self.rows.height, **apart, **self._sampled, **stored, **served, **further}

    @property
    def _sampled(self) -> Mapping[str, Any]:
        """How many of the rows some learners were fitted on, where these are more than memory should hold."""
        model = model_of(self.system)
        learners = zip((*model.names, *model.baseline_names), (*model.members, *model.baselines), strict=True)
        asked = model.asks(self.fitted.output.classes)
        names = [name for name, learner in learners if not learner.reads_parts(asked)]
        more = self._filed and self.rows.height > model.max_rows
        return {"sampled": {"rows": model.max_rows, "learners": names}} if more and names else {}

    def scores(self) -> Mapping[str, float]:
        return self.fitted.scores

    def save(self, folder: Path) -> None:
        self.fitted.model.save(folder)
        output, numbers = self.fitted.output, self.fitted.held_out
        answers = output.columns(numbers[known(numbers)])
        several = len(output.classes) > 2
        values = answers[output.target if several else output.number]
        save_held_out(folder, self.system.target, np.array(values, dtype=str if several else np.float64))
        judged = known(numbers)
        save_reference(folder, output, self.fitted.actual[judged], numbers[judged])

    def sections(self) -> list[Section]:
        return sections(self.system, self.fitted, self.learnt)

    def cost(self) -> Mapping[str, float]:
        model = self.fitted.model
        rows = self.learnt.some.head(ASKED).select(list(model.types)).to_dicts()
        model.answer(rows[0])
        began = time.perf_counter()
        for row in rows:
            model.answer(row)
        return {"predict_us": round((time.perf_counter() - began) / len(rows) * 1e6, 1)}

    def verdict(self) -> Verdict:
        fitted, measure = self.fitted, self.fitted.output.measure
        return Verdict(called(measure), fitted.scores[measure], fitted.baselines, fitted.judged)

    def against(self, champion: ModelVersion) -> Match:
        """On rows that became known after the champion's own; without enough of them, as both were held out."""
        import polars as pl

        fitted, output = self.fitted, self.fitted.output
        name, measure = called(output.measure), output.measure
        later = pl.col("known_at") > pl.lit(champion.as_of, pl.Datetime("us", "UTC"))
        held = pl.Series(known(fitted.held_out))
        new = self.rows.with_row_index("_at").filter(later & held)
        if new.height < COMPARED:
            champion_value = champion.metrics.get(measure)
            champion_value = float("inf") if champion_value is None else champion_value
            ours, theirs = {name: fitted.scores[measure]}, {name: champion_value}
            return Match(ours, theirs, "in cross-validation", changed=self._changed(champion))
        places = new["_at"].to_numpy()
        value = output.metrics(fitted.actual[places], fitted.held_out[places])[measure]
        where = f"on {new.height} rows that are new to it"
        theirs = {name: self._of_champion(champion, places)}
        return Match({name: value}, theirs, where, changed=self._changed(champion))

    def _changed(self, champion: ModelVersion) -> list[str]:
        """Settings of the model that say what an answer holds, and that the champion had otherwise."""
        model = model_of(self.system)
        declared = model.model_dump(mode="json", include=set(model.of_answers))
        return [name for name in model.of_answers if champion.params.get(name) != declared[name]]

    def _of_champion(self, champion: ModelVersion, places: Any) -> float:
        """The champion's error on the rows at rising places, by our measure; infinite where it predicts something else.

        Rows are few or many: of those in files some are read at once.
        """
        model, output = RowPredictor.load(self.portions.home.registry.fetch(champion)).model, self.fitted.output
        output_other, system = model.output, self.system
        if (output_other.kind, output_other.classes) != (output.kind, output.classes):
            return float("inf")
        lookups, numbers = Lookups.of(model.features, system, self.portions.home), []
        for rows in self._in_full(places):
            joined_rows, _ = lookups.join(rows, self.portions.as_of)
            served = None if self.log is None else self.log.served(model.features, joined_rows)
            table, _ = Rows(joined_rows, system.target, model.types, model.time, served).table(model.features)
            numbers.append(model.numbers_of_encoded(model.encoder.of_frame(table)))
        return output.metrics(self.fitted.actual[places], np.concatenate(numbers))[output.measure]

    def _in_full(self, places: Any) -> Iterator[pl.DataFrame]:
        """The rows at rising places, with all columns."""
        if not self._filed:
            yield self.rows[places]
            return
        begin = 0
        for rows in (portion.rows for portion in self.portions):
            inside = places[(places >= begin) & (places < begin + rows.height)] - begin
            if inside.size:
                yield rows[inside]
            begin += rows.height

    @property
    def _filed(self) -> bool:
        """Whether the rows' features were written to files."""
        return self.learnt.some is not self.learnt.frame

    @property
    def untaught(self) -> str | None:
        chosen = self.fitted.chosen
        if chosen not in model_of(self.system).baseline_names:
            return None
        if self.instead is not None:
            return f"the {chosen} are served: {self.instead}"
        return f"the {chosen} are served: better than every member and blend by more than noise"
