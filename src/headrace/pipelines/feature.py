"""From records to facts and features: read, validate, and what every series looks like at the origin."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from headrace.contract.apart import FACTS
from headrace.contract.malformed import declared_names
from headrace.contract.naming import found_as, hint_of_header
from headrace.errors import ContractBroken
from headrace.features.arrays import Arrays
from headrace.files import write_whole
from headrace.home import QUARANTINE, Home
from headrace.pipelines import shape
from headrace.pipelines.early import Early
from headrace.pipelines.intake import Intake
from headrace.pipelines.lost import lost_rows
from headrace.pipelines.messages import opener
from headrace.sources import Records, open_source
from headrace.sources.base import parts_of, under_declared_names
from headrace.store import FeatureGroup
from headrace.store.views import Views, read_views
from headrace.system import System

if TYPE_CHECKING:
    import polars as pl

    from headrace.contract import Seen, Validation
    from headrace.sources.kafka import Stream

FILED = "filed_under"
"""Quarantined rows are filed under their event time, or under the epoch where they have none."""


@dataclass(frozen=True)
class Validated:
    """What became of the records.

    Attributes:
        validation: What the contract said.
        added: New facts, or events; rows that were known already are not among them.
        ahead: New facts about columns known ahead, of rows that are known as a whole later.
        version: Logical version of their table afterwards.
        lost: That a file no longer has rows which it once had.
    """

    validation: Validation
    added: int
    ahead: int
    version: int
    lost: str | None = None

    @property
    def repeated(self) -> int:
        """Good rows that said nothing new."""
        return self.validation.known - self.validation.bad.height - self.added

    @property
    def rows(self) -> dict[str, int]:
        """What became of every row that was read: ``read`` is the sum of the others."""
        found = self.validation
        kinds = {"ingested": self.added, "quarantined": found.bad.height, "repeated": self.repeated}
        return {"read": found.rows, **kinds, "pending": found.pending}


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
    cache, stream = home.path / "cache" / system.name, partial(_stream, system, home)
    reader = open_source(system.source, source, cache, stream)
    records = reader.read(as_of=as_of, now=now, since=partial(newest, system, home, as_of), first=first)
    return _with_target(system, under_declared_names(records, system.source, system.contract.names))


def stored(system: System, home: Home, source: str | None) -> int:
    """The version of what is stored, where no source is named and the system has none of its own; else 0."""
    own = system.source.uri is not None or system.source.simulate is not None
    return 0 if own or source is not None else home.raw(system).version()


def _stream(system: System, home: Home) -> Stream:
    """What the system's events look like, and how to log in where they are."""
    from headrace.sources.kafka import Stream

    moves, shape = system.stream.mismatched == "repartition", system.event_shape(home.grid(system))
    return Stream(shape, home.kafka, system.stream.clock, system.topics, moves, opener(system, home))


def _with_target(system: System, records: Records) -> Records:
    """Rows to be scored come without a target; where it may be missing, so may its column."""
    import polars as pl

    if system.forecasts or system.target in records.frame.columns:
        return records
    if not system.contract.column(system.target).nullable:
        return records
    return records.each(lambda frame: frame.with_columns(pl.lit(None).alias(system.target)))


def newest(system: System, home: Home, as_of: datetime) -> datetime | None:
    """The newest event time that is stored and was known: a live source need not go back further."""
    import polars as pl

    table = home.raw(system)
    if system.time is None or not table.exists():
        return None
    known = table.scan(as_of=as_of)
    if system.forecasts:  # what is known ahead lies in the future
        known = known.filter(pl.col(system.target).is_not_null())
    found: datetime | None = table.collect(known.select(pl.col(system.time).max())).item()
    return found


def validate(system: System, home: Home, records: Records, *, as_of: datetime, now: datetime) -> Validated:
    """Set bad rows apart with their reasons, and add what is new among the good ones to the raw table.

    The quarantine is written first: a run that is killed in between loses no row, and repeating it adds nothing twice.

    Raises:
        ContractBroken: Too many bad rows, or a rule that stops the run; nothing but the quarantine was written.
        StoreError: A table could not be written.
    """
    from headrace.contract import check, check_parts

    _require_columns(system, records)
    known = {"target": system.target if system.forecasts else None, "awaited": bool(system.leads)}
    seen: Seen = {
        "keys": system.keys,
        "time": system.time,
        "grid": home.settled(system) or system.cadence,
        "as_of": as_of,
        "now": now,
        "known": records.known.model_copy(update=known),
    }
    contract = system.contract.naming_begins() if records.placed else system.contract
    early = Early(system, seen, contract)
    intake = Intake(system, home, as_of=as_of, own=records.known.column is not None, part=early.rest)
    if records.more:
        frames = map(early.take, chain([records.frame], records.more))
        validation = check_parts(contract, frames, intake.news, **seen)
    else:
        validation = check(contract, records.frame, **seen)
        early.take(records.frame, validation.grid)
    used = {part for theirs in system.source.columns.values() for part in parts_of(theirs)}
    validation = replace(validation, extra=tuple(name for name in validation.extra if name not in used))
    if early.told:  # a file of nothing but a plan is not empty, though no row of it is known as a whole
        validation = replace(validation, findings=tuple(each for each in validation.findings if each.rule != "empty"))
    if not records.origin.startswith("kafka:"):  # what a stream has answered stands, whatever a file said before
        validation = intake.checked(validation)
    _report(system, home, validation)
    _quarantine(system, home, validation.bad, records.origin)
    validation.raise_if_broken(records.origin)
    shape.keep(system, home)
    if validation.grid is not None and validation.good.height:
        home.settle(system, validation.grid)
    ahead = early.store(home.raw(system), validation.good)
    written = intake.add(validation.good)
    records.stored()
    return Validated(validation, written.added, ahead, written.version, lost_rows(system, home, records))


def _require_columns(system: System, records: Records) -> None:
    """Name a missing column as the source would call it; the check itself knows declared names only."""
    called, there = system.source.columns, records.frame.columns
    needed = [c.name for c in system.contract.columns if not c.nullable or c.name == system.time]
    missing = [name for name in called if name not in there and name in needed]
    if missing:
        name, parts = missing[0], parts_of(called[missing[0]])
        lacking = next((part for part in parts if found_as(part, there) is None), parts[0])
        found = [each for each in declared_names(there) if each not in system.source.constants]
        theirs = {each: called[each] for each in found if isinstance(called.get(each), str)}
        free = [each for each in found if each not in system.contract.names]
        near = difflib.get_close_matches(lacking, free, n=1, cutoff=0.5)
        also = f"; is it {near[0]!r} now? then source.columns.{name}={near[0]}" if near and len(parts) == 1 else ""
        raise ContractBroken(
            f"the source has no column {lacking!r}",
            where=f"{records.origin}: {name}",
            hint=f"it has {', '.join(str(theirs.get(each, each)) for each in found)}{also}"
            + hint_of_header(records.frame, lacking),
        )


def _quarantine(system: System, home: Home, bad: pl.DataFrame, origin: str) -> None:
    import polars as pl

    if bad.is_empty():
        return
    epoch = pl.lit(datetime(1970, 1, 1, tzinfo=UTC), pl.Datetime("us", "UTC"))
    filed = bad.with_columns(pl.col("time").fill_null(epoch).alias(FILED), pl.lit(origin).alias("source"))
    home.table(system.name, QUARANTINE).append(filed, identity=["id"], compare=["row"], window=FILED)


def _report(system: System, home: Home, validation: Validation) -> None:
    """The latest validation, for people and for programs."""
    folder = home.reports(system.name)
    title = f"{system.name}: validation"
    write_whole(folder / "validation.html", validation.as_html(title).encode())
    write_whole(folder / "validation.json", json.dumps(validation.as_dict(), indent=1).encode())


def look(system: System, home: Home, as_of: Sequence[datetime], *, data_version: int) -> Views:
    """What runs as of these times (ascending) see of every series: read once, for their features and predictions.

    Raises:
        NotEnoughDataError: Nothing is known as of the first time.
    """
    series = home.series(system)
    step = series.grid.step
    ahead = step * system.steps
    span = max(system.model.lookback(system.features, step, ahead), *system.monitoring.compared)
    return read_views(home.table(system.name, series.table), series, as_of, data_version, span=span + step, ahead=ahead)


def features(system: System, home: Home, views: Views, as_of: Sequence[datetime]) -> list[int]:
    """Store what every series looks like at the forecast origin of each time: the features of the origin alone.

    They are what drift is measured on and what a trace shows. Returns the number of series for each time.

    Args:
        system: The declaration.
        home: Where everything is.
        views: From `look`, as of the same times.
        as_of: Ascending.
    """
    import polars as pl

    chosen = system.features.at_origin()
    if not chosen.names:
        return [0] * len(as_of)
    series = views.series
    rows, origins = views.windows()
    lo, hi = int(origins.min()), int(origins.max()) + 1
    history, read = system.model.cleaned(views.history, system.target, rows, origins)
    arrays = Arrays(history)
    columns = {name: arrays.array(e, lo, hi)[read, origins - lo] for name, e in chosen.items()}
    reader = np.repeat(np.arange(views.readers), views.keys.height)
    times = pl.DataFrame(
        {series.time: [views.origin(i) for i in range(views.readers)], "known_at": list(as_of)},
        schema=dict.fromkeys((series.time, "known_at"), pl.Datetime("us", "UTC")),
    )
    parts = [
        views.keys[np.tile(np.arange(views.keys.height), views.readers)],
        times[reader],
        pl.DataFrame([pl.Series(_stored(system, n), values, nan_to_null=True) for n, values in columns.items()]),
    ]
    # A count of values is zero rather than missing, also for a series of which nothing is known.
    there = views.heard() & ~np.all([np.isnan(values) for values in columns.values()], axis=0)
    feature_group(system, home).write(pl.concat(parts, how="horizontal").filter(there))
    found: list[int] = np.bincount(reader[there], minlength=views.readers).tolist()
    return found


def _stored(system: System, feature: str) -> str:
    """The column of a feature: its name, unless a key, the event time or the store has that one."""
    taken = feature in (*system.identity, *FACTS) or feature.startswith("feature.")
    return f"feature.{feature}" if taken else feature


def feature_group(system: System, home: Home) -> FeatureGroup:
    """The group that holds the origin features of the present definition."""
    import polars as pl

    return FeatureGroup(
        home.store,
        system.name,
        system.features.digest,
        keys=system.keys,
        time=system.event_time,
        columns={_stored(system, name): pl.Float64() for name in system.features.at_origin().names},
        definition=system.features.digest,
    )
