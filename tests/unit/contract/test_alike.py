"""Keys that look alike stay apart, and the report says so once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from headrace.contract import Column, Contract, Finding, KnownTimes, check, check_parts
from headrace.contract.alike import alike_labels

NOW = datetime(2026, 6, 1, tzinfo=UTC)
CONTRACT = Contract(
    columns=(Column("area", "category"), Column("time", "time"), Column("x", "float")), max_invalid_fraction=1
)
LOOKS = ["DK1", "DK1 ", "DK1\u00a0", "\u200bDK1", "\ufeffDK1", "dk1", "\uff24\uff2b\uff11"]


def frame(*keys: str | None, start: int = 0) -> pl.DataFrame:
    times = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=start + i) for i in range(len(keys))]
    schema: Any = {"area": pl.String}
    return pl.DataFrame({"area": keys, "time": times, "x": [1.0] * len(keys)}, schema_overrides=schema)


def found(*keys: str | None, columns: tuple[str, ...] = ("area",)) -> list[Finding]:
    checked = check(CONTRACT, frame(*keys), keys=columns, time="time", as_of=NOW, now=NOW)
    assert checked.good["area"].to_list() == [key for key in keys if key]
    assert not checked.broken
    return list(checked.findings)


@pytest.mark.parametrize("other", LOOKS[1:])
def test_two_keys_that_look_alike(other: str) -> None:
    (finding,) = found("DK1", other, "DK1", "DK2")
    assert (finding.rule, finding.severity, finding.passed) == ("alike_keys", "warn", False)
    assert finding.numbers == {"keys": 2, "groups": 1}
    assert "area: 2 keys differ only by blanks, case, invisible signs or Unicode form" in finding.message


def test_what_cannot_be_seen_is_shown() -> None:
    (finding,) = found(*LOOKS, "\u00c5rhus", "A\u030arhus", "1", "01", "1.0", None)
    assert finding.numbers == {"keys": 9, "groups": 2}
    assert finding.message.isprintable()
    assert r"'\u200bDK1'" in finding.message
    assert r"'A\u030arhus'" in finding.message


@pytest.mark.parametrize("keys", [("DK1", "DK2"), ("1", "01", "1.0"), ("a", "\u00e4", "b"), ("DK1",)])
def test_keys_that_differ_are_not_mentioned(keys: tuple[str, ...]) -> None:
    assert found(*keys) == []


def test_only_keys_are_looked_at() -> None:
    assert found("DK1", "dk1", columns=()) == []


def test_a_check_in_parts_says_it_once() -> None:
    parts = [frame("DK1", "DK2"), frame("dk1", start=2)]
    seen: Any = {"keys": ("area",), "time": "time", "grid": None, "as_of": NOW, "now": NOW, "known": KnownTimes()}
    checked = check_parts(CONTRACT, parts, lambda good: good, **seen)
    assert [each.rule for each in checked.findings] == ["alike_keys"]
    assert checked.remarkable


def test_labels_that_look_alike_are_told_with_their_counts() -> None:
    (finding,) = alike_labels(pl.Series("bought", [*["Yes"] * 3, "No", "YES", "yes", "yes", None]))
    assert (finding.rule, finding.severity, finding.passed) == ("alike_labels", "warn", False)
    assert finding.message.startswith("bought: 3 labels differ only by blanks, case")
    assert finding.message.endswith("'YES' (1), 'Yes' (3), 'yes' (2)")
    assert finding.numbers == {"labels": 3, "groups": 1}


@pytest.mark.parametrize("labels", [["Yes", "No", None], [1, 2, 1], [None, None], [f"text {n}" for n in range(200)]])
def test_labels_that_differ_are_not_mentioned(labels: list[Any]) -> None:
    assert alike_labels(pl.Series("bought", labels)) == []
