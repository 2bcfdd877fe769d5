"""What an append to a table did."""

from __future__ import annotations

from typing import NamedTuple


class Written(NamedTuple):
    """What an append did: the table's logical version after it, rows added, rows that said nothing new.

    `restated` counts those among the added that say otherwise what was stored for the very same known time; from this
    version on they stand.
    """

    version: int
    added: int
    unchanged: int
    restated: int = 0
