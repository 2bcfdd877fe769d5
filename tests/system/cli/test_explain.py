"""`headrace explain`: why a stored forecast has its value, from the command line."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.commands import AS_OF, ENERGY, SMALL, energy, headrace, rows, write

from headrace.console import print_explanations
from headrace.tasks.explanation import Contribution, Explanation


def explain(home, *arguments):
    return headrace("explain", *arguments, "--home", home)


def test_a_forecast_is_explained_by_its_id_and_adds_up_to_what_was_stored(home):
    row = energy("predictions", home, as_of=None).json[5]
    told = explain(home, row["id"], "--json").json
    assert (told["id"], told["value"]) == (row["id"], row["value"])
    assert told["keys"] == {name: row[name] for name in ("area", "industry", "time", "ahead")}
    assert told["base"] + sum(part["contribution"] for part in told["contributions"]) == pytest.approx(row["value"])
    sizes = [abs(part["contribution"]) for part in told["contributions"] if part["kind"] != "step"]
    assert sizes == sorted(sizes, reverse=True)
    assert told["method"] == "exact"


def test_all_steps_of_a_series_are_explained_and_the_rest_is_folded(home):
    chosen = ("--where", "area=DK1", "--where", "industry=111", "--top", "1", "--json")
    told = explain(home, ENERGY, *chosen).json
    assert [item["keys"]["ahead"] for item in told] == list(range(1, 25))
    for item in told:
        assert len([part for part in item["contributions"] if part["kind"] in ("feature", "baseline")]) <= 1
        assert item["base"] + sum(part["contribution"] for part in item["contributions"]) == pytest.approx(
            item["value"]
        )


def test_the_table_fits_a_terminal(home, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    name = energy("predictions", home, as_of=None).json[0]["id"]
    out = explain(home, name).out
    assert max(map(len, out.splitlines())) <= 80
    assert out.splitlines()[1].startswith("base ")
    assert "----" in out or "++++" in out
    assert "contributions are exact; model version 1" in out


def test_a_correction_that_came_later_changes_no_explanation(home, tmp_path):
    name = energy("predictions", home, as_of=None).json[0]["id"]
    before = explain(home, name, "--json").json
    late = [line.rpartition(",")[0] + ",7.0" for line in rows(AS_OF - timedelta(hours=30), 20)]
    ran = energy("ingest", home, "--source", write(tmp_path / "late.csv", late), as_of=AS_OF + timedelta(days=1))
    assert ran.json["ingested"] > 0
    assert explain(home, name, "--json").json == before


def test_what_cannot_be_explained_says_so(home, tmp_path):
    unknown = "0185cfa3-2c00-7000-8000-000000000000"
    cases = (
        ((unknown,), "NotFoundError", f"no prediction {unknown}"),
        ((unknown, "--limit", "2"), "UsageError", "an id names one prediction"),
        ((ENERGY, "--data", write(tmp_path / "rows.csv", rows(AS_OF, 1))), "UsageError", "energy forecasts series"),
        ((ENERGY, "--class", "1"), "UsageError", "forecasts are numbers"),
        ((ENERGY, "--where", "area=DK9"), "NotFoundError", "no series"),
    )
    for arguments, error, message in cases:
        ran = explain(home, *arguments, "--json", *SMALL)
        assert (ran.code, ran.json["error"]) == (2, error)
        assert message in ran.json["message"]


def test_an_explanation_imports_no_library_of_estimators(home):
    name = energy("predictions", home, as_of=None).json[0]["id"]
    program = (
        "import sys\nfrom headrace.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "large = {'sklearn', 'lightgbm', 'shap', 'scipy'}\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & large), file=sys.stderr)"
    )
    words = [sys.executable, "-c", program, "explain", name, "--home", str(home), "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(done.stdout)["id"] == name
    assert done.stderr.splitlines()[-1] == "[]"


def test_an_answer_that_is_no_number_is_shown(capsys):
    nothing = float("nan")
    parts = tuple(Contribution(name, None, number) for name, number in (("a", nothing), ("b", 2.0), ("c", math.inf)))
    item = Explanation(None, {}, "price", nothing, None, "price", "value = total", 1.0, "b", nothing, parts, "exact", 1)
    print_explanations([item], top=None, as_json=False, single=True)
    print_explanations([replace(item, contributions=parts[::-1])], top=None, as_json=False, single=True)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines if line.startswith("a ")] == ["+nan", "+nan"]
