"""The card of a version, from the command line and from Python, and what a version costs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.commands import ENERGY, SMALL, copy_of_trained, headrace

from headrace.api.workspace import open_workspace
from headrace.serving.http.reads import versions
from headrace.serving.http.reads.reader import ReadHome


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_trained(tmp_path_factory.getbasetemp(), tmp_path_factory.mktemp("card") / "home")


def test_a_card_in_its_forms(home: Path, tmp_path: Path) -> None:
    said = headrace("card", ENERGY, "--home", home).out
    assert said.startswith("# energy: model card")
    assert "## By series, the largest errors first" in said
    assert "CPU s" in said
    page = tmp_path / "card.html"
    assert headrace("card", ENERGY, "1", "--home", home, "--out", page).code == 0
    assert "<svg" in page.read_text()
    data = headrace("card", ENERGY, "--home", home, "--json").json
    assert {"heading", "table", "curve", "sentence"} == {each["kind"] for each in data["sections"]}
    assert open_workspace(home).system(ENERGY).card(1).markdown() == said


def test_what_is_not_there_is_said(home: Path, tmp_path: Path) -> None:
    for arguments, text in (
        (("--format", "pdf"), "one of markdown, html"),
        (("7",), "there is no model version 7"),
        (("--out", home / "mlflow.db" / "x.md"), "x.md"),
    ):
        done = headrace("card", ENERGY, "--home", home, *arguments)
        assert (done.code, text in done.err) == (2, True), done.err
    empty = headrace("card", ENERGY, "--home", tmp_path / "empty")
    assert "there is no model yet" in empty.err


def test_what_a_version_costs_is_beside_it(home: Path) -> None:
    (version,) = headrace("models", ENERGY, "--home", home, "--json", *SMALL).json["versions"]
    assert set(version["cost"]) == {"train_cpu_s", "predict_us", "bytes"}
    assert min(version["cost"].values()) > 0
    assert "train_cpu_s" not in version["metrics"]


def test_a_learning_curve_is_shown_at_every_door_once_it_was_asked_for(home: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(home, tmp_path / "home"))
    opened = open_workspace(home)
    place = ReadHome(opened.home, {"energy": opened.system(ENERGY, list(SMALL[1::2])).declaration})
    assert versions.card(place, "energy", 1, "json")["learning_curve"] is None
    said = headrace("card", ENERGY, "1", "--home", home, "--learning-curve", "--json", *SMALL)
    assert said.code == 0, said.err
    curve = said.json["learning_curve"]
    assert (curve["unit"], curve["judged_unit"]) == ("steps", "forecasts")
    assert curve["points"][-1]["share"] == 1
    assert versions.card(place, "energy", 1, "json")["learning_curve"] == curve
    assert curve["sentence"] in headrace("card", ENERGY, "--home", home).out
    assert "wape by steps".upper() in versions.card(place, "energy", 1, "html")["text"].upper()
    refused = headrace("card", ENERGY, "--home", home, "--learning-curve")
    assert refused.code == 0  # it is stored: what is declared by now does not matter
