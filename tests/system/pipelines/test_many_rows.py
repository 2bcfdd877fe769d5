"""More rows than memory should hold: training and predicting in portions say what they say at once."""

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.commands import headrace
from tests.servers import PRICES, PRICES_SMALL, prices_template

from headrace.home import PREDICTIONS, Home
from headrace.settings import Settings
from headrace.store import portions
from headrace.tasks.rows import inference

AS_OF = "2026-03-01T00:00:00Z"
LISTINGS = ("--source", "simulated:?rows=600&seed=1&unsold=0.5")


@pytest.fixture
def home(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    shutil.copytree(prices_template(tmp_path_factory.getbasetemp()), tmp_path / "home")
    return tmp_path / "home"


def run(home: Path, command: str, *arguments: object) -> Any:
    done = headrace(command, PRICES, "--home", home, "--json", *PRICES_SMALL, "--as-of", AS_OF, *arguments)
    assert done.code == 0, done.err
    return done.json


def predicted(home: Path) -> pl.DataFrame:
    table = Home(Settings(home=home)).table("price_alchemy", PREDICTIONS)
    frame = table.read(identity=["id"]).filter(pl.col("door") == "batch").sort("train_id")
    return frame.drop("id", "run_id", "created_at", "_version")


def test_training_in_portions_reads_all_rows_or_says_how_many(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portions, "ROWS", 64)
    made = run(home, "train", "--set", "model.max_rows=100")["model"]
    assert made["sampled"] == {"rows": 100, "learners": ["rules"]}
    whole = run(home, "train")["model"]
    assert "sampled" not in whole
    assert abs(made["metrics"]["rmsle"] - whole["metrics"]["rmsle"]) < 0.2
    assert [path.name for path in (home / "scratch").iterdir()] == [".lock"]
    done = headrace("train", PRICES, "--home", home, *PRICES_SMALL, "--as-of", AS_OF, "--set", "model.max_rows=101")
    assert "rules: learnt from 101 of " in done.out


def test_portions_store_the_same_predictions_once(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run(home, "ingest", *LISTINGS)
    shutil.copytree(home, tmp_path / "other")
    at_once = run(home, "predict")
    monkeypatch.setattr(portions, "ROWS", 50)
    parted = run(tmp_path / "other", "predict")
    assert (parted["predictions"], parted["stored"]) == (at_once["predictions"], at_once["stored"])
    assert parted["predictions"] > 100
    assert predicted(tmp_path / "other").equals(predicted(home))
    again = run(tmp_path / "other", "predict")
    assert (again["predictions"], again["stored"]) == (parted["predictions"], 0)


def test_a_prediction_that_was_stopped_goes_on(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run(home, "ingest", *LISTINGS)
    shutil.copytree(home, tmp_path / "other")
    at_once = run(tmp_path / "other", "predict")
    monkeypatch.setattr(portions, "ROWS", 50)
    store, stored = inference.store, list[int]()

    def stopping(*arguments: Any) -> Any:
        if len(stored) == 2:
            raise KeyboardInterrupt
        done = store(*arguments)
        stored.append(done.stored)
        return done

    with monkeypatch.context() as patch:
        patch.setattr(inference, "store", stopping)
        assert headrace("predict", PRICES, "--home", home, *PRICES_SMALL, "--as-of", AS_OF).code != 0
    rest = run(home, "predict")
    assert rest["predictions"] == at_once["predictions"]
    assert rest["stored"] == at_once["stored"] - sum(stored) > 0
