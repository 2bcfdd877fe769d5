"""The monitoring report says what the facts say, and nothing that data could smuggle in."""

import math
import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from tests.worlds.flow import HOUR, NOW, last, system_of, world

from headrace.errors import NotFoundError
from headrace.flow.backfill import BackfillRequest, backfill
from headrace.grid.date_range import DateRange
from headrace.home import Home
from headrace.pages.chart import Chart, Line
from headrace.reporting import write_report
from headrace.settings import Settings
from headrace.tasks.forecast.monitoring import read_scores
from headrace.tasks.forecast.scores import measures

HOSTILE = '<script>alert("p1")</script>'


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    facts = world(1, corrections=0.1).with_columns(pl.col("place").replace({"p1": HOSTILE}))
    facts.write_parquet(folder / "facts.parquet")
    made = Home(Settings(home=folder))
    backfill(system_of(), made, BackfillRequest(DateRange(last(12), last(), HOUR), NOW, f"file:{folder}/facts.parquet"))
    return made


def page(home, tmp_path, **more):
    report = write_report(system_of(), home, **{"as_of": None, "now": NOW, "out": tmp_path / "page.html", **more})
    return report, report.path.read_text()


def test_figures_are_those_of_the_scores(home, tmp_path):
    report, text = page(home, tmp_path)
    scores = read_scores(system_of(), home)
    found = measures(scores, [], system_of().monitoring.baselines).row(0, named=True)
    assert report.summary["wape"] == found["wape"]
    assert f"<td class=n>{found['wape'] * 100:.2f}%</td>" in text
    assert f"{report.summary['matured']:,} of {report.summary['expected']:,} predictions" in text
    assert "3 of 3 series mature" in text
    assert text == page(home, tmp_path)[1]


def test_charts_are_well_formed_and_data_is_escaped(home, tmp_path):
    _, text = page(home, tmp_path)
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    drawings = [part.split("</svg>")[0] + "</svg>" for part in text.split("<svg")[1:]]
    assert len(drawings) >= 4 + 2 * 3
    for drawing in drawings:
        root = ET.fromstring("<svg" + drawing)
        assert root.findall("polyline")
        assert root.get("aria-label")


def test_as_of_a_time_it_shows_what_was_known_then(home, tmp_path):
    early, _ = page(home, tmp_path, as_of=last(6))
    late, _ = page(home, tmp_path)
    assert 0 < early.summary["matured"] < late.summary["matured"]
    with pytest.raises(NotFoundError):
        page(home, tmp_path, as_of=last(100))


def test_before_anything_matured_it_says_so_and_shows_the_forecasts(home, tmp_path):
    report, text = page(home, tmp_path, as_of=last(12))
    assert report.summary["matured"] == 0
    assert "No prediction has matured yet" in text
    assert text.count("<svg") == 3


def test_without_predictions_there_is_no_report(tmp_path):
    with pytest.raises(NotFoundError, match="no predictions yet"):
        page(Home(Settings(home=tmp_path)), tmp_path)


@pytest.mark.parametrize("values", [[], [None, None], [1.0], [0.0, 0.0], [1e-9, None, 2e9], [-5.0, 3.0]])
def test_any_values_can_be_drawn(values):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for x in ([start + timedelta(hours=7 * i) for i in range(len(values))], [float(i) for i in range(len(values))]):
        drawn = Chart("a & b", x, [Line("one", values, "ours")], band=(values, values)).svg()
        assert "a &amp; b" in drawn
        assert ("<svg" in drawn) == any(v is not None for v in values)
        assert "nan" not in drawn


@pytest.mark.parametrize(
    "values",
    [
        [1e308, -1e308],
        [float("inf"), 1.0],
        [float("nan"), 1.0, 2.0],
        [0.0, 5e-324],
        [0.0, 1e-320, 1e-318],
        [1e17, 1e17],
        [1e17, 1e17 + 16],
        [1.797e308] * 3,
        [0.0, 3e-15],
    ],
)
def test_any_numbers_can_be_drawn(values):
    """Values of a user's own, however large, small or close together, end in a drawing."""
    xs = [NOW + n * HOUR for n in range(len(values))]
    drawn = Chart("of anything", xs, [Line("value", values, "main")], band=(values, values)).svg()
    assert drawn.startswith("<figure>")
    numbers = re.findall(r'points="([^"]*)"', drawn)
    assert all(math.isfinite(float(each)) for points in numbers for each in re.split("[ ,]", points))
