"""From records to facts: read the source, set bad rows apart, and store what is new."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.contract import KnownTimes
from headrace.contract.alike import alike_labels
from headrace.contract.disjoint import by_keys
from headrace.contract.malformed import declared_names
from headrace.contract.naming import found_as, hint_of_header
from headrace.errors import ContractBroken
from headrace.files import write_whole
from headrace.home import QUARANTINE, Home
from headrace.hooks import IngestedEvent, Tell, ValidatedEvent, unheard
from headrace.pipelines.early import Early
from headrace.pipelines.held import HeldRows
from headrace.pipelines.lost import FileRows, lost_rows
from headrace.pipelines.messages import file_opener, once_of, opener
from headrace.pipelines.standing_facts import keep_warnings, warnings_of
from headrace.pipelines.validations import keep_validation
from headrace.scratch import scratch
from headrace.sources import Records, SourceContext, open_source
from headrace.sources.base import parts_of, under_declared_names
from headrace.system import System
from headrace.tasks import shape, task_of
from headrace.tasks.intake import Intake

if TYPE_CHECKING:
    import polars as pl

    from headrace.contract import CheckContext, Contract, Validation
    from headrace.sources.kafka import EventTopic

FILED = "filed_under"
"""Quarantined rows are filed under their event time, or under the epoch where they have none."""
_FILED_AT_ONCE = 500_000
"""Rows that are set apart in one commit: bounds the memory."""


@dataclass(frozen=True)
class Validated:
    """What became of the records.

    Attributes:
        validation: What the contract said.
        added: New facts, or events; rows that were known already are not among them.
        ahead: New facts about columns known in advance, of rows that are known as a whole later.
        version: Logical version of their table afterwards.
        lost: That a file no longer has rows which it once had, or that a table's watermark went back.
        raw: How many rows the source gave, before `Source.prepare` made of them what was read; None without one.
    """

    validation: Validation
    added: int
    ahead: int
    version: int
    lost: str | None = None
    raw: int | None = None

    @property
    def repeated(self) -> int:
        """Good rows that said nothing new."""
        return self.validation.known - self.validation.bad.height - self.added

    @property
    def rows(self) -> dict[str, int]:
        """What became of every row that was read: ``read`` is the sum of the others."""
        report = self.validation
        kinds = {"ingested": self.added, "quarantined": report.bad.height, "repeated": self.repeated}
        return {"read": report.rows, **kinds, "pending": report.pending}


def read(
    system: System, home: Home, *, source: str | None, as_of: datetime, now: datetime, first: datetime | None = None
) -> Records:
    """The records of the source, as they came.

    Args:
        system: The declaration.
        home: What is stored already need not be read again.
        source: A source URI in place of the system's own.
        as_of: Records that became known later may be among them; validation tells them apart.
        now: The clock's time.
        first: The records also serve a run as of this earlier time.

    Raises:
        DeclarationError: The home holds facts of another shape.
        SourceError: The records could not be read whole.
    """
    shape.check(system, home)
    context = SourceContext(
        home.path / "cache" / system.name, file_opener(system), partial(_stream, system, home), system.time
    )
    reader = open_source(system.source, source, context)
    records = reader.read(as_of=as_of, now=now, since=partial(task_of(system).newest, home, as_of), first=first)
    return as_declared(system, records)


def as_declared(system: System, records: Records) -> Records:
    """The records under declared names, with the constants of the source and a column of a target that may lack."""
    return _with_target(system, under_declared_names(records, system.source, system.contract.names))


def stored(system: System, home: Home, source: str | None) -> int:
    """The version of what is stored, where no source is named and the system has none of its own; else 0."""
    return 0 if system.source.own or source is not None else home.raw(system).version()


def _stream(system: System, home: Home) -> EventTopic:
    """What the system's events look like, and how to log in where they are."""
    from headrace.sources.kafka import EventTopic

    moves, shape = system.stream.mismatched == "repartition", system.event_shape(home.grid(system))
    return EventTopic(
        shape, home.kafka, system.stream.clock, system.topics, moves, opener(system, home), once_of(system)
    )


def _with_target(system: System, records: Records) -> Records:
    """Rows to be scored come without a target; where it may be missing, so may its column."""
    import polars as pl

    names, column = records.frame.columns, system.contract.column
    missing = [name for name in task_of(system).optional if name not in names and column(name).nullable]
    needed = [c.name for c in system.contract.columns if not c.nullable or c.name == system.time]
    if not missing or any(found_as(name, names) is None for name in needed):
        return records  # a source that lacks what is needed is refused, and is told what it has
    return records.each(lambda frame: frame.with_columns(pl.lit(None).alias(name) for name in missing))


def validate(
    system: System, home: Home, records: Records, *, as_of: datetime, now: datetime, tell: Tell = unheard
) -> Validated:
    """Set bad rows apart with their reasons, and add what is new among the good ones to the raw table.

    The quarantine is written first: a run that is killed in between loses no row, and repeating it adds nothing twice.

    Args:
        system: The declaration.
        home: Where the tables are.
        records: From `read`.
        as_of: What became known later is pending.
        now: The clock's time.
        tell: Told a `ValidatedEvent` once bad rows are set apart, an `IngestedEvent` once good ones are stored.

    Raises:
        ContractBroken: Too many bad rows, or a rule that stops the run; nothing but the quarantine was written.
        StoreError: A table could not be written.
    """
    from headrace.contract.parts import divides

    own = records.known is not None and records.known.column is not None
    if system.time is not None or not records.more:
        return _validate(system, home, records, None, as_of=as_of, now=now, tell=tell)
    if own or not divides(system.contract, None):  # then rows are judged by all others, or by those that are stored
        return _validate(system, home, _joined(records), None, as_of=as_of, now=now, tell=tell)
    with scratch(home.path) as folder:
        return _validate(system, home, records, folder, as_of=as_of, now=now, tell=tell)


def _validate(
    system: System, home: Home, records: Records, folder: Path | None, *, as_of: datetime, now: datetime, tell: Tell
) -> Validated:
    """See `validate`; with a folder the rows have no event time, and lie there in parts until all are judged."""
    _require_columns(system, records)
    rule = records.known or KnownTimes(lag=system.source.lag)
    known = {"target": task_of(system).never_ahead, "awaited": bool(system.leads)}
    context: CheckContext = {
        "keys": system.keys,
        "time": system.time,
        "grid": home.settled(system) or system.cadence,
        "as_of": as_of,
        "now": now,
        "known": rule.model_copy(update=known),
    }
    contract = system.contract.naming_begins() if records.streamed else system.contract
    early = Early(system, context, contract)
    intake = Intake(system, home, as_of=as_of, own=rule.column is not None, part=early.rest)
    held = None if folder is None else HeldRows(intake, folder)
    file_rows = FileRows(system, records)
    validation = _checked(contract, records.each(file_rows.take), context, early, held or intake)
    used = {part for column in system.source.columns.values() for part in parts_of(column)}
    validation = replace(validation, extra=tuple(name for name in validation.extra if name not in used))
    if early.told:  # a file of nothing but a plan is not empty, though no row of it is known as a whole
        validation = replace(
            validation, findings=tuple(finding for finding in validation.findings if finding.rule != "empty")
        )
    if not records.streamed:  # what a stream has answered stands, whatever a file said before
        validation = intake.checked(validation)
    if system.target in validation.good.columns:
        findings = alike_labels(validation.good[system.target])
        validation = replace(validation, findings=(*validation.findings, *findings))
    _report(system, home, validation, records.origin, now)
    _quarantine(system, home, _placed(validation, records), records.origin)
    tell(
        ValidatedEvent(
            system.name,
            as_of,
            records.origin,
            rows=validation.rows,
            bad=validation.bad.height,
            pending=validation.pending,
            reasons=validation.reasons,
            broken=validation.broken,
        )
    )
    validation.raise_if_broken(records.origin)
    shape.keep(system, home)
    if validation.grid is not None and validation.good.height:
        home.settle(system, validation.grid)
    ahead = early.store(home.raw(system), validation.good)
    new_rows = intake.news(validation.good).height if held is None else held.new()
    if (warned := warnings_of(validation)) and new_rows:
        keep_warnings(home, system.name, warned, as_of, records.origin)  # before: a kill in between loses none
    written = (held or intake).add(validation.good)
    message = records.stored(validation.pending)
    raw = None if records.raw is None else records.raw.rows
    in_file = file_rows.read()
    lost = (None if in_file is None else lost_rows(home, system.name, records.origin, in_file)) or message
    result = Validated(validation, written.added, ahead, written.version, lost, raw)
    tell(IngestedEvent(system.name, as_of, records.origin, result.added, result.repeated, result.version))
    return result


def _joined(records: Records) -> Records:
    import polars as pl

    frame = pl.concat([records.frame, *records.more], how="diagonal_relaxed", rechunk=True)
    return replace(records, frame=frame, more=())


def _checked(
    contract: Contract, records: Records, context: CheckContext, early: Early, rows: Intake | HeldRows
) -> Validation:
    from headrace.contract import check, check_parts

    if not records.more:
        validation = check(contract, records.frame, **context)
        early.take(records.frame, validation.grid)
        return validation
    frames = map(early.take, chain([records.frame], records.more))
    if isinstance(rows, HeldRows):
        return check_parts(contract, by_keys(contract, frames, context["keys"], rows.folder), rows.take, **context)
    return check_parts(contract, frames, rows.news, **context)


def _require_columns(system: System, records: Records) -> None:
    """Name a missing column as the source would call it; the check itself knows declared names only."""
    called, names = system.source.columns, records.frame.columns
    needed = [c.name for c in system.contract.columns if not c.nullable or c.name == system.time]
    missing = [name for name in called if name not in names and name in needed]
    if missing:
        name, parts = missing[0], parts_of(called[missing[0]])
        lacking = next((part for part in parts if found_as(part, names) is None), parts[0])
        names_found = [name for name in declared_names(names) if name not in system.source.constants]
        source_names = {name: called[name] for name in names_found if isinstance(called.get(name), str)}
        free = [name for name in names_found if name not in system.contract.names]
        near = difflib.get_close_matches(lacking, free, n=1, cutoff=0.5)
        hint_more = f"; is it {near[0]!r} now? then source.columns.{name}={near[0]}" if near and len(parts) == 1 else ""
        raise ContractBroken(
            f"the source has no column {lacking!r}",
            where=f"{records.origin}: {name}",
            hint=f"it has {', '.join(str(source_names.get(name, name)) for name in names_found)}{hint_more}"
            + hint_of_header(records.frame, lacking),
        )


def _placed(validation: Validation, records: Records) -> pl.DataFrame:
    """The bad rows, each with its place in the file that it came from, 1 the first; null where nothing says so."""
    import polars as pl

    kind, _, path = records.origin.partition(":")
    one_file = kind == "file" and not records.more and records.raw is None and Path(path).is_file()
    places = validation.places.bad if one_file and validation.places is not None else pl.Series([], dtype=pl.UInt32)
    # Rows that contradict what is stored come last, and are found after the check.
    column = places.cast(pl.Int64).extend(
        pl.repeat(None, validation.bad.height - places.len(), dtype=pl.Int64, eager=True)
    )
    return validation.bad.with_columns((column + 1).alias("place"))


def _quarantine(system: System, home: Home, bad: pl.DataFrame, origin: str) -> None:
    import polars as pl

    if bad.is_empty():
        return
    bad = bad.with_columns(pl.lit(home.raw(system).version(), pl.Int64).alias("data_version"))
    epoch = pl.lit(datetime(1970, 1, 1, tzinfo=UTC), pl.Datetime("us", "UTC"))
    table = home.table(system.name, QUARANTINE)
    order = bad["time"].arg_sort()  # parts that have no time in common do not look at one another's rows
    for first in range(0, bad.height, _FILED_AT_ONCE):
        part = bad[order.slice(first, _FILED_AT_ONCE).sort()]
        filed = part.with_columns(pl.col("time").fill_null(epoch).alias(FILED), pl.lit(origin).alias("source"))
        table.append(filed, identity=["id"], compare=["row"], window=FILED)


def _report(system: System, home: Home, validation: Validation, origin: str, now: datetime) -> None:
    """The validation: the latest one as files for people and programs, every one in the store."""
    folder = home.reports(system.name)
    title = f"{system.name}: validation"
    report = keep_validation(home, system.name, system.contract, validation, origin, now)
    write_whole(folder / "validation.html", validation.as_html(title).encode())
    write_whole(folder / "validation.json", json.dumps(report, indent=1, default=str).encode())
