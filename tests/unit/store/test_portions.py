"""A table in portions is the table read at once, wherever it is parted."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from headrace.errors import UsageError
from headrace.store import Table
from headrace.store.portions import read_portions

NOW = datetime(2026, 1, 1, tzinfo=UTC)
IDENTITY = ["key", "part"]


def table(folder: Path, keys: list[str | None]) -> Table:
    made, count = Table(folder / "facts"), len(keys)
    for day, values in ((0, range(count)), (1, [None if row % 3 else row * 10 for row in range(count)])):
        known = [NOW + timedelta(days=day)] * count
        rows = {"key": keys, "part": [row % 4 for row in range(count)], "value": list(values), "known_at": known}
        frame = pl.DataFrame(rows, schema_overrides={"value": pl.Int64, "known_at": pl.Datetime("us", "UTC")})
        made.append(frame, identity=IDENTITY, compare=["value"], window="known_at")
    return made


@pytest.mark.parametrize("rows", [1, 3, 8, 1000])
@pytest.mark.parametrize("known", [True, False])
def test_portions_are_what_is_read_at_once(tmp_path: Path, rows: int, known: bool) -> None:
    keys = [None, "b", "a", "b", "d", None, "c", "a", "e", "f", "a", "g"]
    facts, where = table(tmp_path, keys), pl.col("value").is_not_null() if known else pl.col("value").is_null()
    for as_of in (NOW, NOW + timedelta(days=1)):
        same = {"identity": IDENTITY, "columns": ["value", *IDENTITY], "as_of": as_of, "where": where, "version": 2}
        whole = facts.read(**same)
        portions = list(read_portions(facts, rows=rows, **same))
        assert pl.concat(portions).equals(whole)
        assert len(portions) > 1 or rows > 3 or whole.height <= rows


def test_nothing_is_one_portion_without_rows(tmp_path: Path) -> None:
    facts = table(tmp_path, ["a", "b"])
    same = {"identity": IDENTITY, "columns": ["value"], "as_of": NOW - timedelta(days=1), "version": 2}
    (portion,) = read_portions(facts, where=pl.col("value").is_null(), **same)
    assert portion.is_empty()
    assert portion.columns == ["value"]


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    facts = table(tmp_path, ["a", "b"])
    with pytest.raises(UsageError, match="price"):
        list(
            read_portions(
                facts, identity=IDENTITY, columns=["value"], as_of=NOW, version=2, where=pl.col("price").is_null()
            )
        )
