"""Checks a batch against its contract: good rows from bad, and rules over the whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from headrace.contract.absent import absence, with_absent
from headrace.contract.alike import alike_keys
from headrace.contract.batch import CheckedRows
from headrace.contract.column import Column
from headrace.contract.declared import Contract
from headrace.contract.duplicates import duplicate_faults, without_copies
from headrace.contract.faults import RAW, WRITTEN, RuleFault, said
from headrace.contract.finding import Finding
from headrace.contract.known import KNOWN_AT, KnownTimes, is_pending
from headrace.contract.malformed import MALFORMED, alone, malformed_faults
from headrace.contract.naming import under_names
from headrace.contract.outcome import RowPlaces
from headrace.contract.parse import parse_columns
from headrace.contract.quarantine import KNOWN, bad_rows
from headrace.contract.rowrules import row_faults, run, time_rules
from headrace.contract.rules import Staleness, ZScore
from headrace.contract.validation import Validation
from headrace.errors import UsageError
from headrace.grid import Cadence, Grid
from headrace.lineage import iso

if TYPE_CHECKING:
    import polars as pl


def check(
    contract: Contract,
    frame: pl.DataFrame,
    *,
    keys: tuple[str, ...] = (),
    time: str | None = None,
    grid: Grid | Cadence | None = None,
    as_of: datetime,
    now: datetime,
    known: KnownTimes | None = None,
) -> Validation:
    """Parses ``frame`` to the declared types and separates good rows, bad rows and rows not yet known.

    Every row ends in exactly one of the three: ``good``, ``bad`` or the count ``pending``. Rows that are not
    yet known at ``as_of`` play no part in any rule, so that a check of the past sees what it saw then.

    Args:
        contract: What the rows must look like.
        frame: The rows as they came, with declared names; text or typed.
        keys: The columns that, with ``time``, may occur once, or once per known time where rows bring their own. Rows
            that are events (`Contract.aggregates`) may occur any number of times.
        time: The event-time column, None for a system without.
        grid: The regular steps of event times; a cadence becomes the grid that most rows lie on.
        as_of: The time of the run, with a zone.
        now: The clock's time, with a zone. An event after both is impossible.
        known: How the known time of a row is found; at its event time, if not given.

    Raises:
        ContractBroken: A declared column that may not be missing is missing from the frame.
        UsageError: ``as_of`` or ``now`` has no zone.
        DeclarationError: ``keys`` or ``time`` are not in the contract.
    """
    known = known or KnownTimes()
    for name, moment in (("as_of", as_of), ("now", now)):
        if moment.tzinfo is None:
            raise UsageError("the time has no zone", where=name, hint="write it as 2023-01-20T16:00:00Z")
    for name in (*keys, *([time] if time is not None else [])):
        contract.column(name)
    frame = under_names(frame, (*contract.names, *([known.column] if known.column is not None else [])))
    came, (frame, absent) = frame, with_absent(contract.columns, frame, (time, known.column))
    events = contract.aggregates
    columns = [c.of_step(grid.step, events=events) if c.name == time and grid else c for c in contract.columns]
    subject = _Subject.parse(contract.model_copy(update={"columns": tuple(columns)}), frame, keys, time, known, as_of)
    subject = replace(subject, raw=came)
    latest = None if known.awaited else max(as_of, now)
    pending = is_pending(subject.work[KNOWN], subject.written(time), as_of, latest)
    if pending.any():
        subject = subject.filter(~pending)
    if time is not None and grid is not None:
        grid = grid.of(subject.work[time]) if isinstance(grid, Cadence) else grid
    steps = grid if isinstance(grid, Grid) else None
    if time is not None and steps is not None and contract.column(time).align and not events:
        subject = subject.aligned(time, steps)
    work, faults = subject.work, [*subject.faults, *row_faults(contract.columns, subject.work)]
    if time is not None:
        faults += run([*time_rules(time, None if events else steps, latest, work), *known.rules(time, KNOWN)], work)
    if not events:
        clocks = ([time] if time is not None else []), ([KNOWN] if known.column is not None else [])
        unique = tuple(dict.fromkeys((*keys, *clocks[0], *clocks[1])))  # the time of rows may be their key
        clock = contract.column(time) if time is not None else None
        faults += duplicate_faults(work, unique, ~_any(faults, work.height), clock, steps=steps is not None)
    findings = _judge(contract, work, faults, CheckedRows(work, keys, time, steps, as_of))
    is_left_out = _any(faults, work.height)
    faults = faults if time is not None else without_copies(faults)
    findings = [*emptiness(contract, frame.height, work.height, as_of), *findings]
    findings += absence(absent, contract.names, came)
    is_bad = _any(faults, work.height)
    return Validation(
        good=_good(contract, work.filter(~is_left_out) if is_left_out.any() else work),
        bad=bad_rows(subject.raw, work, faults, is_bad, time, as_of),
        findings=tuple(findings),
        rows=frame.height,
        pending=frame.height - work.height,
        reasons=_counted(faults),
        extra=_extra(contract, came, known),
        max_invalid_fraction=contract.max_invalid_fraction,
        as_of=as_of,
        grid=steps,
        places=_places(pending, is_bad, is_left_out),
    )


def _places(pending: pl.Series, is_bad: pl.Series, is_left_out: pl.Series) -> RowPlaces:
    rows = (~pending).arg_true()
    return RowPlaces(rows.filter(is_bad), pending.arg_true(), rows.filter(is_left_out & ~is_bad), pending.len())


CAME = ":came"
"""The event time before it was moved down: two rows that differ in it are two rows."""


@dataclass(frozen=True)
class _Subject:
    """The rows as they came, the same rows typed (``work``), and the faults of parsing."""

    raw: pl.DataFrame
    work: pl.DataFrame
    faults: tuple[RuleFault, ...]

    @classmethod
    def parse(
        cls,
        contract: Contract,
        frame: pl.DataFrame,
        keys: tuple[str, ...],
        time: str | None,
        known: KnownTimes,
        as_of: datetime,
    ) -> _Subject:
        import polars as pl

        read = [*contract.columns]
        if known.column is not None and known.column not in contract.names:
            read.append(_known_column(contract, time, known.column))
        parsed = {column.name: series for column, series in zip(read, parse_columns(read, frame, keys), strict=True)}
        faults = [fault for column_parse in parsed.values() for fault in column_parse.faults]
        columns = [parsed[name].values for name in contract.names]
        columns += [frame[name].alias(RAW + name) for name in (*parsed, MALFORMED) if name in frame.columns]
        known_values = parsed[known.column].values if known.column is not None else None
        work = pl.DataFrame({series.name: series for series in columns})
        ends = parsed[time].ends if time is not None else None
        work = work if ends is None else work.with_columns(ends.alias(WRITTEN))
        times = known.times(work[time] if time is not None else None, known_values, as_of, frame.height, ends)
        return cls(frame, work.with_columns(times.alias(KNOWN)), tuple(alone(malformed_faults(frame), faults)))

    def written(self, time: str | None) -> pl.Series | None:
        """The times that the rows bear."""
        return None if time is None else self.work[WRITTEN if WRITTEN in self.work.columns else time]

    def aligned(self, time: str, grid: Grid) -> _Subject:
        import polars as pl

        return replace(self, work=self.work.with_columns(grid.floored(self.work[time]), pl.col(time).alias(CAME)))

    def filter(self, keep: pl.Series) -> _Subject:
        faults = [fault.filter(keep) for fault in self.faults]
        left = tuple(fault for fault in faults if fault.mask.any())
        return _Subject(self.raw.filter(keep), self.work.filter(keep), left)


def _known_column(contract: Contract, time: str | None, name: str) -> Column:
    """The column of the known time, where it is not declared: its local times are read as those of events."""
    if time is None:
        return Column(name, "time")
    like = contract.column(time)
    return Column(name, "time", zone=like.zone, ambiguous=like.ambiguous)


def _extra(contract: Contract, frame: pl.DataFrame, known: KnownTimes) -> tuple[str, ...]:
    return tuple(name for name in frame.columns if name not in (*contract.names, known.column, MALFORMED))


def _any(faults: list[RuleFault], rows: int) -> pl.Series:
    import polars as pl

    broken = pl.Series([False], dtype=pl.Boolean).new_from_index(0, rows)
    for fault in faults:
        broken = broken | fault.mask
    return broken


def _good(contract: Contract, work: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    if KNOWN_AT in contract.names:
        return work.select(contract.names)
    return work.select(*contract.names, pl.col(KNOWN).alias(KNOWN_AT))


def _counted(faults: list[RuleFault]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for fault in faults:
        counts[fault.label] += int(fault.mask.sum())
    return dict(counts.most_common())


def emptiness(contract: Contract, rows: int, known: int, as_of: datetime) -> list[Finding]:
    """The finding that no row is known, where that is not allowed."""
    if known or contract.allow_empty:
        return []
    text = "no rows" if not rows else f"no rows are known at {iso(as_of)}; {rows:,} become known later"
    return [Finding("empty", "stop", False, text, {"rows": rows})]


def _judge(contract: Contract, work: pl.DataFrame, faults: list[RuleFault], batch: CheckedRows) -> list[Finding]:
    """Runs the rules over the batch; those that set rows apart first, so that the others see what is left."""
    findings: dict[int, Finding] = {}
    for place, rule in enumerate(contract.rules):
        if isinstance(rule, ZScore) and rule.severity == "quarantine":
            findings[place] = _set_apart(rule, batch, work, faults)
    return judge(contract, _part(batch, work, ~_any(faults, work.height)), findings)


def judge(contract: Contract, batch: CheckedRows, findings: Mapping[int, Finding] | None = None) -> list[Finding]:
    """What all rules over the batch find, in their order, but for those that have found it already, by place."""
    judged = findings or {}
    results = [judged[place] if place in judged else rule.judge(batch) for place, rule in enumerate(contract.rules)]
    if contract.staleness is not None:
        results.append(Staleness(at_most=contract.staleness).judge(batch))
    return [*results, *alike_keys(batch)]


def _part(batch: CheckedRows, work: pl.DataFrame, keep: pl.Series) -> CheckedRows:
    rows = work if keep.all() else work.filter(keep)
    return CheckedRows(rows, batch.keys, batch.time, batch.grid, batch.as_of)


def _set_apart(rule: ZScore, batch: CheckedRows, work: pl.DataFrame, faults: list[RuleFault]) -> Finding:
    import polars as pl

    good = ~_any(faults, work.height)
    part = _part(batch, work, good)
    scores = rule.scores(part)
    beyond = (scores.abs() > rule.limit).fill_null(False)
    if beyond.any():
        mask = pl.Series([False], dtype=pl.Boolean).new_from_index(0, work.height)
        mask = mask.scatter(good.arg_true().filter(beyond), True)
        message = f"is more than {rule.limit:g} standard deviations from its series"
        reason = said(rule.column, pl.col(rule.column).cast(pl.String), message)
        faults.append(RuleFault(f"{rule.column}: {message}", mask, reason))
    worst = scores.abs().max()
    return rule.counted(int(beyond.sum()), part.rows.height, float(worst) if isinstance(worst, float) else 0.0)
