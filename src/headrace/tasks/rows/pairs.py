"""Rows that two versions of a model answered, or are asked again, part by part."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.features.compiled import dtype_of
from headrace.home import PREDICTIONS, SHADOWS, Home
from headrace.ledger import Entry
from headrace.registry import ModelVersion
from headrace.system import System
from headrace.tasks.paired import BLOCK, DIFFERENCE, Apart, ComparedPairs, PairRequest, Sums, span_of
from headrace.tasks.rows.candidate import Candidate
from headrace.tasks.rows.inference import ROW_DIGEST
from headrace.tasks.rows.monitoring import truth_of
from headrace.tasks.rows.outputs.base import LABEL, TRUTH, Output
from headrace.tasks.rows.outputs.declared import output_of

if TYPE_CHECKING:
    import polars as pl

PART = 50_000
"""Rows that are looked at at once."""
_AT_ONCE = 2_000
_BLOCKS = 128
"""Groups of rows by their digest: what the standard errors rest on."""
_ANSWERED = "answered"
"""Of a pair: when both had answered."""


class RowPairs:
    """Adds up what two versions said to the same rows.

    A row is known by its keys and its values. Where a version answered it several times, the answers of the two that
    are nearest in time are compared, and the row counts once.
    """

    def __init__(self, system: System, home: Home, request: PairRequest, both: Sequence[ModelVersion]) -> None:
        self._system, self._home, self._request = system, home, request
        self._candidates = [Candidate(system, home, version) for version in both] if request.replay else []
        self._trained = max(version.as_of for version in both)
        self._version = home.raw(system).version()
        self._output = output = output_of(system, home)
        beside = {name: kind for name, kind in output.types().items() if name in output.beside}
        self._types = {system.target: dtype_of(system.contract.column(system.target).type), **beside}
        sums, common = (Sums(output.sums, output.within, output.measures) for _ in range(2))
        flips = 0 if output.classes else None
        self._result = ComparedPairs(
            Apart(request.largest), sums, common, output.compared, output.better, flips, baselines=output.baselines
        )

    def result(self) -> ComparedPairs:
        """All that they said, added up."""
        for pairs in self._replayed() if self._request.replay else self._stored():
            if pairs.height:
                self._add(pairs)
        return self._result

    def _parts(self, names: Sequence[str], columns: Sequence[str], where: pl.Expr) -> Iterator[list[pl.DataFrame]]:
        """The rows of some tables, those of one digest together, in parts."""
        import polars as pl

        tables = [table for name in names if (table := self._home.table(self._system.name, name)).exists()]
        where &= span_of(self._request)
        lazies = [table.scan(as_of=self._request.as_of, where=where) for table in tables]
        total = sum(
            int(table.collect(lazy.select(pl.len())).item()) for table, lazy in zip(tables, lazies, strict=True)
        )
        count = max(1, math.ceil(total / PART))
        digest = pl.col(ROW_DIGEST).str.slice(0, 4).str.to_integer(base=16)
        for part in range(count):
            self._request.on_progress("compare", total * part // count, total)
            parts = [lazy.filter(digest % count == part) if count > 1 else lazy for lazy in lazies]
            yield [
                table.collect(lazy.select(columns)).unique("id", maintain_order=True)
                for table, lazy in zip(tables, parts, strict=True)
            ]

    def _stored(self) -> Iterator[pl.DataFrame]:
        """What both answered, as pairs."""
        import polars as pl

        system, first, second = self._system, self._request.first, self._request.second
        identity = [*system.keys, ROW_DIGEST]
        columns = ["id", *identity, *self._types, "as_of", "model_version"]
        where = pl.col("model_version").is_in([first, second]) & pl.col(system.target).is_not_null()
        for frames in self._parts((PREDICTIONS, SHADOWS), columns, where):
            rows = pl.concat(frames) if frames else pl.DataFrame(schema=dict.fromkeys(columns, pl.Null))
            if rows.is_empty():  # nothing of it has a type
                continue
            sides = [
                self._side(rows.filter(pl.col("model_version") == version), n)
                for n, version in enumerate((first, second))
            ]
            pairs = sides[0].join(sides[1], on=identity, nulls_equal=True)
            gap = (pl.col("as_of_0") - pl.col("as_of_1")).abs()
            pairs = pairs.sort(gap, "as_of_0", "as_of_1", "id_0").unique(identity, keep="first", maintain_order=True)
            latest = pl.max_horizontal("as_of_0", "as_of_1").alias(_ANSWERED)
            pairs = pairs.with_columns(latest, pl.col("id_0").alias("id"), pl.col("as_of_0").alias("as_of"))
            yield pairs.drop("as_of_0", "as_of_1", "id_0", "id_1")

    def _side(self, rows: pl.DataFrame, side: int) -> pl.DataFrame:
        import polars as pl

        names = {**_columns(self._types, side), "as_of": f"as_of_{side}", "id": f"id_{side}"}
        identity = [*self._system.keys, ROW_DIGEST]
        return rows.select(*identity, *(pl.col(name).alias(column) for name, column in names.items()))

    def _replayed(self) -> Iterator[pl.DataFrame]:
        """What was asked, with the answers of both: their own, or made now as of then."""
        import polars as pl

        system = self._system
        identity = [*system.keys, ROW_DIGEST]
        columns = ["id", *identity, *self._types, "as_of", "model_version", "inputs"]
        rank = pl.col("model_version").replace_strict({v: n for n, v in enumerate(self._request.versions)}, default=2)
        for frames in self._parts((PREDICTIONS,), columns, pl.lit(True)):
            if not frames:
                return
            rows = frames[0].sort(rank, "as_of", "id").unique(identity, keep="first", maintain_order=True)
            for side in (0, 1):
                starts = range(0, max(rows.height, 1), _AT_ONCE)
                said = [pl.DataFrame(self._said(rows[start : start + _AT_ONCE], side)) for start in starts]
                rows = rows.hstack(pl.concat(said))
            rows = rows.drop(*self._types, "inputs", "model_version")
            rows = rows.with_columns(pl.col("as_of").alias(_ANSWERED))
            answers = [_columns(self._types, side)[system.target] for side in (0, 1)]
            yield rows.filter(pl.all_horizontal(pl.col(answers).is_not_null()))

    def _said(self, rows: pl.DataFrame, side: int) -> list[pl.Series]:
        """The answers of one version to some requests, a series a column."""
        import polars as pl

        number = self._request.versions[side]
        answers: list[dict[str, Any]] = rows.select(*self._types).to_dicts()
        logged = (rows["model_version"] == number).to_list()
        places = [place for place, flag in enumerate(logged) if not flag]
        entries = [_entry(self._system, rows.row(place, named=True)) for place in places]
        for place, score in zip(places, self._candidates[side].score(entries), strict=True):
            answers[place] = self._output.stored(score.answer or {})
            self._result.failed[number] += score.error is not None
        self._result.answered[number] += len(logged) - len(places)
        self._result.again[number] += len(places)
        return [
            pl.Series(called, [answer[name] for answer in answers], dtype=self._types[name])
            for name, called in _columns(self._types, side).items()
        ]

    def _add(self, pairs: pl.DataFrame) -> None:
        import polars as pl

        system, output, versions = self._system, self._output, self._request.versions
        columns = [_columns(self._types, side) for side in (0, 1)]
        differences = [pl.col(columns[0][name]).ne_missing(pl.col(columns[1][name])) for name in self._types]
        if self._result.flips is not None:
            self._result.flips += int(pairs.select(differences[0].sum()).item())
        columns_told = {
            f"{name}_{v}": names[name]
            for v, names in zip(versions, columns, strict=True)
            for name in _shown(system, output)
        }
        named = [{LABEL: column[system.target], **{name: column[name] for name in output.beside}} for column in columns]
        self._result.apart.add(
            pairs.select(
                "id",
                *system.keys,
                "as_of",
                *(pl.col(column).alias(called) for called, column in columns_told.items()),
                output.difference(pairs, named).alias(DIFFERENCE),
                pl.any_horizontal(differences).alias("differs"),
            )
        )
        self._judge(pairs)

    def _judge(self, pairs: pl.DataFrame) -> None:
        """Add up the errors of pairs whose truth is known."""
        import polars as pl

        now = self._request.as_of
        truth = truth_of(self._system, self._home, pairs, now, self._version)
        pairs_true = pairs.join(truth, on=list(self._system.keys), nulls_equal=True, maintain_order="left")
        trained = pl.lit(self._trained, pl.Datetime("us", "UTC"))
        after = pl.col("learnt") > pl.max_horizontal(_ANSWERED, trained)
        for sums, where in ((self._result.sums, after), (self._result.seen, ~after)):
            chosen = pairs_true.filter(where)
            if chosen.height:
                sums.add([self._scores(chosen, side) for side in (0, 1)])

    def _scores(self, pairs: pl.DataFrame, side: int) -> pl.DataFrame:
        import polars as pl

        block = pl.col(ROW_DIGEST).str.slice(0, 4).str.to_integer(base=16) % _BLOCKS
        columns = _columns(self._types, side)
        frame = pairs.select(
            block.alias("time"),
            pl.lit(side).alias("model_version"),
            pl.col(columns[self._system.target]).alias(LABEL),
            *(pl.col(columns[name]).alias(name) for name in self._output.beside),
            pl.col("actual").alias(TRUTH),
            pl.col(_ANSWERED).alias("known_at"),
        )
        return self._output.scores(frame).rename({"time": BLOCK})


def _columns(names: Iterable[str], side: int) -> dict[str, str]:
    """What the columns of an answer are called in pairs, of the first (0) or the second (1)."""
    return {name: f"answer_{place}_{side}" for place, name in enumerate(names)}


def _shown(system: System, output: Output) -> tuple[str, ...]:
    return (system.target, *output.shown)


def _entry(system: System, row: Mapping[str, Any]) -> Entry:
    """A stored prediction as the request that it was."""
    inputs = str(row["inputs"]).encode()
    time: datetime = row["as_of"]
    return Entry(system.name, "", row["id"], row[ROW_DIGEST], inputs, b"", "", row["model_version"], time)
