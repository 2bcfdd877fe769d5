"""How hard the costly tests search: a few rounds on every run, many with ``HYPOTHESIS_PROFILE=thorough``."""

from __future__ import annotations

import os

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"


def rounds(few: int, many: int) -> int:
    """The number of rounds of this run."""
    return many if THOROUGH else few
