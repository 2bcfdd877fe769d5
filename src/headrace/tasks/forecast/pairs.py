"""Steps of forecasts that two versions of a model made as of the same times, or make again, part by part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.features.keyed import joined
from headrace.home import PREDICTIONS, SHADOWS, Home
from headrace.registry import ModelVersion
from headrace.store.history import KnownAsOf, read_truth
from headrace.system import System
from headrace.tasks.forecast.predictor import Predictor, baseline_column
from headrace.tasks.forecast.scores import METRICS, measures, naive_name, scores, sum_columns
from headrace.tasks.paired import BLOCK, DIFFERENCE, Apart, ComparedPairs, PairRequest, Sums, span_of

if TYPE_CHECKING:
    import polars as pl

    from headrace.store import Table

PART = 100_000
"""Steps of forecasts that are looked at at once; a run that has more is taken whole."""
_READERS = 2_000
"""Times as of which is forecast at once."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBERS = ("value", "lower", "upper")


class ForecastPairs:
    """Adds up what two versions said about the same steps of the same series as of the same times."""

    def __init__(self, system: System, home: Home, request: PairRequest, both: Sequence[ModelVersion]) -> None:
        self._system, self._home, self._request = system, home, request
        folders = [home.registry.fetch(version) for version in both] if request.replay else []
        self._predictors = [Predictor.load(folder) for folder in folders]
        self._trained = max(version.as_of for version in both)
        self._series, self._raw = home.series(system), home.raw(system)
        self._version = self._raw.version()
        self._now = request.as_of or newest_known(self._raw)
        self._seasons = system.monitoring.compared
        columns = sum_columns(self._seasons)
        sums, common = (Sums(columns, (), self._measures) for _ in range(2))
        names = ("wape", "rmsse", "rmse", "mape", "mase", "bias")
        self._result = ComparedPairs(Apart(request.largest), sums, common, names, baselines=self._baselines)
        self._about = [*system.keys, system.event_time, "as_of"]

    def result(self) -> ComparedPairs:
        """All that they said, added up."""
        for rows in self._parts():
            pairs = self._pairs(rows)
            if pairs.height:
                self._add(pairs)
        return self._result

    def _measures(self, sums: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
        return measures(sums, by, self._seasons)

    def _tables(self) -> list[Table]:
        names = (PREDICTIONS, SHADOWS)
        return [table for name in names if (table := self._home.table(self._system.name, name)).exists()]

    def _parts(self) -> Iterator[pl.DataFrame]:
        """What is stored of the times in question, some of them at a time."""
        import polars as pl

        where, versions = span_of(self._request), self._request.versions
        chosen = pl.col("model_version").is_in(versions)
        counts = []
        for table in self._tables():
            lazy = table.scan(as_of=self._request.as_of, where=where if self._request.replay else where & chosen)
            counts.append(table.collect(lazy.group_by("as_of", "model_version").len()))
        if not counts:
            return
        times = (
            pl.concat(counts)
            .group_by("as_of")
            .agg(
                pl.col("model_version").is_in(versions).sum().alias("there"),
                pl.col("model_version").filter(chosen).n_unique().alias("versions"),
                pl.col("len").sum(),
            )
        )
        if not self._request.replay:
            times = times.filter(pl.col("versions") == len(versions))
        times = times.sort("as_of")
        rows = times["len"].cum_sum().to_numpy() - times["len"].to_numpy()
        part = np.maximum(rows // PART, np.arange(times.height) // _READERS) if self._request.replay else rows // PART
        parts = times.with_columns(pl.Series("part", part)).partition_by("part", maintain_order=True)
        for count, times_part in enumerate(parts):
            self._request.on_progress("compare", count, len(parts))
            yield self._rows(times_part["as_of"])

    def _rows(self, times: pl.Series) -> pl.DataFrame:
        """What is stored as of some times; of several that one version said about one thing the last."""
        import polars as pl

        columns = [*self._about, "ahead", *_NUMBERS, "scale", "id", "model_version", "_version", "revision"]
        columns += [baseline_column(season) for season in self._seasons]
        among = pl.col("as_of").is_between(times.min(), times.max()) & pl.col("as_of").is_in(times.implode())
        if not self._request.replay:
            among &= pl.col("model_version").is_in(self._request.versions)
        frames = []
        for table in self._tables():
            lazy = table.scan(as_of=self._request.as_of, where=among)
            names = lazy.collect_schema().names()
            frames.append(table.collect(lazy.select(name for name in columns if name in names)))
        rows = pl.concat(frames, how="diagonal_relaxed").sort("_version", "revision", "id")
        return rows.unique([*self._about, "model_version"], keep="last", maintain_order=True)

    def _pairs(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Steps that both said something about, the first version's numbers under their names."""
        import polars as pl

        sides = []
        for index, version in enumerate(self._request.versions):
            version_rows = rows.filter(pl.col("model_version") == version)
            if self._request.replay:
                runs = rows.select(*self._system.keys, "as_of").unique()
                identity = [*self._system.keys, "as_of"]
                missing = runs.join(version_rows, on=identity, how="anti", nulls_equal=True)
                predictions = self._made(index, missing)
                self._result.answered[version] += runs.height - missing.height
                self._result.again[version] += missing.height
                forecast = predictions.select(identity).unique().height
                self._result.failed[version] += missing.height - forecast
                version_rows = pl.concat([version_rows, predictions], how="diagonal_relaxed")
            sides.append(version_rows)
        other = sides[1].select(*self._about, *(pl.col(name).alias(f"{name}_1") for name in _NUMBERS))
        ids = rows.unique(self._about, keep="first").select(*self._about, pl.col("id").alias("_id"))
        pairs_of = sides[0].join(other, on=self._about, nulls_equal=True, maintain_order="left")
        pairs_of = pairs_of.join(ids, on=self._about, how="left", nulls_equal=True, maintain_order="left")
        return pairs_of.with_columns(pl.coalesce("id", "_id").alias("id"))

    def _made(self, index: int, missing: pl.DataFrame) -> pl.DataFrame:
        """What a version says of some series as of some times, from what was known then: keys and `as_of`."""
        import polars as pl

        predictor = self._predictors[index]
        times = missing["as_of"].unique().sort()
        if not times.len():
            return pl.DataFrame(schema={**missing.schema})
        table = self._home.table(self._system.name, predictor.schema.series.table)
        snapshots = predictor.snapshots(table, times.to_list(), table.version())
        series = snapshots.keys.with_row_index("_series")
        keys = list(self._system.keys)
        places = missing.join(series, on=keys, nulls_equal=True) if keys else missing.with_columns(_series=pl.lit(0))
        places = places.with_columns(times.search_sorted(places["as_of"]).alias("_reader")).sort("_reader", "_series")
        reader, of = (places[name].to_numpy().astype(np.intp) for name in ("_reader", "_series"))
        frame = predictor.predict_some(snapshots, reader, of)
        return frame.drop("reader").with_columns(times.gather(frame["reader"]).alias("as_of"))

    def _add(self, pairs: pl.DataFrame) -> None:
        import polars as pl

        first, second = self._request.versions
        self._result.apart.add(
            pairs.select(
                "id",
                *self._about,
                pl.col("value").alias(f"value_{first}"),
                pl.col("value_1").alias(f"value_{second}"),
                (pl.col("value") - pl.col("value_1")).abs().alias(DIFFERENCE),
                pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_1")) for name in _NUMBERS).alias("differs"),
            )
        )
        self._judge(pairs.filter(pl.col("value").is_not_null() & pl.col("value_1").is_not_null()))

    def _judge(self, pairs: pl.DataFrame) -> None:
        """Add up the errors of pairs whose truth is known."""
        import polars as pl

        if pairs.is_empty():
            return
        system, time = self._system, self._system.event_time
        first, last = pairs.select(pl.col(time).min().alias("first"), pl.col(time).max()).row(0)
        known = KnownAsOf(self._now, self._version)
        facts = read_truth(self._raw, self._series, known, (first, last)).sort("known_at", "_version")
        target = pl.col(system.target)
        identity = [*system.keys, time]
        truth = facts.group_by(identity, maintain_order=True).agg(
            target.last().alias("actual"), pl.col("known_at").filter(target.is_not_null()).first().alias("learnt")
        )
        matched = joined(pairs, truth, identity).filter(pl.col("actual").is_not_null())
        after = pl.col("learnt") > pl.max_horizontal("as_of", pl.lit(self._trained, pl.Datetime("us", "UTC")))
        slots = self._series.grid.slots(matched[time].to_physical().to_numpy())
        matched = matched.with_columns(pl.Series(BLOCK, slots // system.steps)).sort(BLOCK, *self._about)
        for sums, where in ((self._result.sums, after), (self._result.seen, ~after)):
            chosen = matched.filter(where)
            if chosen.height:
                second = chosen.with_columns(pl.col(f"{name}_1").alias(name) for name in _NUMBERS)
                sums.add([scores(side, [[BLOCK]], self._seasons)[0] for side in (chosen, second)])

    def _baselines(self, metrics: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """The naive forecasts on the pairs that they have: ``n`` of them."""
        names = [naive_name(season) for season in self._seasons]
        return {
            name: {metric: metrics[f"{name}_{metric}"] for metric in ("n", *METRICS)}
            for name in names
            if metrics.get(f"{name}_n")
        }


def newest_known(raw: Table) -> datetime:
    """When the last fact became known, UTC: steps that were not over by then are not."""
    import polars as pl

    newest = raw.collect(raw.scan().select(pl.col("known_at").max())).item()
    return newest if isinstance(newest, datetime) else _EPOCH
