"""Whether the online side in one file holds what was written to it. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from headrace.errors import HeadraceError
from headrace.store.online.records import KeyedValues, microseconds
from headrace.store.wal import read_only

_MOST = 20


def damaged(path: Path) -> Iterator[str]:
    """Each fact that is not what was written, in words; of many the first, and how many more there are.

    Raises:
        sqlite3.DatabaseError: It cannot be read.
    """
    facts = list(_facts(path))
    yield from facts[:_MOST]
    if len(facts) > _MOST:
        yield f"and {len(facts) - _MOST:,} more facts"


def _facts(path: Path) -> Iterator[str]:
    with closing(read_only(path)) as connection:
        connection.text_factory = lambda data: data.decode("utf-8", "replace")
        for name, key, time, known_at, version, payload in connection.execute("SELECT * FROM facts"):
            try:
                fact = KeyedValues(key, payload)
                matches = (microseconds(fact.time), microseconds(fact.known_at), fact.version) == (
                    time,
                    known_at,
                    version,
                )
            except (HeadraceError, ValueError, TypeError, OverflowError):
                matches = False
            if not matches:
                yield f"a fact of {name}, key {key}, is not what was written"
