"""How far the posted events are in the tables: a small file in the store, beside the tables that it speaks of."""

from __future__ import annotations

import json

from headrace.home import Home
from headrace.ledger import Entry
from headrace.store.failures import intact


def exported(system: str, home: Home) -> int:
    """Every entry of the ledger up to this sequence number is in the tables; 0 where the ledger is another one by now.

    Raises:
        StoreError: The store cannot be reached.
        LedgerError: The ledger cannot be read.
    """
    hint = "put it back from a backup, or delete it: what was posted is then exported anew, each event once"
    noted = home.store.noted(_name(system), hint)
    if noted is None:
        return 0
    with intact(f"{home.store.uri}/{_name(system)}", hint):
        place = json.loads(noted)
        number, last = int(place["sequence"]), str(place["id"])
    first = home.ledger.read(system, after=number - 1, limit=1)
    return number if first and (first[0][0], first[0][1].id) == (number, last) else 0


def note(system: str, home: Home, sequence: int, entry: Entry) -> None:
    """Write down that all entries up to this one are in the tables."""
    home.store.note(_name(system), json.dumps({"sequence": sequence, "id": entry.id}).encode())


def _name(system: str) -> str:
    return f"{system}/posted.json"
