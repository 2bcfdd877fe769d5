"""The batch door: forecasts for every series, stored with their lineage, traced and replayed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
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
from headrace.lineage import ANSWERED, PINNED, ROLE, SHADOW, SHADOW_OF, Pins, as_of_in, iso, prediction_ids
from headrace.models.forecast import SERVED
from headrace.pipelines import runs, shape
from headrace.pipelines.conditions import conditions, refuse_unknown
from headrace.predictor import Predictor
from headrace.store.between import Between
from headrace.store.failures import intact
from headrace.store.views import Views
from headrace.system import System

if TYPE_CHECKING:
    import polars as pl

    from headrace.ledger import Entry

_TOLD = 3
"""Series without a forecast that a warning names."""
_CAUSE = ("model_digest", "feature_version", "config_digest")
_NUMBERS = ("value", "lower", "upper")


@dataclass(frozen=True)
class Reader:
    """One run that predicts: its pins and its id."""

    pins: Pins
    run_id: str


@dataclass(frozen=True)
class Predicted:
    """What a predict step did for one run.

    Attributes:
        frame: The predictions of this run.
        stored: How many of them were new.
        skipped: Series without one, with the reason.
        young: Series that are served a baseline, with the reason.
        origin: The newest known event time, UTC.
        blank: Columns known ahead that the model reads, and that none of the next steps has.
    """

    frame: pl.DataFrame
    stored: int
    skipped: list[dict[str, Any]]
    young: list[dict[str, Any]]
    origin: datetime
    blank: tuple[str, ...] = ()

    @property
    def served(self) -> dict[str, int]:
        """How many predictions are the model's, how many a baseline's, and how many a mix."""
        counts = dict(self.frame["served"].value_counts().iter_rows())
        return {kind: counts.get(kind, 0) for kind in SERVED}


def predict(
    system: System,
    home: Home,
    readers: Sequence[Reader],
    *,
    now: datetime,
    threads: int | None = None,
    seen: Views | None = None,
) -> list[Predicted]:
    """Forecast every series as of each reader's time, in one pass over the history, and store what is new.

    Repeating it with the same pins stores nothing. Another number for the same pins (facts that reached the store
    late) is a new row with the next revision; the earlier one stays.

    Args:
        system: The declaration.
        home: Where everything is.
        readers: Ascending in time; their pins may differ in nothing else.
        now: The clock's time; it is only written down.
        threads: For the boosters; None is all that the home allows. The numbers do not depend on it.
        seen: What the readers have read already, so that it need not be read again.

    Raises:
        NotEnoughDataError: Nothing is known as of the first time.
        ArtefactError: The model's files differ from their digest.
    """
    pins = readers[0].pins
    predictor = _predictor(home, system.name, pins.model_version, pins.model_digest)
    times = [reader.pins.as_of for reader in readers]
    views = predictor.views(home.table(system.name, predictor.schema.series.table), times, pins.data_version, seen=seen)
    outcome = predictor.predict(views, threads=threads or home.workers)
    frame = _with_lineage(system, outcome.frame, readers, views, now)
    new = dict(_store(system, home, frame, pins).group_by("as_of").len().iter_rows())
    ends = outcome.frame["reader"].search_sorted(np.arange(len(readers)), side="right").to_list()
    return [
        Predicted(
            frame[begin:end],
            new.get(times[i], 0),
            outcome.skipped[i],
            outcome.young[i],
            views.origin(i),
            views.blank(i, predictor.model.horizon),
        )
        for i, (begin, end) in enumerate(pairwise([0, *ends]))
    ]


def silent(system: System, skipped: Sequence[Mapping[str, Any]]) -> str | None:
    """That series have no forecast, a few of them with the reason; None where all have one."""
    if not skipped:
        return None
    told = [
        f"{', '.join(str(row[k]) for k in system.keys) or system.name} ({row['reason']})" for row in skipped[:_TOLD]
    ]
    more = f" and {len(skipped) - _TOLD:,} more" if len(skipped) > _TOLD else ""
    many = "1 series has" if len(skipped) == 1 else f"{len(skipped):,} series have"
    return f"{many} no forecast: {', '.join(told)}{more}"


def stale(system: System, home: Home, origin: datetime, *, as_of: datetime, data_version: int) -> str | None:
    """That the newest value is far older than is usual; None where it is not.

    Usual is what nine of ten values of the last month before it took to become known, or the source's lag where that
    is longer; up to three steps, or a day, more is not worth a word.
    """
    import polars as pl

    raw, series = home.raw(system), home.series(system)
    first, last = (pl.lit(each, pl.Datetime("us", "UTC")) for each in (origin - MONTH, origin))
    month = pl.col(series.time).is_between(first, last) & pl.col(system.target).is_not_null()
    known = raw.scan(version=data_version, as_of=as_of, where=month)
    took = raw.collect(known.select((pl.col("known_at") - pl.col(series.time)).quantile(0.9, "higher"))).item()
    usual, age = max(system.source.lag, took or timedelta()), as_of - origin
    if age <= usual + max(3 * series.grid.step, timedelta(days=1)):
        return None
    units = (timedelta(days=1) if each >= timedelta(days=2) else timedelta(hours=1) for each in (age, usual))
    long, short = (format_duration(each // unit * unit) for each, unit in zip((age, usual), units, strict=True))
    return f"the newest value, of {iso(origin)}, is {long} old, where {short} is usual: has the source gone stale?"


def _predictor(home: Home, system: str, version: int, digest: str) -> Predictor:
    return _loaded(home.registry.files(system, version, digest), digest)


@lru_cache(maxsize=2)
def _loaded(folder: Path, digest: str) -> Predictor:
    """The predictor of files that were found to have this digest; kept for the next runs of a backfill."""
    return Predictor.load(folder)


def _with_lineage(
    system: System, frame: pl.DataFrame, readers: Sequence[Reader], views: Views, now: datetime
) -> pl.DataFrame:
    import polars as pl

    utc, pins = pl.Datetime("us", "UTC"), readers[0].pins
    of_run = pl.DataFrame(
        {
            "as_of": pl.Series([reader.pins.as_of for reader in readers], dtype=utc),
            "origin": pl.Series([views.origin(i) for i in range(views.readers)], dtype=utc),
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


def ids_of(system: System, frame: pl.DataFrame, pins: Pins) -> pl.Series:
    """The id of every row: by its keys, `as_of`, `ahead` and `revision`, and the pins of all."""
    import polars as pl

    given = key_frame(frame, system.keys)
    keys = given.unique()
    of = numbers_in(keys, given)
    texts = ["\x1f".join(key) for key in keys.with_columns(pl.all().cast(pl.String).fill_null("")).iter_rows()]
    times = frame["as_of"].to_physical().to_numpy()
    columns = (frame[name].to_numpy() for name in ("ahead", "revision"))
    return pl.Series("id", prediction_ids(system.name, pins, texts, of.to_numpy(), times, *columns), dtype=pl.String)


def _store(system: System, home: Home, frame: pl.DataFrame, pins: Pins) -> pl.DataFrame:
    """Store what is not there yet; returns those rows."""
    table = home.table(system.name, PREDICTIONS)
    target = [*system.keys, system.event_time, "as_of"]
    identity = [*target, *_CAUSE, "revision"]
    columns, made = [*identity, *_NUMBERS, "_version"], Between("as_of", frame["as_of"].min(), frame["as_of"].max())
    try:
        stored = table.read(identity=identity, columns=columns, between=made, order=[])
    except NotFoundError:
        stored = frame.clear()
    if stored.height:
        frame = _revised(system, frame, stored, target, pins)
    table.append(frame, identity=identity, compare=_NUMBERS, window="as_of")
    return frame


def _revised(system: System, frame: pl.DataFrame, stored: pl.DataFrame, target: list[str], pins: Pins) -> pl.DataFrame:
    """Rows that differ from what stands, each with the revision after the last one of the same cause.

    What stands is what was stored last, by whatever model: after a rollback and a promotion back, the promoted model's
    numbers are said again.
    """
    import polars as pl

    told = [*_CAUSE, *_NUMBERS]
    standing = stored.sort("_version", "revision").unique(target, keep="last", maintain_order=True)
    beside = frame.join(standing, on=target, how="left", nulls_equal=True, suffix="_stands", maintain_order="left")
    same = pl.all_horizontal([pl.col(n).eq_missing(pl.col(f"{n}_stands")) for n in told])
    last = stored.group_by([*target, *_CAUSE]).agg(pl.col("revision").max().alias("last"))
    new = beside.filter(~same).join(last, on=[*target, *_CAUSE], how="left", nulls_equal=True, maintain_order="left")
    new = new.with_columns((pl.col("last") + 1).fill_null(0).alias("revision")).select(frame.columns)
    return new.with_columns(ids_of(system, new, pins)) if new.height else new


def read_predictions(
    system: System, home: Home, *, as_of: datetime | None = None, where: dict[str, str] | None = None
) -> pl.DataFrame:
    """Stored predictions, the newest revision of each; ordered by as_of, keys and time.

    Args:
        system: The declaration.
        home: Where they are.
        as_of: The forecast as it stood at this time: for every series and time, what the newest run up to then said.
        where: Column to text: only rows that have the value that it names; see `conditions`.

    Raises:
        NotFoundError: There is none yet, no such column, or no such series.
        UsageError: A text is no value of its column.
    """
    import polars as pl

    shape.check(system, home)
    where = inside(where or {}, system.keys)
    table = home.table(system.name, PREDICTIONS)
    if not table.exists():
        raise NotFoundError("no predictions yet", where=system.name, hint=f"headrace run {system.name}")
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
    return frame.unique(order, keep="last", maintain_order=True).select(*first, *rest)


def find(home: Home, prediction_id: str) -> tuple[str, dict[str, Any]]:
    """The system and the stored row of a prediction.

    Raises:
        NotFoundError: There is no such prediction.
    """
    import polars as pl

    made = pl.lit(as_of_in(prediction_id), pl.Datetime("us", "UTC"))
    slot = pl.col("as_of").is_between(made, made + timedelta(milliseconds=1))
    for name, more in ((PREDICTIONS, {}), (SHADOWS, {ROLE: SHADOW})):
        for system in home.store.systems():
            table = home.table(system, name)
            if table.exists():
                rows = table.collect(table.scan(where=slot & (pl.col("id") == prediction_id)))
                if rows.height:
                    return system, rows.drop("_version").row(0, named=True) | more
    found = home.ledger.get(prediction_id) if home.has_ledger else None
    if found is not None:
        return found[0].system, _of_entry(*found)
    beside = home.ledger.shadows.get(prediction_id) if home.has_ledger else None
    if beside is not None:
        shadow, answered, pins = beside
        inputs = answered.inputs if shadow.inputs is None else shadow.inputs
        entry = answered._replace(id=shadow.id, inputs=inputs, answer=shadow.answer)
        return entry.system, _of_entry(entry, pins) | {SHADOW_OF: answered.id}
    hint = (
        "ids are listed by `headrace predictions SYSTEM`; answers on a stream are known after `headrace archive SYSTEM`"
    )
    raise NotFoundError(f"no prediction {prediction_id}", hint=hint)


def _of_entry(entry: Entry, pins: Mapping[str, Any]) -> dict[str, Any]:
    """A logged prediction in the shape of a stored one. Of an event it was made as of the event's known time."""
    said = json.loads(entry.answer)
    as_of = datetime.fromisoformat(said["as_of"]) if "as_of" in said else entry.created_at
    return {
        "id": entry.id,
        "key": entry.key,
        **{name: value for name, value in said.items() if name not in ("id", "key", "model_version", "pins")},
        "inputs": entry.inputs.decode(),
        **dict.fromkeys(("as_of", "known_at"), as_of),
        "created_at": entry.created_at,
        "run_id": None,
        "door": "http",
        **{name: pins[name] for name in PINNED},
        ROLE: pins.get(ROLE, ANSWERED),
    }


def trace(home: Home, prediction_id: str) -> dict[str, Any]:
    """The chain behind a prediction: the row, its pins, the model's own pins, and the run that made it.

    Raises:
        NotFoundError: There is no such prediction.
    """
    system, row = find(home, prediction_id)
    version, role = home.registry.get(system, row["model_version"]), row.pop(ROLE, None) or ANSWERED
    pins = {"as_of": row["as_of"], **{name: row[name] for name in PINNED}}
    shown = {name: value for name, value in row.items() if name not in pins and name != "known_at"}
    if "inputs" in shown:
        with intact(f"{system}/{PREDICTIONS}", "headrace verify --deep says which file is damaged"):
            shown["inputs"] = json.loads(shown["inputs"])
    asked = home.ledger.trace_of(prediction_id) if home.has_ledger else None
    if asked is not None:
        shown["trace_id"], _, shown["span_id"] = asked.partition("-")
    return {
        "id": prediction_id,
        "system": system,
        ROLE: role,
        "prediction": shown,
        "pins": pins,
        "model": {
            "version": version.version,
            "digest": version.digest,
            "state": version.state,
            "trained": dict(version.pins),
            "metrics": dict(version.metrics),
        },
        "run": runs.record(home, system, row["run_id"]) if row["run_id"] is not None else None,
    }


def replay(home: Home, prediction_id: str, *, threads: int = 1) -> dict[str, Any]:
    """Compute a prediction again from its pins alone: ``id stored replayed identical``.

    Raises:
        NotFoundError: There is no such prediction.
        ReplayError: The series is not in the pinned data.
        NotExportedError: It answers a posted event that was not exported.
        ArtefactError: The model's files are gone or differ from their digest.
    """
    import polars as pl

    system, row = find(home, prediction_id)
    if "event_id" in row:
        hint = f"headrace export {system}"
        raise NotExportedError("the event that it answers is not in the tables yet", where=prediction_id, hint=hint)
    if "inputs" in row:
        return _replay_row(home, system, prediction_id, row)
    predictor = _predictor(home, system, row["model_version"], row["model_digest"])
    raw = home.table(system, predictor.schema.series.table)
    keys = predictor.schema.series.keys
    only = {name: row[name] for name in keys}
    try:
        views = predictor.views(raw, [row["as_of"]], row["data_version"], only=only)
    except NotEnoughDataError as error:
        raise _no_such_series(prediction_id, row) from error
    frame = predictor.predict(views, threads=threads).frame
    found = frame.filter(pl.col("ahead") == row["ahead"])
    if found.height != 1:
        raise _no_such_series(prediction_id, row)
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


def _replay_row(home: Home, system: str, prediction_id: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row's prediction again, from its own inputs by the model that it pins."""
    from headrace.row_predictor import PROBABILITY, RowPredictor, decoded, features_of

    predictor = RowPredictor.load(home.registry.fetch(home.registry.get(system, row["model_version"])))
    model = predictor.model
    inputs = decoded(row["inputs"], model.types)
    if row.get("error"):
        raise ReplayError(f"it could not be made: {row['error']}", where=prediction_id)
    replayed = predictor.answer(inputs)
    stored = {name: row[name] for name in replayed}
    # A shadow has the inputs of the prediction that it stands beside, whose features are those of another model.
    logged = None if row.get(ROLE) == SHADOW else features_of(row["inputs"])
    again = None if logged is None else predictor.features({name: [value] for name, value in inputs.items()})[0]
    told = {} if logged is None else {"features": {"stored": logged, "replayed": again}}
    return {
        "id": prediction_id,
        "stored": stored[PROBABILITY],
        "replayed": replayed[PROBABILITY],
        "identical": stored == replayed and logged == again,
        **told,
        model.target: {"stored": stored[model.target], "replayed": replayed[model.target]},
    }


def _no_such_series(prediction_id: str, row: dict[str, Any]) -> ReplayError:
    seen = f"seen as of {iso(row['as_of'])}"
    return ReplayError("the pinned data has no such series", where=prediction_id, hint=seen)
