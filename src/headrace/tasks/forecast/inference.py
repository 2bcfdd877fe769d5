"""The batch door: forecasts for every series, stored with their lineage, traced and replayed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.contract.apart import inside
from headrace.declaration import MONTH, format_duration
from headrace.errors import NotEnoughDataError, NotExportedError, NotFoundError, ReplayError
from headrace.features.keyed import key_frame, numbers_in
from headrace.home import PREDICTIONS, SHADOWS, Home
from headrace.lineage import ANSWERED, CANARY, PINNED, SHADOW, Pins, iso, prediction_ids
from headrace.models.forecast import SERVED
from headrace.store.between import Between
from headrace.store.history import KnownAsOf, read_truth
from headrace.store.snapshots import Snapshots
from headrace.system import System
from headrace.tasks import shape
from headrace.tasks.base import PinnedRun, Predicted
from headrace.tasks.conditions import conditions, none_yet, refuse_unknown
from headrace.tasks.forecast.predictor import Predictor

if TYPE_CHECKING:
    import polars as pl


_TOLD = 3
"""Series without a forecast that a warning names."""
_CAUSE = ("model_digest", "feature_version", "config_digest")
NUMBERS = ("value", "lower", "upper")


@dataclass(frozen=True)
class PredictedSeries(Predicted):
    """What a predict step did for one run.

    Attributes:
        skipped: Series without a prediction, with the reason.
        young: Series that are served a baseline, with the reason.
        origin: The newest known event time, UTC.
        blank: Columns known ahead that the model reads, and that none of the next steps has.
    """

    skipped: list[dict[str, Any]]
    young: list[dict[str, Any]]
    origin: datetime
    blank: tuple[str, ...] = ()

    @property
    def served(self) -> dict[str, int]:
        """How many predictions are the model's, how many a baseline's, and how many a mix."""
        counts = dict(self.frame["served"].value_counts().iter_rows())
        return {kind: counts.get(kind, 0) for kind in SERVED}

    def record(self) -> dict[str, Any]:
        """Keys: `skipped young served origin`."""
        return {"skipped": self.skipped, "young": self.young, "served": self.served, "origin": iso(self.origin)}


def predict(
    system: System,
    home: Home,
    readers: Sequence[PinnedRun],
    *,
    now: datetime,
    threads: int | None = None,
    snapshots: Snapshots | None = None,
) -> list[PredictedSeries]:
    """Forecast every series as of each reader's time, in one pass over the history, and store what is new.

    Repeating it with the same pins stores nothing. Another number for the same pins (facts that reached the store
    late) is a new row with the next revision; the earlier one stays.

    Args:
        system: The declaration.
        home: Where everything is.
        readers: Ascending in time; their pins may differ in nothing else.
        now: The clock's time; it is only written down.
        threads: For the boosters; None is all that the home allows. The numbers do not depend on it.
        snapshots: What the readers have read already, so that it need not be read again.

    Raises:
        NotEnoughDataError: Nothing is known as of the first time.
        ArtefactError: The model's files differ from their digest.
    """
    pins = readers[0].pins
    predictor = predictor_of(home, system.name, pins.model_version, pins.model_digest)
    times = [reader.pins.as_of for reader in readers]
    table = home.table(system.name, predictor.schema.series.table)
    snapshots = predictor.snapshots(table, times, pins.data_version, previous=snapshots)
    outcome = predictor.predict(snapshots, threads=threads or home.workers)
    frame = _with_lineage(system, outcome.frame, readers, snapshots, now)
    new = dict(_store(system, home, frame, pins).group_by("as_of").len().iter_rows())
    ends = outcome.frame["reader"].search_sorted(np.arange(len(readers)), side="right").to_list()
    return [
        PredictedSeries(
            frame[begin:end],
            new.get(times[i], 0),
            outcome.skipped[i],
            outcome.young[i],
            snapshots.origin(i),
            snapshots.blank(i, predictor.model.horizon),
        )
        for i, (begin, end) in enumerate(pairwise([0, *ends]))
    ]


def silent_series(system: System, skipped: Sequence[Mapping[str, Any]]) -> str | None:
    """That series have no forecast, a few of them with the reason; None where all have one."""
    if not skipped:
        return None
    columns = [
        f"{', '.join(str(row[k]) for k in system.keys) or system.name} ({row['reason']})" for row in skipped[:_TOLD]
    ]
    more = f" and {len(skipped) - _TOLD:,} more" if len(skipped) > _TOLD else ""
    subject = "1 series has" if len(skipped) == 1 else f"{len(skipped):,} series have"
    return f"{subject} no forecast: {', '.join(columns)}{more}"


def stale(system: System, home: Home, origin: datetime, *, as_of: datetime, data_version: int) -> str | None:
    """That the newest value is far older than is usual; None where it is not.

    Usual is what nine of ten values of the last month before it took to become known, or the source's lag where that
    is longer; up to three steps, or a day, more is not worth a word.
    """
    import polars as pl

    raw, series = home.raw(system), home.series(system)
    first, last = (pl.lit(time, pl.Datetime("us", "UTC")) for time in (origin - MONTH, origin))
    month = pl.col(series.time).is_between(first, last) & pl.col(system.target).is_not_null()
    known = raw.scan(version=data_version, as_of=as_of, where=month)
    took = raw.collect(known.select((pl.col("known_at") - pl.col(series.time)).quantile(0.9, "higher"))).item()
    usual, age = max(system.source.lag, took or timedelta()), as_of - origin
    if age <= usual + max(3 * series.grid.step, timedelta(days=1)):
        return None
    units = (timedelta(days=1) if duration >= timedelta(days=2) else timedelta(hours=1) for duration in (age, usual))
    long, short = (format_duration(duration // unit * unit) for duration, unit in zip((age, usual), units, strict=True))
    return f"the newest value, of {iso(origin)}, is {long} old, where {short} is usual: has the source gone stale?"


def predictor_of(home: Home, system: str, version: int, digest: str) -> Predictor:
    """The predictor of a version whose files have this digest."""
    return _loaded(home.registry.files(system, version, digest), digest)


@lru_cache(maxsize=2)
def _loaded(folder: Path, digest: str) -> Predictor:
    """The predictor of files that were found to have this digest; kept for the next runs of a backfill."""
    return Predictor.load(folder)


def _with_lineage(
    system: System, frame: pl.DataFrame, readers: Sequence[PinnedRun], snapshots: Snapshots, now: datetime
) -> pl.DataFrame:
    import polars as pl

    utc, pins = pl.Datetime("us", "UTC"), readers[0].pins
    of_run = pl.DataFrame(
        {
            "as_of": pl.Series([reader.pins.as_of for reader in readers], dtype=utc),
            "origin": pl.Series([snapshots.origin(i) for i in range(snapshots.readers)], dtype=utc),
            "run_id": [reader.run_id for reader in readers],
        }
    )[frame["reader"]]
    frame = pl.concat([frame.drop("reader"), of_run], how="horizontal")
    frame = frame.with_columns(
        *(pl.lit(getattr(pins, name)).alias(name) for name in PINNED),
        pl.lit(now, utc).alias("created_at"),
        pl.col("as_of").alias("known_at"),
        pl.lit(0, pl.Int64).alias("revision"),
    )
    return frame.with_columns(ids_of(system, frame, pins))


def ids_of(system: System, frame: pl.DataFrame, pins: Pins, owner: str | None = None) -> pl.Series:
    """The id of every row: by its keys, `as_of`, `ahead` and `revision`, and the pins of all.

    They are ids of the system's predictions, or those of an `owner` of another name.
    """
    import polars as pl

    key_rows = key_frame(frame, system.keys)
    keys = key_rows.unique()
    numbers = numbers_in(keys, key_rows).to_numpy()
    texts = ["\x1f".join(key) for key in keys.with_columns(pl.all().cast(pl.String).fill_null("")).iter_rows()]
    times = frame["as_of"].to_physical().to_numpy()
    columns = (frame[name].to_numpy() for name in ("ahead", "revision"))
    return pl.Series("id", prediction_ids(owner or system.name, pins, texts, numbers, times, *columns), dtype=pl.String)


def _store(system: System, home: Home, frame: pl.DataFrame, pins: Pins) -> pl.DataFrame:
    """Store what is not there yet; returns those rows."""
    table = home.table(system.name, PREDICTIONS)
    target = [*system.keys, system.event_time, "as_of"]
    identity = [*target, *_CAUSE, "revision"]
    columns, condition = [*identity, *NUMBERS, "_version"], Between("as_of", frame["as_of"].min(), frame["as_of"].max())
    try:
        stored = table.read(identity=identity, columns=columns, between=condition, order=[])
    except NotFoundError:
        stored = frame.clear()
    if stored.height:
        frame = _revised(system, frame, stored, target, pins)
    table.append(frame, identity=identity, compare=NUMBERS, window="as_of")
    return frame


def _revised(system: System, frame: pl.DataFrame, stored: pl.DataFrame, target: list[str], pins: Pins) -> pl.DataFrame:
    """Rows that differ from what stands, each with the revision after the last one of the same cause.

    What stands is what was stored last, by whatever model: after a rollback and a promotion back, the promoted model's
    numbers are said again.
    """
    import polars as pl

    columns_compared = [*_CAUSE, *NUMBERS]
    standing = stored.sort("_version", "revision").unique(target, keep="last", maintain_order=True)
    pairs = frame.join(standing, on=target, how="left", nulls_equal=True, suffix="_stands", maintain_order="left")
    unchanged = pl.all_horizontal([pl.col(n).eq_missing(pl.col(f"{n}_stands")) for n in columns_compared])
    last = stored.group_by([*target, *_CAUSE]).agg(pl.col("revision").max().alias("last"))
    new = pairs.filter(~unchanged).join(
        last, on=[*target, *_CAUSE], how="left", nulls_equal=True, maintain_order="left"
    )
    new = new.with_columns((pl.col("last") + 1).fill_null(0).alias("revision")).select(frame.columns)
    return new.with_columns(ids_of(system, new, pins)) if new.height else new


def read_predictions(
    system: System,
    home: Home,
    *,
    as_of: datetime | None = None,
    where: Mapping[str, str] | None = None,
    role: str = ANSWERED,
) -> pl.DataFrame:
    """Stored predictions, the newest revision of each; ordered by as_of, keys and time.

    Args:
        system: The declaration.
        home: Where they are.
        as_of: The forecast as it stood at this time: for every series and time, what the newest run up to then said.
        where: Column to text: only rows that have the value that it names; see `conditions`.
        role: `SHADOW`: what versions said beside, each version's for itself. No forecast is a canary's.

    Raises:
        NotFoundError: There is none yet, no such column, or no such series.
        UsageError: A text is no value of its column.
    """
    import polars as pl

    shape.check(system, home)
    where = inside(where or {}, system.keys)
    table = home.table(system.name, SHADOWS if role == SHADOW else PREDICTIONS)
    if role == CANARY or not table.exists():
        raise none_yet(system.name, role, f"headrace run {system.name}")
    lazy = table.scan(as_of=as_of)
    if as_of is not None:
        newest = table.collect(lazy.select(pl.col("as_of").max())).item()
        lazy = lazy.filter(pl.col("as_of") == pl.lit(newest, pl.Datetime("us", "UTC")))
    known = {name: kind for name, kind in lazy.collect_schema().items() if name not in ("_version", "known_at")}
    if where:
        lazy = lazy.filter(*conditions(known, where))
    order = ["as_of", *system.keys, system.event_time]
    frame = table.collect(lazy).sort([*order, "_version", "revision"], maintain_order=True)
    if where and frame.is_empty():
        refuse_unknown(system, home, where)
    first = ["id", *system.keys, system.event_time, "value", "lower", "upper", "as_of"]
    rest = [c for c in frame.columns if c not in first and c not in ("_version", "known_at")]
    versions = ["model_version"] if role == SHADOW else []
    return frame.unique([*order, *versions], keep="last", maintain_order=True).select(*first, *rest)


def replay(home: Home, system: str, prediction_id: str, row: Mapping[str, Any], *, threads: int) -> dict[str, Any]:
    """Compute a stored prediction again: ``id stored replayed identical interval``.

    Raises:
        ReplayError: The series is not in the pinned data.
        NotExportedError: It answers a posted event that was not exported.
        ArtefactError: The model's files are gone or differ from their digest.
    """
    import polars as pl

    if "event_id" in row:
        hint = f"headrace export {system}"
        raise NotExportedError("the event that it answers is not in the tables yet", where=prediction_id, hint=hint)
    predictor = predictor_of(home, system, row["model_version"], row["model_digest"])
    raw = home.table(system, predictor.schema.series.table)
    keys = predictor.schema.series.keys
    only = {name: row[name] for name in keys}
    try:
        snapshots = predictor.snapshots(raw, [row["as_of"]], row["data_version"], only=only)
    except NotEnoughDataError as error:
        raise _no_such_series(prediction_id, row) from error
    frame = predictor.predict(snapshots, threads=threads).frame
    row_found = frame.filter(pl.col("ahead") == row["ahead"])
    if row_found.height != 1:
        raise _no_such_series(prediction_id, row)
    stored = {name: row[name] for name in NUMBERS}
    replayed = {name: row_found[name][0] for name in NUMBERS}
    return {
        "id": prediction_id,
        "stored": stored["value"],
        "replayed": replayed["value"],
        "identical": stored == replayed,
        "interval": {
            "stored": [stored["lower"], stored["upper"]],
            "replayed": [replayed["lower"], replayed["upper"]],
        },
    }


def _no_such_series(prediction_id: str, row: Mapping[str, Any]) -> ReplayError:
    note = f"seen as of {iso(row['as_of'])}"
    return ReplayError("the pinned data has no such series", where=prediction_id, hint=note)


def actuals(system: System, home: Home, predictions: pl.DataFrame, as_of: datetime | None) -> pl.DataFrame:
    """The truth of series and event times that were predicted, as known by a time: keys, event time and ``actual``."""
    import polars as pl

    time, far = system.event_time, datetime.max.replace(tzinfo=UTC)
    first, last = predictions.select(pl.col(time).min().alias("first"), pl.col(time).max()).row(0)
    if first is None:
        return predictions.select(*system.keys, time, pl.lit(None, pl.Float64).alias("actual"))
    known = KnownAsOf(as_of or far, home.raw(system).version())
    facts = read_truth(home.raw(system), home.series(system), known, (first, last))
    newest = facts.sort("known_at", "_version").unique([*system.keys, time], keep="last")
    return newest.select(*system.keys, time, pl.col(system.target).alias("actual"))
