"""Records of runs: the failed ones are there too, with the reason, and nothing mistakes them for done ones."""

from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from tests.commands import AS_OF, ENERGY, energy, headrace, write

from headrace.errors import StoreError
from headrace.flow import run as flow
from headrace.home import Home
from headrace.loading import load_system
from headrace.pipelines import runs
from headrace.settings import Settings
from headrace.tasks.forecast import features, inference

BAD = ["not a time,DK1,111,x"] * 50
SECRET = "postgresql://me:hunter2@db"


def request(hours: int) -> flow.RunRequest:
    moment = AS_OF + timedelta(hours=hours)
    return flow.RunRequest(moment, moment, steps=("features", "predict"))


def test_failed_runs_are_listed_with_the_reason(home: Path, tmp_path: Path) -> None:
    broken = energy("ingest", home, "--source", write(tmp_path / "bad.csv", BAD))
    assert broken.code == 3
    listed = headrace("runs", ENERGY, "--home", home, "--json").json
    failed, done = listed["runs"]
    assert (listed["system"], failed["status"], done["status"]) == ("energy", "failed", "done")
    assert broken.json["message"] in failed["error"]
    assert (done["error"], done["predictions"], done["model_version"]) == (None, 4 * 24, 1)
    assert failed["predictions"] is None
    for each in (failed, done):
        assert datetime.fromisoformat(each["created_at"]) < datetime.fromisoformat(each["ended_at"])
    assert headrace("runs", ENERGY, "--home", home, "--json", "--failed").json["runs"] == [failed]
    assert headrace("runs", ENERGY, "--home", home, "--json", "--limit", "1").json["runs"] == [failed]
    record = runs.record(Home(Settings(home=home)), "energy", failed["run_id"])
    assert record is not None
    assert record["error"]["error"] == "ContractBroken"
    assert [step["name"] for step in record["steps"]] == ["ingest", "validate"]
    assert " failed " in headrace("runs", ENERGY, "--home", home).out


def test_of_a_failure_that_is_not_ours_only_the_kind_is_kept(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ValueError(SECRET)

    system, opened = load_system(ENERGY), Home(Settings(home=home))
    with monkeypatch.context() as patch:
        patch.setattr(inference, "predict", fails)
        with pytest.raises(ValueError, match="hunter2"):
            flow.run(system, opened, request(1))
    (failed,) = runs.newest(opened, "energy", 9, failed=True)
    assert (failed["status"], failed["error"], failed["model_version"]) == (
        "failed",
        "ValueError: is no error that headrace knows; see its log",
        1,
    )
    assert "hunter2" not in str(runs.record(opened, "energy", failed["run_id"]))
    assert failed["predictions"] is None


def test_a_failure_that_cannot_be_recorded_is_told_as_itself(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise StoreError("no space")

    system, opened = load_system(ENERGY), Home(Settings(home=home))
    monkeypatch.setattr(features, "look", lambda *_, **__: 1 / 0)
    monkeypatch.setattr(runs, "write", away)
    with pytest.raises(ZeroDivisionError) as caught:
        flow.run(system, opened, request(1))
    assert "no space" in caught.value.__notes__[0]


def test_records_of_before_there_was_a_status_are_of_runs_that_were_done(tmp_path: Path) -> None:
    home, utc = Home(Settings(home=tmp_path)), pl.Datetime("us", "UTC")
    assert runs.newest(home, "energy", 1) == []
    assert runs.record(home, "energy", "x") is None
    old = {"run_id": "x", "as_of": AS_OF, "created_at": AS_OF, "known_at": AS_OF, "record": "{}", "predictions": 7}
    old |= {"data_version": 1, "model_version": 1, "config_digest": "c"}
    frame = pl.DataFrame([old], schema_overrides=dict.fromkeys(("as_of", "created_at", "known_at"), utc))
    home.table("energy", "runs").append(frame, identity=["run_id"], compare=["record"], window="created_at")
    (found,) = runs.newest(home, "energy", 5)
    assert (found["status"], found["error"], found["ended_at"], found["predictions"]) == ("done", None, None, 7)
