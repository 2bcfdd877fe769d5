"""The batch door: forecasts for every series, stored with their lineage, traced and replayed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from headrace.errors import NotFoundError, ReplayError
from headrace.home import PREDICTIONS, RAW, RUNS, Home
from headrace.lineage import Pins, as_of_in, iso, prediction_ids
from headrace.predictor import Predictor
from headrace.store.history import Seen
from headrace.system import System

if TYPE_CHECKING:
    import polars as pl

PINNED = (
    "model_version",
    "model_digest",
    "feature_version",
    "data_version",
    "config_digest",
    "code_revision",
)
_CAUSE = ("model_digest", "feature_version", "config_digest")
_NUMBERS = ("value", "lower", "upper")


@dataclass(frozen=True)
class Predicted:
    """What a predict step did.

    Attributes:
        frame: The predictions of this run.
        stored: How many of them were new.
        skipped: Series without one, with the reason.
        origin: The newest known event time, UTC.
    """

    frame: pl.DataFrame
    stored: int
    skipped: list[dict[str, Any]]
    origin: datetime


def predict(system: System, home: Home, pins: Pins, *, run_id: str, now: datetime) -> Predicted:
    """Forecast every series from the pins and store what is new.

    Repeating it with the same pins stores nothing. Another number for the same pins (facts that reached the store
    late) is a new row with the next revision; the earlier one stays.

    Raises:
        NotEnoughDataError: Nothing is known as of the pins' time.
        ArtefactError: The model's files differ from their digest.
    """
    raw, seen = home.table(system.name, RAW), Seen(pins.as_of, pins.data_version)
    predictor = _predictor(home, system.name, pins.model_version)
    origin = predictor.origin(raw, seen)
    outcome = predictor.predict(predictor.history(raw, seen, origin), origin, threads=home.workers)
    frame = _with_lineage(system, outcome.frame, pins, origin, run_id, now)
    stored = _store(system, home, frame, pins)
    return Predicted(frame, stored, outcome.skipped, origin)


def _predictor(home: Home, system: str, version: int) -> Predictor:
    return Predictor(home.registry.fetch(home.registry.get(system, version)))


def _with_lineage(
    system: System, frame: pl.DataFrame, pins: Pins, origin: datetime, run_id: str, now: datetime
) -> pl.DataFrame:
    import polars as pl

    utc = pl.Datetime("us", "UTC")
    pinned = [pl.lit(getattr(pins, name)).alias(name) for name in PINNED]
    return frame.with_columns(
        pl.lit(pins.as_of, utc).alias("as_of"),
        pl.lit(origin, utc).alias("origin"),
        *pinned,
        pl.lit(run_id).alias("run_id"),
        pl.lit(now, utc).alias("created_at"),
        pl.lit(pins.as_of, utc).alias("known_at"),
        pl.lit(0, pl.Int64).alias("revision"),
    ).with_columns(_ids(system, frame, pins, None))


def _ids(system: System, frame: pl.DataFrame, pins: Pins, revision: pl.Series | None) -> pl.Series:
    import polars as pl

    keys = frame.select(pl.concat_str([pl.col(k).cast(pl.String).fill_null("") for k in system.keys], separator="\x1f"))
    revisions = revision if revision is not None else pl.Series([0]).new_from_index(0, frame.height)
    ids = prediction_ids(system.name, pins, keys.to_series().to_list(), frame["ahead"].to_numpy(), revisions.to_numpy())
    return pl.Series("id", ids, dtype=pl.String)


def _store(system: System, home: Home, frame: pl.DataFrame, pins: Pins) -> int:
    import polars as pl

    table = home.table(system.name, PREDICTIONS)
    target = [*system.keys, system.event_time, "as_of"]
    identity = [*target, *_CAUSE, "revision"]
    if table.exists():
        made = pl.col("as_of") == pl.lit(pins.as_of, pl.Datetime("us", "UTC"))
        stored = table.read(identity=identity, columns=[*identity, *_NUMBERS, "created_at"], where=made)
        frame = _revised(system, frame, stored, target, pins)
    return table.append(frame, identity=identity, compare=_NUMBERS, window="as_of").added


def _revised(system: System, frame: pl.DataFrame, stored: pl.DataFrame, target: list[str], pins: Pins) -> pl.DataFrame:
    """Rows that differ from what stands, each with the revision after the last one of the same cause.

    What stands is what was said last, by whatever model: after a rollback and a promotion back, the promoted model's
    numbers are said again.
    """
    import polars as pl

    told = [*_CAUSE, *_NUMBERS]
    standing = stored.sort("created_at", "revision").unique(target, keep="last", maintain_order=True)
    beside = frame.join(standing, on=target, how="left", nulls_equal=True, suffix="_stands", maintain_order="left")
    same = pl.all_horizontal([pl.col(n).eq_missing(pl.col(f"{n}_stands")) for n in told])
    last = stored.group_by([*target, *_CAUSE]).agg(pl.col("revision").max().alias("last"))
    new = beside.filter(~same).join(last, on=[*target, *_CAUSE], how="left", nulls_equal=True, maintain_order="left")
    new = new.with_columns((pl.col("last") + 1).fill_null(0).alias("revision")).select(frame.columns)
    return new.with_columns(_ids(system, new, pins, new["revision"]))


def read_predictions(
    system: System, home: Home, *, as_of: datetime | None = None, where: dict[str, str] | None = None
) -> pl.DataFrame:
    """Stored predictions, the newest revision of each; ordered by as_of, keys and time.

    Args:
        system: The declaration.
        home: Where they are.
        as_of: The forecast as it stood at this time: for every series and time, what the newest run up to then said.
        where: Column to text: only rows whose value, as text, is equal.

    Raises:
        NotFoundError: There is none yet, or no such column.
    """
    import polars as pl

    table = home.table(system.name, PREDICTIONS)
    if not table.exists():
        raise NotFoundError("no predictions yet", where=system.name, hint=f"headrace run {system.name}")
    lazy = table.scan(as_of=as_of)
    if as_of is not None:
        newest = table.collect(lazy.select(pl.col("as_of").max())).item()
        lazy = lazy.filter(pl.col("as_of") == pl.lit(newest, pl.Datetime("us", "UTC")))
    known = lazy.collect_schema()
    for name, text in (where or {}).items():
        if name not in known:
            raise NotFoundError(f"no column {name!r}", where="--where", hint=f"there are {', '.join(known)}")
        lazy = lazy.filter(pl.col(name).cast(pl.String) == text)
    order = ["as_of", *system.keys, system.event_time]
    frame = table.collect(lazy).sort([*order, "created_at", "revision"], maintain_order=True)
    first = ["id", *system.keys, system.event_time, "value", "lower", "upper", "as_of"]
    rest = [c for c in frame.columns if c not in first and c not in ("_version", "known_at")]
    return frame.unique(order, keep="last", maintain_order=True).select(*first, *rest)


def find(home: Home, prediction_id: str) -> tuple[str, dict[str, Any]]:
    """The system and the stored row of a prediction.

    Raises:
        NotFoundError: There is no such prediction.
    """
    import polars as pl

    made = pl.lit(as_of_in(prediction_id), pl.Datetime("us", "UTC"))
    slot = pl.col("as_of").is_between(made, made + timedelta(milliseconds=1))
    for system in home.store.systems():
        table = home.table(system, PREDICTIONS)
        if table.exists():
            rows = table.collect(table.scan(where=slot & (pl.col("id") == prediction_id)))
            if rows.height:
                return system, rows.drop("_version").row(0, named=True)
    raise NotFoundError(f"no prediction {prediction_id}", hint="ids are listed by `headrace predictions SYSTEM`")


def trace(home: Home, prediction_id: str) -> dict[str, Any]:
    """The chain behind a prediction: the row, its pins, the model's own pins, and the run that made it.

    Raises:
        NotFoundError: There is no such prediction.
    """
    system, row = find(home, prediction_id)
    version = home.registry.get(system, row["model_version"])
    pins = {"as_of": row["as_of"], **{name: row[name] for name in PINNED}}
    shown = {name: value for name, value in row.items() if name not in pins and name != "known_at"}
    return {
        "id": prediction_id,
        "system": system,
        "prediction": shown,
        "pins": pins,
        "model": {
            "version": version.version,
            "digest": version.digest,
            "state": version.state,
            "trained": dict(version.pins),
            "metrics": dict(version.metrics),
        },
        "run": _run_of(home, system, row["run_id"]),
    }


def _run_of(home: Home, system: str, run_id: str) -> dict[str, Any] | None:
    """The run's record; None for a run that was killed after it stored predictions and before it wrote its record."""
    import polars as pl

    table = home.table(system, RUNS)
    if not table.exists():
        return None
    rows = table.collect(table.scan(where=pl.col("run_id") == run_id))
    return json.loads(rows["record"][0]) if rows.height else None


def replay(home: Home, prediction_id: str, *, threads: int = 1) -> dict[str, Any]:
    """Compute a prediction again from its pins alone: ``id stored replayed identical``.

    Raises:
        NotFoundError: There is no such prediction.
        ReplayError: The series is not in the pinned data.
        ArtefactError: The model's files are gone or differ from their digest.
    """
    import polars as pl

    system, row = find(home, prediction_id)
    seen = Seen(row["as_of"], row["data_version"])
    predictor = _predictor(home, system, row["model_version"])
    raw = home.table(system, RAW)
    keys = predictor.schema.series.keys
    history = predictor.history(raw, seen, row["origin"], {name: row[name] for name in keys})
    frame = predictor.predict(history, row["origin"], threads=threads).frame
    found = frame.filter(pl.col("ahead") == row["ahead"])
    if found.height != 1:
        raise ReplayError(
            "the pinned data has no such series", where=prediction_id, hint=f"seen as of {iso(row['as_of'])}"
        )
    stored = {name: row[name] for name in _NUMBERS}
    replayed = {name: found[name][0] for name in _NUMBERS}
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
