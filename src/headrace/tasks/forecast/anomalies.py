"""How unusual values were, as facts: each judged when it is first known, by the newest forecast of it from before.

What a stream or a posted event was answered stands: `said`. Other values are judged when they mature, by the forecasts
of runs. A value counts if its series has none of a later step by then; a correction is no value to be judged again.
Judging is a function of forecasts and truths of a bounded past, see `headrace.models.anomalies`. So facts that reach
the tables late change what follows from them and nothing else, whichever runs there were.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.features.keyed import key_frame, numbers_in
from headrace.grid import Grid
from headrace.home import ANOMALIES, Home
from headrace.models.anomalies import UNIT, AnomalyWatch, WatchedValues
from headrace.models.forecaster import Forecaster
from headrace.models.glitches import Glitches, margin
from headrace.store.history import KnownAsOf, SeriesLayout, read_truth
from headrace.store.snapshots import read_snapshots
from headrace.system import System

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

EXPECTED = ("value", "lower", "upper")
_INPUT = ("actual", *EXPECTED)
_VERDICT = ("degree", "anomaly")
_SEEN = ("data_version", "predictions_version")
_SERIES = "_series"
_MICROSECOND = timedelta(microseconds=1)
_GLITCHES = 200
"""Values that may be glitches are looked at so many at once, each as of its own time."""


def watch_of(system: System, grid: Grid) -> AnomalyWatch:
    """How the series of a system are watched, whose steps lie on a grid."""
    return AnomalyWatch.of(grid.step, system.monitoring.false_alarms)


def read_anomalies(
    system: System, home: Home, *, as_of: datetime | None = None, since: datetime | None = None
) -> pl.DataFrame | None:
    """How values were judged, as it is known at a time: keys, event time, `known_at` and the following; None: never.

    `actual`, what was expected of it as `value lower upper`, `degree` and `anomaly`; null where nothing was expected.

    Args:
        system: The declaration.
        home: Where they are.
        as_of: None is all that is known, UTC.
        since: Only event times from then on, UTC.

    Raises:
        StoreError: The table cannot be read.
    """
    import polars as pl

    table, time = home.table(system.name, ANOMALIES), system.event_time
    if not table.exists():
        return None
    where = None if since is None else pl.col(time) >= pl.lit(since, pl.Datetime("us", "UTC"))
    facts = table.collect(table.scan(as_of=as_of, where=where))
    return _standing(system, facts).sort(time, *system.keys, maintain_order=True)


def _standing(system: System, facts: pl.DataFrame) -> pl.DataFrame:
    """Of each value what was said of it, else what whoever had seen most found."""
    identity = [*system.keys, system.event_time]
    return facts.sort("said", *_SEEN, "_version").unique(identity, keep="last", maintain_order=True)


def keep_said(system: System, home: Home, answers: Iterable[Mapping[str, Any]]) -> int:
    """Keep what answers to events said of their values; returns how many are new.

    Answers that say nothing of what was expected of a value, as those of earlier versions do, are passed over.

    Raises:
        StoreError: The table cannot be written.
    """
    import polars as pl

    rows = []
    for answer in answers:
        expected = answer.get("expected")
        if "degree" in answer and answer.get("observed") is not None:
            numbers = {name: expected[name] if expected else None for name in EXPECTED}
            numbers = {"actual": answer["observed"], **numbers, **{name: answer[name] for name in _VERDICT}}
            rows.append({name: answer[name] for name in system.keys} | numbers | _times(system, answer))
    if not rows:
        return 0
    utc = pl.Datetime("us", "UTC")
    types: dict[str, Any] = dict.fromkeys((*_INPUT, "degree"), pl.Float64()) | {"anomaly": pl.Boolean()}
    types |= {system.event_time: utc, "known_at": utc}
    schema = home.raw(system).schema()
    types |= {name: schema[name] for name in system.keys}
    frame = pl.DataFrame(rows, schema=types)
    # A correction has a row of its own in the log; what counts is the first that was said of a value.
    frame = frame.sort("known_at", maintain_order=True)
    frame = frame.filter(~_corrects(system, home, frame))
    return _append(system, home, frame, said=True, seen=(0, 0))


def _times(system: System, answer: Mapping[str, Any]) -> dict[str, datetime]:
    return {
        system.event_time: datetime.fromisoformat(answer["event_time"]),
        "known_at": datetime.fromisoformat(answer["as_of"]),
    }


def _corrects(system: System, home: Home, frame: pl.DataFrame) -> pl.Series:
    """Which rows are about a value that something was said of before."""
    import polars as pl

    identity = [*system.keys, system.event_time]
    numbered = frame.select(identity).with_row_index("_row")
    is_repeated = ~numbered["_row"].is_in(numbered.unique(identity, keep="first")["_row"].implode())
    table = home.table(system.name, ANOMALIES)
    if not table.exists():
        return is_repeated
    bounds = pl.col(system.event_time).is_between(frame[system.event_time].min(), frame[system.event_time].max())
    stored = table.collect(table.scan(where=bounds & pl.col("said")).select(*identity, stored="known_at"))
    stored = stored.group_by(identity).agg(pl.col("stored").min())
    pairs = frame.join(stored, on=identity, how="left", nulls_equal=True, maintain_order="left")
    return is_repeated | (pairs["stored"] < pairs["known_at"]).fill_null(value=False)


def _append(system: System, home: Home, frame: pl.DataFrame, *, said: bool, seen: tuple[int, int]) -> int:
    import polars as pl

    time = system.event_time
    columns = [*system.keys, time, "known_at", *_INPUT, *_VERDICT]
    marks = {name: pl.lit(version, pl.Int64) for name, version in zip(_SEEN, seen, strict=True)}
    frame = frame.select(columns).with_columns(said=pl.lit(said), **marks)
    identity = [*system.keys, time, "known_at", "said"]
    compare = [*_INPUT, *_VERDICT, *_SEEN]
    return home.table(system.name, ANOMALIES).append(frame, identity=identity, compare=compare, window=time).added


def judge(
    system: System, home: Home, seen: KnownAsOf, predictions: pl.DataFrame, times: pl.Series, predictions_version: int
) -> int:
    """Judge the values of some event times, and anew what follows from those that changed; returns how many facts.

    Args:
        system: The declaration.
        home: Where everything is.
        seen: What may be seen of the facts.
        predictions: All that were made of these times: keys, event time, ``as_of`` and numbers.
        times: The event times, ascending.
        predictions_version: Of the table that they are of.

    Raises:
        StoreError: A table cannot be read or written.
    """
    import polars as pl

    if predictions.is_empty() or times.is_empty():
        return 0
    series, time, identity = home.series(system), system.event_time, [*system.keys, system.event_time]
    view = _JudgingView(system, home, series, seen, watch_of(system, series.grid), predictions_version)
    firsts = _firsts(view, times)
    stored = read_anomalies(system, home, as_of=seen.as_of, since=times[0] - view.reach)
    stored = _nothing(firsts, identity) if stored is None else stored
    judged = stored.filter(~pl.col("said"))
    fresh = _fresh(view, firsts, judged)
    due = pl.col(time).is_in(times.implode())
    new = _beside(fresh.filter(due & pl.col("actual").is_not_null()), predictions, identity)
    new = new.join(stored.filter("said"), on=identity, how="anti", nulls_equal=True)
    judged = judged.filter(pl.col("degree").is_not_null()).join(new, on=identity, how="anti", nulls_equal=True)
    stays = judged.filter(~due).join(fresh, on=identity, how="semi", nulls_equal=True)
    lost = judged.join(stays, on=identity, how="anti", nulls_equal=True)
    return _renew(view, stored.join(lost, on=identity, how="anti", nulls_equal=True), new, lost)


@dataclass(frozen=True)
class _JudgingView:
    """What is looked at, and how."""

    system: System
    home: Home
    series: SeriesLayout
    seen: KnownAsOf
    watch: AnomalyWatch
    predictions_version: int

    @property
    def reach(self) -> timedelta:
        return timedelta(microseconds=self.watch.reach)


def _nothing(firsts: pl.DataFrame, identity: Sequence[str]) -> pl.DataFrame:
    """A frame as of the table, with nothing in it."""
    import polars as pl

    empty = firsts.clear().select(*identity, "known_at", "actual")
    numbers = (pl.lit(None, pl.Float64).alias(name) for name in (*EXPECTED, "degree"))
    return empty.with_columns(*numbers, pl.lit(None, pl.Boolean).alias("anomaly"), said=pl.lit(False))


def _firsts(view: _JudgingView, times: pl.Series) -> pl.DataFrame:
    """The first that was known of each of these times, and when: keys, event time, `actual` and `known_at`.

    And of later ones, up to when the last of these became known: a value that is known before an earlier one.
    """
    import polars as pl

    system, time = view.system, view.system.event_time
    raw, identity = view.home.raw(system), [*view.system.keys, view.system.event_time]
    between = times[0], times[-1]
    facts = read_truth(raw, view.series, view.seen, between)
    newest = facts.filter(pl.col(time).is_in(times.implode()))["known_at"].max()
    if isinstance(newest, datetime) and newest > times[-1]:
        more = read_truth(raw, view.series, view.seen, (times[-1] + _MICROSECOND, newest))
        facts = pl.concat([facts, more], how="vertical_relaxed")
    facts = facts.rename({system.target: "actual"}).sort("known_at", "_version", maintain_order=True)
    return facts.unique(identity, keep="first", maintain_order=True).select(*identity, "actual", "known_at")


def _fresh(view: _JudgingView, firsts: pl.DataFrame, judged: pl.DataFrame) -> pl.DataFrame:
    """The values of which nothing later of their series was known: of those at hand, and those that were judged."""
    import polars as pl

    keys, time = view.system.keys, view.system.event_time
    before = judged.select(*keys, time, "actual", "known_at")
    before = before.join(firsts, on=[*keys, time], how="anti", nulls_equal=True)
    facts = pl.concat([firsts, before], how="vertical_relaxed").sort("known_at", time, maintain_order=True)
    newest = pl.col(time).cum_max().shift(1)
    newest = newest.over(keys) if keys else newest
    return facts.filter((pl.col(time) > newest).fill_null(value=True))


def _beside(values: pl.DataFrame, predictions: pl.DataFrame, identity: Sequence[str]) -> pl.DataFrame:
    """Values beside the newest forecast of each from before it was known."""
    import polars as pl

    forecasts = predictions.select(*identity, "as_of", *EXPECTED).drop_nulls(EXPECTED)
    pairs = values.with_row_index("_row").join(forecasts, on=list(identity), how="inner", nulls_equal=True)
    pairs = pairs.filter(pl.col("as_of") < pl.col("known_at")).sort("as_of", maintain_order=True)
    pairs = pairs.unique("_row", keep="last", maintain_order=True)
    return pairs.select(*identity, "known_at", *_INPUT).with_columns(pl.col("actual").cast(pl.Float64))


def _renew(view: _JudgingView, stored: pl.DataFrame, new: pl.DataFrame, lost: pl.DataFrame) -> int:
    """Judge what is new, and anew what follows from it, and store what that changes.

    Args:
        view: What is looked at.
        stored: What stands of these values, and of those around them.
        new: Values with what was expected of them.
        lost: Values that are not to be judged any more.
    """
    import polars as pl

    system, time = view.system, view.system.event_time
    identity = [*system.keys, time]
    columns = [*identity, "known_at", *_INPUT]
    changed = new.join(stored, on=columns, how="anti", nulls_equal=True).select(identity)
    changed = pl.concat([changed, lost.select(identity)])
    if changed.is_empty():
        return 0
    since = changed.group_by(system.keys).agg(_first=pl.col(time).min()) if system.keys else None
    rest = stored.join(new, on=identity, how="anti", nulls_equal=True)
    frame = pl.concat([rest.select(*columns, "said"), new.with_columns(said=pl.lit(False)).select(*columns, "said")])
    if since is None:
        frame = frame.with_columns(_first=pl.lit(changed[time].min(), pl.Datetime("us", "UTC")))
    else:
        frame = frame.join(since, on=system.keys, nulls_equal=True)
    reached = pl.col(time) >= pl.col("_first") - view.reach
    frame = frame.filter(pl.all_horizontal(pl.col(_INPUT).is_not_null()) & reached)
    keys = key_frame(frame, system.keys)
    number = numbers_in(keys.unique(), keys) if system.keys else pl.Series(np.zeros(frame.height, np.int64))
    frame = _judged(view, frame.with_columns(number.cast(pl.Int64).alias(_SERIES)).sort(_SERIES, time))
    due = frame.filter(~pl.col("said") & (pl.col(time) >= pl.col("_first"))).select(*columns, *_VERDICT)
    due = due.join(stored, on=[*columns, *_VERDICT], how="anti", nulls_equal=True)
    nulls = [pl.lit(None, pl.Float64).alias(name) for name in (*EXPECTED, "degree")]
    unjudged = lost.with_columns(*nulls, anomaly=pl.lit(None, pl.Boolean)).select(*columns, *_VERDICT)
    due = pl.concat([due, unjudged])
    seen = view.seen.version, view.predictions_version
    return _append(system, view.home, due, said=False, seen=seen) if due.height else 0


def _judged(view: _JudgingView, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame, in order of series and times, with degrees and verdicts."""
    import polars as pl

    system, watch = view.system, view.watch
    times = frame[system.event_time].to_physical().to_numpy()
    numbers = [frame[name].cast(pl.Float64).to_numpy() for name in _INPUT]
    finite = np.isfinite(np.stack(numbers)).all(axis=0)
    observed = WatchedValues(frame[_SERIES].to_numpy()[finite], times[finite], *(column[finite] for column in numbers))
    states = watch.unknown(int(observed.row.max(initial=-1)) + 1)
    judged = watch.judge(states, observed)
    degree, anomaly, far = np.full(times.size, np.nan), np.zeros(times.size, dtype=bool), np.zeros(times.size, bool)
    degree[finite], anomaly[finite], far[finite] = judged.degree / UNIT, judged.anomaly, judged.far
    wanted = frame.select(~pl.col("said") & (pl.col(system.event_time) >= pl.col("_first"))).to_series().to_numpy()
    place = np.flatnonzero(far & wanted & ~anomaly)
    if place.size:
        anomaly[place] = _glitches(view, frame[place])
    return frame.with_columns(pl.Series("degree", degree, nan_to_null=True), pl.Series("anomaly", anomaly))


def _glitches(view: _JudgingView, rows: pl.DataFrame) -> NDArray[np.bool_]:
    """Which values were glitches beside their history, each as of when it was known."""
    system, series, raw = view.system, view.series, view.home.raw(view.system)
    if not isinstance(system.model, Forecaster):
        return np.zeros(rows.height, dtype=bool)
    frame = system.model.frame(system.target, series.grid.step)
    span = series.grid.step * (margin(frame) + 1)
    glitches = np.zeros(rows.height, dtype=bool)
    moments = rows["known_at"].unique().sort()
    for begin in range(0, moments.len(), _GLITCHES):
        times = moments[begin : begin + _GLITCHES]
        snapshots = read_snapshots(raw, series, times.to_list(), view.seen.version, span=span, ahead=timedelta())
        place = np.flatnonzero(rows["known_at"].is_in(times.implode()).to_numpy())
        part = rows[place]
        reader = times.search_sorted(part["known_at"]).to_numpy()
        number = numbers_in(key_frame(snapshots.keys, system.keys), key_frame(part, system.keys)).to_numpy()
        history = snapshots.history
        origin = np.array([history.position(moment) for moment in part[system.event_time]], dtype=np.int64)
        glitch = Glitches(history, frame).at(snapshots.rows[reader, number], origin)
        if glitch is not None:
            glitches[place] = glitch
    return glitches


def counted(system: System, home: Home, times: Sequence[datetime], window: timedelta) -> pl.DataFrame:
    """Of each time (ascending, UTC) and series the values that became known within a window before it, and were judged.

    Returns:
        ``time``, the keys, ``n``, ``anomalies`` and ``degree``, the highest; nothing of series without such values.

    Raises:
        StoreError: The table cannot be read.
    """
    import polars as pl

    utc = pl.Datetime("us", "UTC")
    table = home.table(system.name, ANOMALIES)
    if not table.exists():
        types = {"time": utc, "n": pl.Int64(), "anomalies": pl.Int64(), "degree": pl.Float64()}
        return pl.DataFrame(schema=types)
    known = pl.col("known_at") > pl.lit(times[0] - window, utc)
    rows = _standing(system, table.collect(table.scan(as_of=times[-1], where=known)))
    rows = rows.filter(pl.col("degree").is_not_null()).select(*system.keys, "known_at", "degree", "anomaly")
    # A value counts at so many evaluation times as lie within a window after it was known.
    moments = pl.Series("time", times, utc)
    first = moments.search_sorted(rows["known_at"], side="left")
    last = moments.search_sorted(rows["known_at"].dt.offset_by(f"{window // _MICROSECOND}us"), side="left")
    places = pl.int_ranges(first, last, dtype=pl.Int64, eager=True)
    rows = rows.with_columns(places.alias("_place")).explode("_place").drop_nulls("_place")
    rows = rows.with_columns(moments.gather(rows["_place"]))
    counts = [pl.len().cast(pl.Int64).alias("n"), pl.col("anomaly").cast(pl.Int64).sum().alias("anomalies")]
    grouped = rows.group_by("time", *system.keys).agg(*counts, pl.col("degree").max())
    return grouped.sort("time", *system.keys)
