"""A source that has gone stale, and a file that lost rows: said in the run, its report and by doctor."""

from datetime import timedelta

import polars as pl
import pytest
from tests.worlds.flow import NOW, last, system_of, world

from headrace.doctor import examine
from headrace.flow.run import RunRequest, run
from headrace.reporting import write_report


@pytest.fixture
def home(place):
    return place("stale")


def once(home, rows, hours, name="rows.parquet"):
    rows.write_parquet(home.path / name)
    return run(system_of(), home, RunRequest(last(hours), NOW, f"file:{home.path}/{name}"))


def told_elsewhere(home):
    report = write_report(system_of(), home, as_of=None, now=NOW, out=None)
    assert all(text in report.path.read_text() for text in report.summary.get("warnings", []))
    found = [f["said"] for f in examine(home) if f["what"] == "last run of world"]
    assert found == report.summary.get("warnings", [])
    return found


def test_a_source_that_has_gone_stale(home):
    rows = world(2)
    assert once(home, rows, 20).warnings == []
    hours_late = once(home, rows.filter(pl.col("time") < last(20)), 12)  # is not worth a word
    assert not [text for text in hours_late.warnings if "gone stale" in text]
    stale = once(home, rows.filter(pl.col("time") < last(20)), -24 * 6)
    (said,) = [text for text in stale.warnings if "gone stale" in text]
    assert "6d old, where 1h is usual" in said
    assert said in told_elsewhere(home)


def test_a_file_that_lost_rows(home):
    rows = world(2)
    assert once(home, rows, 20).warnings == []
    fewer = rows.filter((pl.col("time") < last(60)) | (pl.col("time") >= last(50)) | (pl.col("place") != "p1"))
    said = [f"10 rows that file:{home.path}/rows.parquet had are no longer in it; what they said stays"]
    assert once(home, fewer, 19).warnings == said
    assert told_elsewhere(home) == said
    assert once(home, fewer, 18).warnings == said  # until they are back
    assert once(home, rows, 17).warnings == []


def test_a_file_that_tells_a_window_of_time_loses_nothing(home):
    rows = world(2)
    window = [
        rows.filter(pl.col("time") < last(30)),
        rows.filter(pl.col("time") > last(200), pl.col("time") < last(25)),
    ]
    assert not losses(once(home, window[0], 30))
    assert not losses(once(home, window[1], 25))
    assert losses(once(home, window[1].filter(pl.col("time") < last(40)), 25))


def losses(result):
    return [text for text in result.warnings if "no longer" in text]


def test_the_usual_delay_is_that_of_the_source(place):
    home, rows = place("slow"), world(2).with_columns(known_at=pl.col("known_at") + timedelta(days=5))
    told = once(home, rows.filter(pl.col("load").is_not_null()), -24 * 5 + 20).warnings
    assert not [text for text in told if "gone stale" in text]


@pytest.mark.parametrize("steps", [("ingest", "validate"), ("ingest", "validate", "train"), ("train",)])
def test_every_command_that_reads_the_source_or_learns_from_it_says_so(place, steps):
    home, rows = place("commands"), world(2).filter(pl.col("time") < last(20))
    rows.write_parquet(home.path / "rows.parquet")
    uri, late = f"file:{home.path}/rows.parquet", last(-24 * 6)
    run(system_of(), home, RunRequest(last(20), NOW, uri, ("ingest", "validate")))
    (said,) = run(system_of(), home, RunRequest(late, NOW, uri, steps, retrain=True)).warnings
    assert "6d old, where 1h is usual" in said


def test_series_that_have_gone_silent(place):
    home, rows = place("silent"), world(2, places=5)
    once(home, rows.filter(pl.col("time") < last(200)), 200)
    left = rows.filter((pl.col("time") < last(200)) | (pl.col("place") == "p0"))
    (said,) = once(home, left, 20).warnings
    assert said.startswith("4 series have no forecast: p1 (no value in the last 4d), p2 (")
    assert said.endswith(" and 1 more")
