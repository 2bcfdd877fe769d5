"""Whether a ledger in one file holds what was written to it. Imports no SQLAlchemy, and changes nothing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from headrace.files import write_whole
from headrace.ledger.records import is_sound, seal_of
from headrace.lineage import digest_of
from headrace.store.seal import opened, sealed
from headrace.store.wal import read_only, spare_log

MARK = "ledger.json"
"""Beside the file: which ledger it is, so that one that is gone, or begun anew, is noticed."""
_MOST = 20
"""Damaged rows that are named; of the others the number is told."""
_OWN = "system, key, id, digest, inputs, answer, pins, model_version, created_at"


def mark(path: Path, identity: str) -> None:
    """Keep which ledger lies at a path, once.

    Raises:
        OSError: It cannot be written.
    """
    if not (place := path.with_name(MARK)).exists():
        write_whole(place, sealed(json.dumps({"ledger": identity}).encode()))


def misplaced(path: Path) -> str | None:
    """What is wrong with a ledger as a whole, in words: it is gone, or another one than began there."""
    try:
        begun = json.loads(opened(path.with_name(MARK).read_bytes()))["ledger"]
    except FileNotFoundError:
        return None
    except ValueError:
        return f"{MARK} beside it does not hold what was written to it; remove it if the ledger is the right one"
    hint = f"put it back from a backup, with its -wal file; to go on without it, remove {MARK}"
    if not path.exists():
        return f"is gone, with all that was logged; {hint}"
    try:
        with closing(read_only(path)) as connection:
            row = connection.execute("SELECT id FROM ledger_identity").fetchone()
    except sqlite3.DatabaseError as error:
        return f"cannot be read: {error}; {hint}"
    return None if row == (begun,) else f"is another ledger than the one that began here; {hint}"


def damaged(path: Path) -> Iterator[str]:
    """Each row of a ledger that is not what was written, in words.

    Predictions are compared with their seals, pins with their digests, and events with the predictions they are.

    Raises:
        sqlite3.DatabaseError: It cannot be read.
    """
    rows = list(_rows(path))
    yield from rows[:_MOST]
    if len(rows) > _MOST:
        yield f"and {len(rows) - _MOST:,} more rows"


def rows(path: Path) -> int:
    """Predictions in a ledger."""
    with closing(read_only(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM predictions").fetchone()[0])


def unsealed(path: Path) -> int:
    """Predictions that an earlier headrace logged without a seal, so that a change of them would not be seen."""
    with closing(read_only(path)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM predictions {_without(connection)}").fetchone()[0])  # noqa: S608


def seal(path: Path) -> int:
    """Seal predictions that have none, as they are; returns their number.

    Raises:
        sqlite3.DatabaseError: It cannot be written.
    """
    spare_log(path)
    with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
        if not _has_seals(connection):
            connection.execute("ALTER TABLE predictions ADD COLUMN seal BIGINT")
        connection.execute("BEGIN IMMEDIATE")
        rows = connection.execute(f"SELECT sequence, {_OWN} FROM predictions WHERE seal IS NULL").fetchall()  # noqa: S608
        seals = [(seal_of(row[1:]), row[0]) for row in rows]
        connection.executemany("UPDATE predictions SET seal = ? WHERE sequence = ?", seals)
        connection.execute("COMMIT")
    return len(seals)


def _rows(path: Path) -> Iterator[str]:
    with closing(read_only(path)) as connection:
        connection.text_factory = _text
        last = "seal" if _has_seals(connection) else "NULL"
        for number, *row in connection.execute(f"SELECT sequence, {_OWN}, {last} FROM predictions"):  # noqa: S608
            if not is_sound(row):
                system, key, name = map(_shown, row[:3])
                yield f"prediction {name} (key {key} of {system}, number {number}) is not what was written"
        for digest, record in connection.execute("SELECT digest, record FROM pins"):
            if not _is_record(digest, record):
                yield f"the pins record {_shown(digest)} is not what was written"
        lost = """
            SELECT e.sequence FROM events AS e LEFT JOIN predictions AS p ON p.sequence = e.sequence
            WHERE p.system IS NOT e.system
        """
        for (number,) in connection.execute(lost):
            yield f"the event of number {number} belongs to no prediction of its system"


def _is_record(digest: str, record: str) -> bool:
    try:
        return digest_of(json.loads(record), 32) == digest
    except ValueError:
        return False


def _text(data: bytes) -> str:
    """Text that may be damaged: it is never what was written then."""
    return data.decode("utf-8", "surrogateescape")


def _shown(text: object) -> str:
    return str(text).encode("utf-8", "replace").decode()


def _has_seals(connection: sqlite3.Connection) -> bool:
    columns: list[Any] = connection.execute("PRAGMA table_info(predictions)").fetchall()
    return any(column[1] == "seal" for column in columns)


def _without(connection: sqlite3.Connection) -> str:
    return "WHERE seal IS NULL" if _has_seals(connection) else ""
