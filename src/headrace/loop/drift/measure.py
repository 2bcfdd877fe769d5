"""Drift at a time: what the version learnt from that predicted before what is recent, and what came since."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import HeadraceError, NotFoundError, StoreError, UsageError
from headrace.home import DRIFT, Home
from headrace.lineage import digest_of
from headrace.loop.drift.counts import Cell, Counted, DriftCounts, DriftReference, within
from headrace.loop.drift.result import Drift, DriftedSegment, EstimatedMetric, Performance, VariableDrift
from headrace.loop.eras import Reign, reference_at, reign_at, reigns
from headrace.loop.times import spacing
from headrace.tasks import task_of
from headrace.tasks.distributions import FEATURE, PREDICTION, TARGET, KnownBetween
from headrace.tasks.watched import EstimateRequest

if TYPE_CHECKING:
    from headrace.drift.compared import Distance, UsualDistances
    from headrace.drift.frames import BinCounts, BinLayout
    from headrace.registry import ModelVersion
    from headrace.system import System

_DAY, _MOMENT = timedelta(days=1), timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
IDENTITY = ("time", "role", "name", "segment", "limits")
"""Of the table ``drift``: ``limits`` is the digest of what counted as drift, see `limits_of`."""
_ROLES = (FEATURE, TARGET, PREDICTION)
_LOOKS = 3
"""So often a rule sees all of what came since a shift before a version that learnt it is compared with."""
_log = logging.getLogger("headrace.drift")


@dataclass(frozen=True)
class KeptDrift:
    """What a measurement at evaluation times left.

    Attributes:
        rows: How many are new in the table ``drift``.
        unmeasured: Why nothing could be measured, by time (UTC).
        unjudged: Why what was measured gave no verdict, by time (UTC).
    """

    rows: int = 0
    unmeasured: Mapping[datetime, str] = field(default_factory=dict)
    unjudged: Mapping[datetime, str] = field(default_factory=dict)


def limits_of(system: System) -> str:
    """Digest of what counts as drift: what was measured by other limits says nothing of these."""
    monitoring = system.monitoring
    window = monitoring.drift.window or monitoring.window
    spans = {"window": window.total_seconds(), "recent": recent_of(system).total_seconds()}
    return digest_of({**monitoring.drift.model_dump(mode="json"), **spans})


def recent_of(system: System) -> timedelta:
    """How long ago a version must have been promoted to be compared with: as declared, or so that rules look thrice."""
    declared = system.monitoring.drift.recent
    return _LOOKS * max(_DAY, spacing(system)) if declared is None else declared


def drift_at(system: System, home: Home, *, as_of: datetime | None = None) -> Drift:
    """Distributions as they were known at a time, what runs of that very time made included.

    Args:
        system: The declaration.
        home: Where the tables are.
        as_of: UTC; None: the newest time of a run, or of what a door answered.

    Raises:
        NotFoundError: There was no model.
        UsageError: The system's task has no distributions.
        HeadraceError: What the model learnt from cannot be read any more.
    """
    task_of(system).export(home)
    ordered = reigns(home.registry.timeline(system.name))
    moment = _newest(system, home) if as_of is None else as_of
    if moment is None or not ordered or ordered[0].promoted > moment:
        message = "there is no model yet" if as_of is None else "there was no model then"
        raise NotFoundError(message, where=system.name, hint=f"headrace run {system.name}")
    version = reference_at(ordered, moment, recent_of(system)).version
    measure = Measure(system, home, home.registry.get(system.name, version), lasting=False)
    drift = next(measure.at([moment], before=moment + _MOMENT))
    return replace(drift, performance=_performance(system, home, reign_at(ordered, moment), moment))


def _performance(system: System, home: Home, reign: Reign, moment: datetime) -> Performance | None:
    """How good predictions of the window were, what runs of that very time made included."""
    errors = task_of(system).watched(home)
    window = system.monitoring.drift.window or system.monitoring.window
    request = EstimateRequest((moment + _MOMENT,), (reign.since,), (reign.version,), window, ())
    frame = None if errors is None else errors.estimates(request)
    if frame is None or frame.is_empty():
        return None
    rows = frame.to_dicts()
    if rows[0]["reason"] is not None:
        return Performance(0, 0, reason=rows[0]["reason"])
    names = ("estimated", "held_out", "deviation", "realised")
    metrics = [EstimatedMetric(row["metric"], *(row[name] for name in names)) for row in rows]
    return Performance(rows[0]["n"], rows[0]["matured"], metrics)


def keep_drift(system: System, home: Home, times: Sequence[datetime]) -> KeptDrift:
    """Measure drift at evaluation times and keep what is found in the table ``drift``.

    A row for each time and variable, and for each variable that drifted in a segment: ``time known_at model_version
    role name segment limits kind statistic value threshold drifted matters importance rows share``. Nothing is kept of
    times without a verdict. Repeating it adds nothing.

    What cannot be measured, because what a version learnt from or its files are gone, ends nothing: a warning says so,
    and so does the result.

    Raises:
        StoreError: A table cannot be read or written.
    """
    if not task_of(system).drifts:
        return KeptDrift()
    ordered, rows = reigns(home.registry.timeline(system.name)), list[dict[str, Any]]()
    groups, recent = dict[int, list[datetime]](), recent_of(system)
    for time in times:
        if ordered and ordered[0].promoted <= time:
            groups.setdefault(reference_at(ordered, time, recent).version, []).append(time)
    measured, unmeasured, unjudged = list[datetime](), dict[datetime, str](), dict[datetime, str]()
    for version, moments in groups.items():
        try:
            measure = Measure(system, home, home.registry.get(system.name, version))
            results = list(measure.at(moments))
        except StoreError:  # nothing can be read or written now: a run that comes later measures
            raise
        except HeadraceError as error:
            reason = f"what version {version} learnt from cannot be looked at: {error.message}"
            _log.warning("drift of %s is unknown: %s", system.name, reason)
            unmeasured |= dict.fromkeys(moments, reason)
            continue
        measured += moments
        for drift in results:
            rows += _kept(drift, limits_of(system))
            unjudged |= {} if drift.reason is None else {drift.as_of: drift.reason}
    added = _write(home, system.name, [*rows, *_withdrawn(home, system, measured, rows)])
    return KeptDrift(added, unmeasured, unjudged)


class Measure:
    """The drift from what one version learnt, at any times.

    Args:
        system: The declaration.
        home: Where the tables are.
        version: What is compared with what it learnt from.
        lasting: Counts have to be kept; else they are where that is possible.

    Raises:
        UsageError: The system's task has no distributions.
    """

    def __init__(self, system: System, home: Home, version: ModelVersion, *, lasting: bool = True) -> None:
        self._system, self._version, self._limits = system, version, system.monitoring.drift
        segments = self._limits.segments
        source = task_of(system).distributions(home, version, segments)
        if source is None:
            raise UsageError(f"{system.name} has no distributions to compare", where="drift")
        self._span, self._unit = source.span, source.unit
        self._usual: dict[tuple[Cell, int], tuple[BinCounts, UsualDistances]] = {}
        self._counts = DriftCounts(home, system.name, version, segments, source, lasting=lasting)

    def at(self, times: Sequence[datetime], before: datetime | None = None) -> Iterator[Drift]:
        """The drift as it was known at each of some times (ascending, UTC).

        Args:
            times: What was known then.
            before: Nothing is seen that runs made as of then, or later; None: as of the time itself.
        """
        window = self._limits.window or self._system.monitoring.window
        begins = [max(_midnight(time - window), self._version.as_of) for time in times]
        full = all(_midnight(time) == time for time in times) and before is None
        cells: dict[Cell, Counted] | None = None
        if full:
            cells = self._counts.between(KnownBetween(begins[0], times[-1], times[-1]))
        for time, begin in zip(times, begins, strict=True):
            known = cells
            if known is None:
                known = self._counts.between(KnownBetween(begin, time, before or time))
            end = time if full else _midnight(time + _DAY - _MOMENT) + _DAY
            yield self._judged(time, begin, within(known, _floor(begin), end))

    def _judged(self, time: datetime, since: datetime, current: Mapping[Cell, BinCounts]) -> Drift:
        reference = self._counts.reference
        days = max(-((since - time) // _DAY), 1)
        rows = _rows(current)
        reason = self._unjudged(rows, time - since)
        measured = list(self._measured(current, days))
        from headrace.drift.compared import foremost, judged

        verdicts = judged([distances for _, distances in measured], self._limits)
        variables, segments = list[VariableDrift](), dict[str, list[VariableDrift]]()
        for (cell, _), verdict in zip(measured, verdicts, strict=True):
            results = verdict if reason is None else [replace(item, drifted=False) for item in verdict]
            first = foremost(results)
            ordered = [first, *(item for item in results if item is not first)]
            one = self._variable(cell, ordered, reference, current[cell])
            if not cell.segment:
                variables.append(one)
            elif one.drifted:
                segments.setdefault(cell.segment, []).append(one)
        variables.sort(key=lambda item: (not item.drifted, -(item.importance or 0), _ROLES.index(item.role), item.name))
        return Drift(
            self._system.name,
            time,
            self._version.version,
            self._version.as_of,
            since,
            reference.rows(_ROLES),
            rows,
            variables,
            [_segment(key, results, current) for key, results in sorted(segments.items())],
            _share(variables),
            reason,
        )

    def _measured(self, current: Mapping[Cell, BinCounts], days: int) -> Iterator[tuple[Cell, list[Distance]]]:
        """The distances of every cell that is in both, and has enough rows."""
        from headrace.drift.compared import UsualDistances, distances

        reference, limits = self._counts.reference, self._limits
        for cell, now in current.items():
            if cell not in reference.cells or (cell.segment and int(now.rows.sum()) < limits.least):
                continue
            before = reference.cells[cell]
            if (cell, days) not in self._usual:  # times one after the other have windows as long
                full = before.counts.total()
                self._usual[cell, days] = full, UsualDistances(full, _windows(before, days))
            full, usual = self._usual[cell, days]
            yield cell, distances(reference.frames[cell.variable], full, now, limits, usual)

    def _unjudged(self, rows: int, span: timedelta) -> str | None:
        """Why there is no verdict."""
        if not rows:
            return f"nothing came since version {self._version.version} was trained, or within the window"
        if rows < self._limits.least:
            return f"{rows:,} row{'' if rows == 1 else 's'} came, fewer than {self._limits.least:,}"
        if span < self._span:
            return f"what came spans {span}, which is less than {self._span}"
        return None

    def _variable(
        self, cell: Cell, distances: Sequence[Distance], reference: DriftReference, now: BinCounts
    ) -> VariableDrift:
        variable, frame = cell.variable, reference.frames[cell.variable]
        shares = reference.importance
        importance = shares.get(variable.name) if variable.role == FEATURE else None
        details = variable.role == FEATURE and bool(shares)
        matters = not details or (importance or 0.0) >= self._limits.least_importance
        unit = {} if (name := self._unit(variable)) is None else {"unit": name}
        return VariableDrift(
            variable.name,
            variable.role,
            variable.kind,
            distances,
            (importance or 0.0) if details else None,
            matters,
            _described(frame, reference.cells[cell].counts.total()) | unit,
            _described(frame, now) | unit,
        )


def _windows(before: Counted, days: int) -> BinCounts | None:
    """A reference in windows of so many days, the newest first to be whole; None where it has no days."""
    chosen = np.flatnonzero(before.days >= 0)
    if not chosen.size:
        return None
    numbers = before.days[chosen]
    places = (numbers[-1] - numbers) // days
    return before.counts.only(chosen).placed(places, int(places.max()) + 1)


def _described(frame: BinLayout, counts: BinCounts) -> dict[str, Any]:
    """Rows, the share that is missing, and what is typical."""
    rows = int(counts.rows.sum())
    details: dict[str, Any] = {"rows": rows, "missing": int(counts.missing.sum()) / rows if rows else 0.0}
    if frame.kind == "categorical":
        details["new"] = dict(counts.examples[0]) if counts.examples else {}
    else:
        last = sum(frame.parts[:-1])
        details["mean"] = frame.scales[-1].mean(counts.bins[0, last:], counts.sums[0, last:])
    return details


def _rows(current: Mapping[Cell, BinCounts]) -> int:
    """Rows of the first role that has any."""
    for role in _ROLES:
        counts = [int(c.rows.sum()) for cell, c in current.items() if cell.variable.role == role and not cell.segment]
        if counts:
            return max(counts)
    return 0


def _segment(key: str, variables: Sequence[VariableDrift], current: Mapping[Cell, BinCounts]) -> DriftedSegment:
    column, value = json.loads(key)
    rows = _rows({Cell(cell.variable, ""): item for cell, item in current.items() if cell.segment == key})
    return DriftedSegment(column, value, rows, sorted(variables, key=lambda item: -item.foremost.excess))


def _share(variables: Sequence[VariableDrift]) -> float:
    """The share of importance that drifted."""
    features = [item for item in variables if item.role == FEATURE]
    weights = [1.0 if item.importance is None else item.importance for item in features]
    full = sum(weights)
    return sum(w for w, item in zip(weights, features, strict=True) if item.drifted) / full if full else 0.0


def _kept(drift: Drift, limits: str) -> Iterator[dict[str, Any]]:
    """The rows of the table for one time."""
    if drift.reason is not None:
        return
    base = {"time": drift.as_of, "known_at": drift.as_of, "model_version": drift.version, "share": drift.share}
    pairs = [("", drift.rows, item) for item in drift.variables]
    pairs += [
        (json.dumps({segment.column: segment.value}, ensure_ascii=False), segment.rows, item)
        for segment in drift.segments
        for item in segment.variables
    ]
    for segment, rows, item in pairs:
        first = item.foremost
        numbers = {"value": first.value, "threshold": first.threshold, "importance": item.importance, "rows": rows}
        names = {"role": item.role, "name": item.name, "segment": segment, "limits": limits, "kind": item.kind}
        yield {
            **base,
            **names,
            **numbers,
            "statistic": first.statistic,
            "drifted": item.drifted,
            "matters": item.matters,
        }


def _withdrawn(
    home: Home, system: System, times: Sequence[datetime], rows: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Of segments in which something had drifted until facts came late: that it did not."""
    import polars as pl

    table = home.table(system.name, DRIFT)
    if not table.exists() or not times:
        return
    standing = {tuple(row[name] for name in IDENTITY) for row in rows}
    by_limits = pl.col("limits") == limits_of(system)
    where = [pl.col("time").is_in(list(times)), by_limits, pl.col("segment") != "", pl.col("drifted")]
    for row in table.read(identity=IDENTITY, where=where).drop("_version").iter_rows(named=True):
        if tuple(row[name] for name in IDENTITY) not in standing:
            yield {**row, "drifted": False}


def _write(home: Home, system: str, rows: Sequence[Mapping[str, Any]]) -> int:
    import polars as pl

    if not rows:
        return 0
    types: dict[str, Any] = dict.fromkeys(("time", "known_at"), pl.Datetime("us", "UTC"))
    types |= {"model_version": pl.Int64, "rows": pl.Int64, "drifted": pl.Boolean, "matters": pl.Boolean}
    types |= dict.fromkeys(("role", "name", "segment", "limits", "kind", "statistic"), pl.String)
    types |= dict.fromkeys(("value", "threshold", "importance", "share"), pl.Float64)
    frame = pl.DataFrame(rows, schema=types)
    compare = [name for name in types if name not in (*IDENTITY, "known_at")]
    return home.table(system, DRIFT).append(frame, identity=IDENTITY, compare=compare, window="time").added


def _newest(system: System, home: Home) -> datetime | None:
    """As of when there is anything to compare: the newest time of a run, or of what a door answered."""
    import polars as pl

    from headrace.home import PREDICTIONS, RUNS

    results: list[datetime | None] = []
    for name, column in ((RUNS, "as_of"), (PREDICTIONS, "as_of")):
        table = home.table(system.name, name)
        if table.exists():
            results.append(table.collect(table.scan().select(pl.col(column).max())).item())
    return max((item for item in results if item is not None), default=None)


def _midnight(time: datetime) -> datetime:
    """The first midnight that is not before a time, UTC."""
    return _EPOCH - (_EPOCH - time) // _DAY * _DAY


def _floor(time: datetime) -> datetime:
    return _EPOCH + (time - _EPOCH) // _DAY * _DAY
