"""Brings posted events and their answers from the ledger into the tables, as `archive` does for those on topics.

Everything may be repeated, or done by several processes at once: what is in the tables already is not added again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from headrace.home import Home
from headrace.ledger import Entry
from headrace.sources.events import EVER, EventDecoder, EventFacts
from headrace.system import System
from headrace.tasks import shape
from headrace.tasks.forecast.answers import StoredAnswers
from headrace.tasks.forecast.exported import exported, note
from headrace.tasks.forecast.exported_shadows import export_shadows
from headrace.tasks.intake import Intake

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_CHUNK = 10_000
"""Entries whose events are stored at once."""
_ANSWERS = 2_000
"""Answers that are computed again at once: each is many rows, and reads what its series was."""


def export(
    system: System, home: Home, on_progress: Callable[[str, int, int], None] = lambda stage, count, total: None
) -> dict[str, int]:
    """Export what was logged since the last time; returns ``exported events predictions differing``, and ``shadows``:
    predictions of versions that scored beside.

    Every answer is computed again from the tables on the way: `differing` counts those that are not equal. Events are
    facts whatever the contract's rules over a batch say: each was found good when it came. What is logged while it
    runs is left to the next export.

    Raises:
        LedgerError: The ledger cannot be read.
        StoreError: A table could not be written.
    """
    shape.check(system, home)
    count = added = 0
    stored = StoredAnswers(system, home)
    begin = after = exported(system.name, home)
    last_number = home.ledger.last(system.name)
    on_progress("export", 0, last_number - begin)
    for entries in home.ledger.parts(system.name, after=begin, limit=_CHUNK):
        added += _facts(system, home, [entry for _, entry in entries])
        for start in range(0, len(entries), _ANSWERS):
            part = entries[start : start + _ANSWERS]
            stored.add((json.loads(entry.answer), entry.created_at) for _, entry in part)
        after, last = entries[-1]
        note(system.name, home, after, last)
        count += len(entries)
        on_progress("export", after - begin, max(after, last_number) - begin)
    shadows = export_shadows(system, home, after)
    differing = stored.counts["differing"] + shadows["differing"]
    counts = {"exported": count, "events": added, **stored.counts, "differing": differing}
    return counts | ({"shadows": shadows["predictions"]} if shadows["predictions"] else {})


def _facts(system: System, home: Home, entries: Sequence[Entry]) -> int:
    """Add events to the raw table; returns how many said something new."""
    events_of = system.event_shape(home.grid(system))
    decode = EventDecoder(events_of)
    events, facts = decode([entry.inputs for entry in entries], [EVER] * len(entries)), EventFacts(events_of, decode)
    for i, place in enumerate(events.place):
        known = datetime.fromisoformat(json.loads(entries[place].answer)["as_of"])
        facts.add(events, i, (known - _EPOCH) // _MICROSECOND)
    shape.keep(system, home)
    return Intake(system, home, as_of=_EPOCH, own=True).add(facts.frame()).added
