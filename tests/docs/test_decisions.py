"""Each decision has a date and a status, and what supersedes one is there."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "decisions.md").read_text(encoding="utf-8")
ENTRY = re.compile(r"^## (?P<title>.+)\n\n(?P<second>.*)$", re.MULTILINE)
STATUS = re.compile(r"\*(?P<date>\d{4}-\d\d-\d\d) · (?P<status>(accepted|superseded by \"[^*]+\")(; [^*]+)?)\*")
TITLES = [entry["title"] for entry in ENTRY.finditer(TEXT)]


def test_each_entry_has_a_date_and_a_status() -> None:
    without = [entry["title"] for entry in ENTRY.finditer(TEXT) if not STATUS.fullmatch(entry["second"])]
    assert without == []
    assert len(TITLES) == len(re.findall("^## ", TEXT, re.MULTILINE)) > 100
    assert all(date.fromisoformat(status["date"]) for status in STATUS.finditer(TEXT))


def test_what_supersedes_an_entry_is_an_entry() -> None:
    named = [
        title for status in STATUS.finditer(TEXT) for title in re.findall('superseded by "([^"]+)"', status["status"])
    ]
    assert named
    assert [title for title in named if title not in TITLES] == []


def test_no_title_is_there_twice() -> None:
    assert sorted({title for title in TITLES if TITLES.count(title) > 1}) == []
