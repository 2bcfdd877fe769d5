"""Whatever keys, steps and zones: no order of rows, and no split over files, changes a fact or what was known when."""

from __future__ import annotations

import csv
import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from tests.commands import headrace

from headrace.home import Home
from headrace.loading import load_system
from headrace.settings import Settings
from headrace.store.history import read_latest

SYSTEM = """
from headrace import Column, Contract, Forecaster, Monitoring, Source, System
from headrace.features import lag

system = System(
    name="s", source=Source({known}), keys={keys!r}, time="t", step="{step}", target="y", horizon="{step}",
    contract=Contract(columns=({columns}), max_invalid_fraction=0, missing=()), features={{"last": lag("y", "{step}")}},
    model=Forecaster(seasons=("{season}",)), monitoring=Monitoring(baselines=()),
)
"""
CASES = [
    # keys and their types, step, zone, first local time, rows, season, aggregate, whether rows tell their known time
    ({"k": "text"}, "1h", "Australia/Lord_Howe", "2024-04-06", 40, "24h", None, True),
    ({}, "1d", "Pacific/Apia", "2011-12-20", 25, "7d", "sum", False),
    ({"id": "category", "value": "integer"}, "1mo", "Asia/Kathmandu", "2020-01-01", 24, "12mo", "mean", True),
    ({"time": "boolean"}, "1b", "America/Sao_Paulo", "2018-10-29", 20, "5b", "last", False),
    ({"k": "category"}, "30m", "Asia/Kolkata", "2024-02-28", 60, "24h", "count", True),
    ({"k": "category"}, "2w", "Africa/Casablanca", "2023-03-15", 20, "20w", "first", False),
]
KEYS = {
    "text": ("value", "", "x,y", 'q"t', "007", "null", " pad", "日本", "_version", "a\nb"),
    "category": ("id", "time", "7", "NaN", "é"),
    "integer": ("9007199254740993", "-3", "0"),
    "boolean": ("true", "false"),
}


def times(step: str, zone: str, first: datetime, count: int) -> list[datetime]:
    """When steps begin, in UTC."""
    if step[-1] in "hm":
        begin, size = first.replace(tzinfo=ZoneInfo(zone)), timedelta(minutes=30 if step == "30m" else 60)
        return [begin.astimezone(UTC) + n * size for n in range(count)]
    days = timedelta(days={"2w": 14}.get(step, 1))
    local = [first + n * days for n in range(count)]
    if step == "1mo":
        local = [first.replace(year=first.year + n // 12, month=n % 12 + 1) for n in range(count)]
    return [d.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC) for d in local if step != "1b" or d.weekday() < 5]


@pytest.mark.parametrize(("keys", "step", "zone", "first", "count", "season", "aggregate", "known"), CASES)
def test_facts_do_not_depend_on_how_rows_come(keys, step, zone, first, count, season, aggregate, known, tmp_path):
    first = datetime.fromisoformat(first)
    rng, names = random.Random(f"{step} {zone}"), [*keys, "t", "y", "kat", "line"]
    series = [tuple(KEYS[kind][n % len(KEYS[kind])] for kind in keys.values()) for n in range(2 if keys else 1)]
    rows = []
    for key in dict.fromkeys(series):
        for at in times(step, zone, first, count):
            for n in range(1 if aggregate is None else rng.choice([1, 1, 3])):
                said = at + timedelta(days=2, hours=rng.randrange(90), seconds=n)
                time = f"{at:%Y-%m-%dT%H:%M:%SZ}"
                rows.append((*key, time, rng.randrange(1000), f"{said:%Y-%m-%dT%H:%M:%SZ}", len(rows)))
    columns = [f'Column("{name}", "{kind}", nullable=True)' for name, kind in keys.items()]
    columns += [f'Column("t", "time", zone="{zone}")', f'Column("y", "float", aggregate={aggregate!r})']
    columns += ['Column("line", "text")'] if aggregate else []
    text = SYSTEM.format(
        known='known_at="kat"' if known else "",
        columns=", ".join(columns),
        keys=tuple(keys),
        step=step,
        season=season,
    )
    (tmp_path / "system.py").write_text(text)
    system, found = load_system(str(tmp_path)), []
    for parts in (1, 1, 3):
        some = rows if not found else rng.sample(rows, len(rows))
        home = tmp_path / f"home{len(found)}"
        counts = 0
        for part in (some[n::parts] for n in range(parts)):
            with (tmp_path / "rows.csv").open("w", newline="") as file:
                csv.writer(file).writerows([names, *part])
            options = ("--home", home, "--source", f"file:{tmp_path / 'rows.csv'}", "--as-of", "2026-06-01T00:00:00Z")
            done = headrace("ingest", tmp_path, "--json", *options)
            assert done.code == 0, done.out
            assert done.json["read"] == done.json["ingested"] + done.json["repeated"]
            counts += done.json["ingested"]
        assert counts == len(rows)
        kept, begin = Home(Settings(home=home)), datetime(2008, 1, 1, tzinfo=UTC)
        moments = (first.replace(tzinfo=UTC) + timedelta(days=9), datetime(2026, 7, 1, tzinfo=UTC))
        views = [read_latest(kept.raw(system), kept.series(system), begin, as_of=moment) for moment in moments]
        found.append([view.select(pl.exclude("_version", "line")).sort(*system.keys, "t") for view in views])
    assert found[0][1].height
    for other in found[1:]:
        assert all(view.equals(first_view) for view, first_view in zip(other, found[0], strict=True))
