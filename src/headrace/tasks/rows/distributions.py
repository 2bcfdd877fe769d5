"""What a model of rows learnt from and what came since: rows that were asked for or read, their targets, answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from headrace.contract import KNOWN_AT
from headrace.drift import CATEGORICAL, NUMERIC, TEXT
from headrace.home import PREDICTIONS, RAW, Home
from headrace.identity import decoded, features_of
from headrace.lineage import ANSWERED, ROLE
from headrace.models.encoding import NUMBER, TEXTS
from headrace.system import System
from headrace.tasks.distributions import (
    DAY,
    FEATURE,
    PREDICTION,
    TARGET,
    KnownBetween,
    ObservedRows,
    Variable,
    column,
    day_of_facts,
    day_of_made,
    held_out,
)
from headrace.tasks.rows.fitting import Rows
from headrace.tasks.rows.lookups import Lookups
from headrace.tasks.rows.model import RowModel
from headrace.tasks.rows.outputs.declared import model_of
from headrace.tasks.rows.portions import Portions
from headrace.tasks.rows.predictor import RowPredictor

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from headrace.registry import ModelVersion
    from headrace.store.delta import Table

MOST = 500_000
"""Rows of a reference that are looked at, about: evenly taken where there are more."""


@dataclass(frozen=True)
class RowDistributions:
    """See `headrace.tasks.distributions.Distributions`.

    A row counts once, as of the first time that it was asked for; one that was never asked for, as of when it was read.
    """

    system: System
    home: Home
    version: ModelVersion
    segments: Sequence[str]
    data_version: int

    @property
    def span(self) -> timedelta:
        """Rows have no order."""
        return timedelta()

    def unit(self, _variable: Variable) -> str | None:
        """Columns of rows are as they are."""
        return None

    @cached_property
    def _files(self) -> Path:
        return self.home.registry.fetch(self.version)

    @cached_property
    def _model(self) -> RowModel:
        return RowPredictor.load(self._files).model

    def reference(self) -> Sequence[ObservedRows]:
        """Rows with a target that were known, evenly taken of many."""
        import polars as pl

        system, version = self.system, self.version
        columns = dict.fromkeys([*self._read, system.target, *model_of(system).columns_of_condition, KNOWN_AT])
        stored = self.home.raw(system).schema()
        portions = Portions(
            system,
            self.home,
            tuple(name for name in columns if name in stored),
            version.as_of,
            int(version.pins["data_version"]),
        )
        stride = max(-(-portions.facts() // MOST), 1)
        parts = [portion.rows.gather_every(stride) for portion in portions]
        rows = pl.concat([part for part in parts if part.height] or parts[:1])
        values = held_out(self._files)
        predictions = [] if values is None else [self._predictions(pl.Series("v", values, strict=False), None)]
        return [self._features(rows, day_of_facts()), self._targets(rows), *predictions]

    def marks(self, between: KnownBetween) -> Mapping[datetime, str]:
        """How many rows came, and the last write that brought some."""
        import polars as pl

        counts: dict[datetime, str] = {}
        for source, day in ((self._raw(between), day_of_facts()), (self._asked(between), day_of_made())):
            if source is None:
                continue
            grouped = source.lazy.group_by(day).agg(pl.len(), pl.col("_version").max())
            for begin, rows, write in source.table.collect(grouped).sort(DAY).iter_rows():
                counts[begin] = f"{counts.get(begin, '')}/{rows}.{write}"
        return counts

    def observed(self, between: KnownBetween) -> Sequence[ObservedRows]:
        """Rows by when they were asked for, or read; targets and answers by when they became known."""
        requests, answers = self._newly_asked(between)
        read, targets = self._newly_read(between)
        results = [
            self._features(rows, day)
            for rows, day in ((requests, day_of_made()), (read, day_of_facts()))
            if rows is not None and rows.height
        ]
        results += [self._targets(targets)] if targets is not None and targets.height else []
        if answers is not None and answers.height:
            results.append(self._predictions(answers[self._answer], answers))
        return results

    @property
    def _read(self) -> list[str]:
        """Columns of the raw table that are read."""
        system, model = self.system, self._model
        time = [] if model.time is None else [model.time]
        columns = dict.fromkeys([*system.identity, *model.types, *time, *self.segments])
        return [name for name in columns if name in system.contract.names]

    @property
    def _answer(self) -> str:
        """The column of predictions that is compared: the number, or of several classes the class."""
        output = self._model.output
        return output.target if len(output.classes) > 2 else output.number

    def _raw(self, between: KnownBetween) -> _TableRows | None:
        table = self.home.table(self.system.name, RAW)
        if not table.exists():
            return None
        return _TableRows(table, table.scan(version=self.data_version, where=between.facts()))

    def _asked(self, between: KnownBetween) -> _TableRows | None:
        table = self.home.table(self.system.name, PREDICTIONS)
        return _TableRows(table, table.scan(where=between.made())) if table.exists() else None

    def _newly_asked(self, between: KnownBetween) -> tuple[pl.DataFrame | None, pl.DataFrame | None]:
        """Rows that were asked for and had not been before, as they were asked for; and the version's answers."""
        import polars as pl

        source = self._asked(between)
        if source is None:
            return None, None
        table, lazy = source
        cause, names = [*self.system.keys, "row_digest"], lazy.collect_schema().names()
        if ROLE in names:
            lazy = lazy.filter(pl.col(ROLE).fill_null(ANSWERED) == ANSWERED)
        rows = table.collect(lazy.sort(KNOWN_AT, "id")).unique(["id"], keep="last", maintain_order=True)
        answers = rows.filter(pl.col("model_version") == self.version.version)
        rows = rows.unique(cause, keep="first", maintain_order=True)
        if rows.height:
            before = table.scan(where=between.earlier()[1]).select(cause)
            old = table.collect(before.filter(pl.col("row_digest").is_in(rows["row_digest"].implode())))
            rows = rows.join(old, on=cause, how="anti", nulls_equal=True, maintain_order="left")
        return self._decoded(rows), self._decoded(answers, with_answers=True)

    def _decoded(self, predictions: pl.DataFrame, *, with_answers: bool = False) -> pl.DataFrame:
        """The rows that predictions were made from, in columns of the contract's types."""
        import polars as pl

        from headrace.features.compiled import dtype_of

        types: dict[str, str] = {c.name: c.type for c in self.system.contract.columns if c.name != self.system.target}
        types |= dict(self._model.types)
        texts = predictions["inputs"].to_list()
        rows = [decoded(text, types) for text in texts]
        frame = pl.DataFrame(rows, schema={name: dtype_of(kind) for name, kind in types.items()}, strict=False)
        lines = [predictions[KNOWN_AT], *([predictions[self._answer].alias(self._answer)] if with_answers else [])]
        frame = frame.drop([item.name for item in lines], strict=False).with_columns(lines)
        logged = [features_of(text) for text in texts] if self.system.log_features and not with_answers else []
        if logged and all(item is not None for item in logged):
            details = [{name: (item or {}).get(name) for name in self._model.features.names} for item in logged]
            values = pl.DataFrame(details, infer_schema_length=None, strict=False)
            frame = frame.with_columns(values[name].alias(f":logged:{name}") for name in values.columns)
        return frame

    def _newly_read(self, between: KnownBetween) -> tuple[pl.DataFrame | None, pl.DataFrame | None]:
        """Rows that had not been read before nor been asked for; and those whose target became known."""
        import polars as pl

        source = self._raw(between)
        if source is None:
            return None, None
        (table, lazy), system = source, self.system
        names = [n for n in dict.fromkeys([*self._read, system.target, KNOWN_AT]) if n in lazy.collect_schema().names()]
        facts = table.collect(lazy.select(*names, "_version").sort(KNOWN_AT, "_version"))
        before = table.scan(version=self.data_version, where=between.earlier()[0])
        details = pl.col(system.target).is_not_null()
        targets = self._first(table, facts.filter(details), before.filter(details))
        rows = self._first(table, facts, before)
        predictions = self.home.table(system.name, PREDICTIONS)
        if rows.height and predictions.exists():
            requests = predictions.scan(where=pl.col(KNOWN_AT) < pl.lit(between.before, pl.Datetime("us", "UTC")))
            first = predictions.collect(requests.group_by(system.keys).agg(pl.col(KNOWN_AT).min().alias(":asked")))
            rows = rows.join(first, on=list(system.keys), how="left", nulls_equal=True, maintain_order="left")
            # Within the day: whether it was counted then does not depend on what comes later.
            late = pl.col(":asked").is_null() | (pl.col(":asked") >= day_of_facts().dt.offset_by("1d"))
            rows = rows.filter(late).drop(":asked")
        lookups = Lookups.of(self._model.features, system, self.home)
        return (lookups.join(rows, between.upto)[0] if rows.height else rows), targets

    def _first(self, table: Table, facts: pl.DataFrame, before: pl.LazyFrame) -> pl.DataFrame:
        """The first fact about each row that nothing was known of before."""
        identity = self.system.identity
        first = facts.unique(identity, keep="first", maintain_order=True)
        if first.is_empty():
            return first
        known = table.collect(before.select(identity)).unique()
        return first.join(known, on=identity, how="anti", nulls_equal=True, maintain_order="left")

    def _features(self, rows: pl.DataFrame, day: pl.Expr) -> ObservedRows:
        import polars as pl

        model = self._model
        lacking = [name for name in (*model.types, *([model.time] if model.time else [])) if name not in rows.columns]
        rows = rows.with_columns(pl.lit(None).alias(name) for name in lacking)
        table, _ = Rows(rows, model.output.target, model.types, model.time).table(model.features)
        table = table.with_columns(
            rows[f":logged:{name}"].alias(name) for name in table.columns if f":logged:{name}" in rows.columns
        )
        variables = [
            Variable(FEATURE, name, _kind(role, table.schema[name]))
            for name, role in zip(model.encoder.names, model.encoder.roles, strict=True)
        ]
        frame = table.select(pl.col(item.name).alias(column(item)) for item in variables)
        return ObservedRows(frame.with_columns(*self._beside(rows, day)), variables)

    def _targets(self, rows: pl.DataFrame) -> ObservedRows:
        import polars as pl

        target = self.system.target
        kind = CATEGORICAL if model_of(self.system).discrete else NUMERIC
        variable = Variable(TARGET, target, kind)
        frame = rows.select(pl.col(target).alias(column(variable)))
        return ObservedRows(frame.with_columns(*self._beside(rows, day_of_facts())), [variable])

    def _predictions(self, values: pl.Series, rows: pl.DataFrame | None) -> ObservedRows:
        import polars as pl

        kind = CATEGORICAL if len(self._model.output.classes) > 2 else NUMERIC
        variable = Variable(PREDICTION, self._answer, kind)
        frame = pl.DataFrame(values.cast(pl.Float64 if kind == NUMERIC else pl.String).alias(column(variable)))
        if rows is not None:
            return ObservedRows(frame.with_columns(*self._beside(rows, day_of_made())), [variable])
        empty = pl.lit(None, pl.Datetime("us", "UTC")).alias(DAY)
        return ObservedRows(frame.with_columns(empty), [variable])

    def _beside(self, rows: pl.DataFrame, day: pl.Expr) -> list[pl.Series]:
        return [*rows.select(day).iter_columns(), *(rows[name] for name in self.segments)]


class _TableRows(NamedTuple):
    """Some rows of a table."""

    table: Table
    lazy: pl.LazyFrame


def _kind(role: str, dtype: pl.DataType) -> str:
    if role in TEXTS:
        return TEXT
    return NUMERIC if role == NUMBER and dtype.is_numeric() else CATEGORICAL
