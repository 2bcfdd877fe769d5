"""What the dashboard is told."""

from __future__ import annotations

import secrets
from pathlib import Path

from pydantic import Field

from headrace.declaration import Declared


class DashboardOptions(Declared):
    """Options of the dashboard.

    Attributes:
        read_only: Whether nothing can be changed through its pages, whatever a token allows.
        refresh: Seconds between looks for what is new, while a page is open.
        session: Hours after which people must log in again.
        key: Signs sessions and forms; all processes of one server must share it.
        folder: Where it is kept who is logged in, shared likewise; None: a temporary one of this process.
    """

    read_only: bool = False
    refresh: float = Field(default=10.0, ge=1, le=3600)
    session: float = Field(default=12.0, gt=0, le=24 * 31)
    key: bytes = Field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    folder: Path | None = None
