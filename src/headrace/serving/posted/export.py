"""Brings posted events and their answers from the ledger into the tables, as `archive` does for those on topics.

Everything may be repeated, or done by several processes at once: what is in the tables already is not added again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from headrace.home import Home
from headrace.ledger import Entry
from headrace.pipelines import shape
from headrace.pipelines.intake import Intake
from headrace.serving.posted.place import exported, note
from headrace.serving.posted.state import EVER
from headrace.serving.stream.stored import StoredAnswers
from headrace.sources.events import EventDecoder, Facts
from headrace.system import System

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_CHUNK = 10_000
"""Entries whose events are stored at once."""
_ANSWERS = 2_000
"""Answers that are computed again at once: each is many rows, and reads what its series was."""


def export(
    system: System, home: Home, on_progress: Callable[[str, int, int], None] = lambda what, done, of: None
) -> dict[str, int]:
    """Export what was logged since the last time; returns ``exported events predictions differing``.

    Every answer is computed again from the tables on the way: `differing` counts those that are not equal. Events are
    facts whatever the contract's rules over a batch say: each was found good when it came.

    Raises:
        LedgerError: The ledger cannot be read.
        StoreError: A table could not be written.
    """
    shape.check(system, home)
    count = added = 0
    after, stored = exported(system.name, home), StoredAnswers(system, home)
    begin, last_number = after, home.ledger.last(system.name)
    on_progress("export", 0, last_number - begin)
    while entries := home.ledger.read(system.name, after=after, limit=_CHUNK):
        added += _facts(system, home, [entry for _, entry in entries])
        for start in range(0, len(entries), _ANSWERS):
            some = entries[start : start + _ANSWERS]
            stored.add((json.loads(entry.answer), entry.created_at) for _, entry in some)
        after, last = entries[-1]
        note(system.name, home, after, last)
        count += len(entries)
        on_progress("export", after - begin, max(after, last_number) - begin)
    return {"exported": count, "events": added, **stored.counts}


def _facts(system: System, home: Home, entries: Sequence[Entry]) -> int:
    """Add events to the raw table; returns how many said something new."""
    events_of = system.event_shape(home.grid(system))
    decode = EventDecoder(events_of)
    events, facts = decode([entry.inputs for entry in entries], [EVER] * len(entries)), Facts(events_of, decode)
    for i, place in enumerate(events.place):
        known = datetime.fromisoformat(json.loads(entries[place].answer)["as_of"])
        facts.add(events, i, (known - _EPOCH) // _MICROSECOND)
    shape.keep(system, home)
    return Intake(system, home, as_of=_EPOCH, own=True).add(facts.frame()).added
