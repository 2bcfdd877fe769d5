"""Groups that a topic feeds: a row is looked up first, and goes into the table from there, with the same known time.

Whoever reads the table asks for what it lacks before (`settle`); the workers that feed the group do so all the while.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from headrace.store.feature_group import FeatureGroup
from headrace.store.online.feeds import BAD, ROW, Feed, Pending, pack, row_of

if TYPE_CHECKING:
    import polars as pl

    from headrace.store.online.base import Session

AT_ONCE = 50_000
"""Rows that are brought into the table together."""
QUARANTINE, FILED = "quarantine", "filed_under"
_bad = msgspec.msgpack.Decoder(tuple[str, int | None, int, str, str, str]).decode


def pending_row(key: str, time: int, known_at: int, row: dict[str, Any]) -> tuple[int, bytes]:
    """A row of the group that the table lacks: key as JSON, times in microseconds since 1970."""
    return ROW, pack((key, time, known_at, row))


def pending_bad(event: str, time: int | None, known_at: int, text: str, reason: str, source: str) -> tuple[int, bytes]:
    """An event that is set apart, with its text as it came."""
    return BAD, pack((event, time, known_at, text, reason, source))


def settle(group: FeatureGroup) -> int:
    """Bring what was looked up first into the table of a group; returns how many rows and bad events it was.

    Any number of processes may do so at once: a row is added once, because it brings its known time.

    Raises:
        OnlineUnavailableError: The online side is away: the table lacks what nobody else has.
        StoreError: The table cannot be written; nothing is lost.
    """
    online = group.store.online
    if not group.fed or online is None:
        return 0
    count = 0
    while True:
        waiting = online.session(group, lambda session, name: Feed(session, name).pending(AT_ONCE), synced=True)
        if not waiting:
            return count
        written = _stored(group, waiting)
        if not online.session(group, partial(_done, waiting=waiting, version=written)):
            online.follow(group, now=datetime.now(UTC))
        count += len(waiting)
        if len(waiting) < AT_ONCE:
            return count


def waiting(group: FeatureGroup) -> int:
    """How many rows and bad events the table lacks.

    Raises:
        OnlineUnavailableError: The online side is away.
    """
    return group.online_side.session(group, lambda session, name: Feed(session, name).waiting())


def _done(session: Session, name: str, *, waiting: Sequence[Pending], version: int) -> bool:
    return Feed(session, name).done(waiting, version)


def _stored(group: FeatureGroup, waiting: Sequence[Pending]) -> int:
    bad = [_bad(entry.payload) for entry in waiting if entry.kind == BAD]
    if bad:
        group.store.table(group.system, QUARANTINE).append(_apart(bad), identity=["id"], compare=["row"], window=FILED)
    rows = [row_of(entry.payload) for entry in waiting if entry.kind == ROW]
    return group.append(_frame(group, rows)).version if rows else group.table.version()


def _frame(group: FeatureGroup, rows: Sequence[tuple[str, int, int, dict[str, Any]]]) -> pl.DataFrame:
    import polars as pl

    utc, types = pl.Datetime("us", "UTC"), group.table.schema()
    keys = [msgspec.json.decode(key) for key, *_ in rows]
    columns = [pl.Series(name, [key[i] for key in keys], dtype=types[name]) for i, name in enumerate(group.keys)]
    for name, place in ((group.time, 1), ("known_at", 2)):
        columns.append(pl.Series(name, [row[place] for row in rows], dtype=pl.Int64).cast(utc))
    columns += [pl.Series(name, [row[3].get(name) for row in rows], dtype=kind) for name, kind in group.columns.items()]
    return pl.DataFrame(columns)


def _apart(bad: Sequence[tuple[str, int | None, int, str, str, str]]) -> pl.DataFrame:
    """The rows of the quarantine, as those of a batch are there."""
    import polars as pl

    names, times, known, texts, reasons, sources = zip(*bad, strict=True)
    utc = pl.Datetime("us", "UTC")
    epoch = pl.lit(datetime(1970, 1, 1, tzinfo=UTC), utc)
    frame = pl.DataFrame(
        {"id": names, "row": texts, "reasons": [[reason] for reason in reasons], "source": sources},
        schema={"id": pl.String, "row": pl.String, "reasons": pl.List(pl.String), "source": pl.String},
    )
    moments = {"time": times, "known_at": known}
    frame = frame.with_columns(pl.Series(n, values, dtype=pl.Int64).cast(utc) for n, values in moments.items())
    return frame.with_columns(pl.col("time").fill_null(epoch).alias(FILED)).select(
        "id", "time", "known_at", "row", "reasons", FILED, "source"
    )
