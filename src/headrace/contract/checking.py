"""Checks a batch against its contract: good rows from bad, and rules over the whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from headrace.contract.absent import absence, with_absent
from headrace.contract.alike import alike_keys
from headrace.contract.column import Column
from headrace.contract.declared import Contract
from headrace.contract.duplicates import duplicate_faults
from headrace.contract.faults import RAW, WRITTEN, Fault, said
from headrace.contract.finding import Finding
from headrace.contract.known import KNOWN_AT, Known, is_pending
from headrace.contract.malformed import MALFORMED, alone, malformed_faults
from headrace.contract.naming import under_names
from headrace.contract.parse import parse_columns
from headrace.contract.quarantine import KNOWN, bad_rows
from headrace.contract.rowrules import row_faults, run, time_rules
from headrace.contract.rules import Batch, Staleness, ZScore
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
    known: Known | None = None,
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
    known = known or Known()
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
    written = None if time is None else subject.work[WRITTEN if WRITTEN in subject.work.columns else time]
    pending = is_pending(subject.work[KNOWN], written, as_of, latest)
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
        unique = (*keys, *([time] if time is not None else []), *([KNOWN] if known.column is not None else []))
        clock = contract.column(time) if time is not None else None
        faults += duplicate_faults(work, unique, ~_any(faults, work.height), clock, steps=steps is not None)
    findings = _judge(contract, work, faults, Batch(work, keys, time, steps, as_of))
    findings = [*emptiness(contract, frame.height, work.height, as_of), *findings]
    findings += absence(absent, contract.names, came)
    is_bad = _any(faults, work.height)
    return Validation(
        good=_good(contract, work if not faults else work.filter(~is_bad)),
        bad=bad_rows(subject.raw, work, faults, is_bad, time, as_of),
        findings=tuple(findings),
        rows=frame.height,
        pending=frame.height - work.height,
        reasons=_counted(faults),
        extra=_extra(contract, came, known),
        max_bad_share=contract.max_bad_share,
        as_of=as_of,
        grid=steps,
    )


CAME = ":came"
"""The event time before it was moved down: two rows that differ in it are two rows."""


@dataclass(frozen=True)
class _Subject:
    """The rows as they came, the same rows typed (``work``), and the faults of parsing."""

    raw: pl.DataFrame
    work: pl.DataFrame
    faults: tuple[Fault, ...]

    @classmethod
    def parse(
        cls,
        contract: Contract,
        frame: pl.DataFrame,
        keys: tuple[str, ...],
        time: str | None,
        known: Known,
        as_of: datetime,
    ) -> _Subject:
        import polars as pl

        read = [*contract.columns]
        if known.column is not None and known.column not in contract.names:
            read.append(_known_column(contract, time, known.column))
        parsed = {column.name: each for column, each in zip(read, parse_columns(read, frame, keys), strict=True)}
        faults = [fault for each in parsed.values() for fault in each.faults]
        columns = [parsed[name].values for name in contract.names]
        columns += [frame[name].alias(RAW + name) for name in (*parsed, MALFORMED) if name in frame.columns]
        own = parsed[known.column].values if known.column is not None else None
        work = pl.DataFrame({series.name: series for series in columns})
        ends = parsed[time].ends if time is not None else None
        work = work if ends is None else work.with_columns(ends.alias(WRITTEN))
        times = known.times(work[time] if time is not None else None, own, as_of, frame.height, ends)
        return cls(frame, work.with_columns(times.alias(KNOWN)), tuple(alone(malformed_faults(frame), faults)))

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


def _extra(contract: Contract, frame: pl.DataFrame, known: Known) -> tuple[str, ...]:
    return tuple(name for name in frame.columns if name not in (*contract.names, known.column, MALFORMED))


def _any(faults: list[Fault], rows: int) -> pl.Series:
    import polars as pl

    found = pl.Series([False], dtype=pl.Boolean).new_from_index(0, rows)
    for fault in faults:
        found = found | fault.mask
    return found


def _good(contract: Contract, work: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    if KNOWN_AT in contract.names:
        return work.select(contract.names)
    return work.select(*contract.names, pl.col(KNOWN).alias(KNOWN_AT))


def _counted(faults: list[Fault]) -> dict[str, int]:
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


def _judge(contract: Contract, work: pl.DataFrame, faults: list[Fault], batch: Batch) -> list[Finding]:
    """Runs the rules over the batch; those that set rows apart first, so that the others see what is left."""
    findings: dict[int, Finding] = {}
    for place, rule in enumerate(contract.rules):
        if isinstance(rule, ZScore) and rule.severity == "quarantine":
            findings[place] = _set_apart(rule, batch, work, faults)
    return judge(contract, _part(batch, work, ~_any(faults, work.height)), findings)


def judge(contract: Contract, batch: Batch, findings: Mapping[int, Finding] | None = None) -> list[Finding]:
    """What all rules over the batch find, in their order, but for those that have found it already, by place."""
    done = findings or {}
    found = [done[place] if place in done else rule.judge(batch) for place, rule in enumerate(contract.rules)]
    if contract.staleness is not None:
        found.append(Staleness(at_most=contract.staleness).judge(batch))
    return [*found, *alike_keys(batch)]


def _part(batch: Batch, work: pl.DataFrame, keep: pl.Series) -> Batch:
    rows = work if keep.all() else work.filter(keep)
    return Batch(rows, batch.keys, batch.time, batch.grid, batch.as_of)


def _set_apart(rule: ZScore, batch: Batch, work: pl.DataFrame, faults: list[Fault]) -> Finding:
    import polars as pl

    good = ~_any(faults, work.height)
    part = _part(batch, work, good)
    scores = rule.scores(part)
    beyond = (scores.abs() > rule.limit).fill_null(False)
    if beyond.any():
        mask = pl.Series([False], dtype=pl.Boolean).new_from_index(0, work.height)
        mask = mask.scatter(good.arg_true().filter(beyond), True)
        what = f"is more than {rule.limit:g} standard deviations from its series"
        reason = said(rule.column, pl.col(rule.column).cast(pl.String), what)
        faults.append(Fault(f"{rule.column}: {what}", mask, reason))
    worst = scores.abs().max()
    return rule.counted(int(beyond.sum()), part.rows.height, float(worst) if isinstance(worst, float) else 0.0)
