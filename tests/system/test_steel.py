"""A second system, written as a user would: nothing in the framework knows of it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from headrace.flow.run import RunRequest, run
from headrace.home import Home
from headrace.loading import load_system
from headrace.pipelines.predictions import replay
from headrace.settings import Settings
from headrace.tasks.forecast.inference import read_predictions

FOLDER = Path(__file__).parent / "steel"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_steel_forecasts_two_hours_and_beats_the_same_time_yesterday(shared_data, tmp_path):
    uri = f"file:{shared_data('steel_industry/Steel_industry_data.csv.gz')}"
    system, home = load_system(str(FOLDER)), Home(Settings(home=tmp_path))
    as_of = datetime(2018, 9, 20, 12, tzinfo=UTC)
    first = run(system, home, RunRequest(as_of, NOW, uri))
    assert first.quarantined == 0
    frame = read_predictions(system, home)
    assert frame["ahead"].to_list() == list(range(1, 9))
    assert (frame["lower"] <= frame["value"]).all()
    assert (frame["value"] <= frame["upper"]).all()
    assert frame["time"].to_list() == [as_of + timedelta(minutes=15 * k) for k in range(1, 9)]
    scores = first.as_dict()["model"]["metrics"]
    assert scores["wape"] < 0.8 * min(scores["naive_1d_wape"], scores["naive_7d_wape"])
    for hours in range(1, 6):
        run(system, home, RunRequest(as_of + timedelta(hours=hours), NOW, uri))
    later = run(system, home, RunRequest(as_of + timedelta(hours=6), NOW, uri))
    # The runs at 0 to 4 h have all eight steps by then, the one at 5 h has four.
    assert later.as_dict()["matured"] == 8 * 5 + 4
    assert all(replay(home, each)["identical"] for each in frame["id"])


def test_the_declaration_is_short():
    lines = sum(len(path.read_text().splitlines()) for path in FOLDER.iterdir() if path.is_file())
    assert lines < 100
    assert json.dumps(load_system(str(FOLDER)).config())
