"""Each guarantee names a test that there is, and each test of a fault holds a guarantee that is written down."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "docs" / "how-it-works" / "guarantees.md"
NAMED = set(re.findall(r"`([\w/]+\.py)::(test_\w+)`", PAGE.read_text()))


def named_in(path: str) -> set[str]:
    """Names of the tests of a file."""
    return set(re.findall(r"^def (test_\w+)\(", (TESTS / path).read_text(), re.MULTILINE))


def test_every_guarantee_is_held_by_a_test_that_there_is() -> None:
    assert NAMED
    assert {(path, name) for path, name in NAMED if name not in named_in(path)} == set()


def test_every_row_names_a_test() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and not line.startswith("| fault")]
    assert [row for row in rows if "::test_" not in row and "rounds" not in row.split("|")[1]] == []


def test_every_test_of_a_fault_is_named() -> None:
    files = [f"faults/{path.name}" for path in (TESTS / "faults").glob("test_*.py")]
    assert {(path, name) for path in files for name in named_in(path)} - NAMED == set()
