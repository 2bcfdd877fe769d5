"""The transactional side: the prediction log, in SQLite or PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.ledger.records import Entry, LedgerIdentity
from headrace.ledger.writer import LedgerWriter, call_each

if TYPE_CHECKING:
    from headrace.ledger.ledger import Ledger

__all__ = ["Entry", "Ledger", "LedgerIdentity", "LedgerWriter", "call_each"]


def __getattr__(name: str) -> Any:
    """`Ledger`, when it is asked for: SQLAlchemy takes a tenth of a second to load."""
    if name == "Ledger":
        from headrace.ledger.ledger import Ledger

        return Ledger
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
