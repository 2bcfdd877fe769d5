"""Policies over the past: what a home of its own would have given, and the real one is only read."""

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.commands import headrace

import headrace as hr
from headrace.cli import flags
from headrace.errors import ConfigError, ContractBroken, DeclarationError, NotEnoughDataError, UsageError
from headrace.home import Home
from headrace.settings import Settings

SHIFTED = Path(__file__).parents[2] / "worlds" / "shifted"
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
START, END = BEGIN + timedelta(days=10), BEGIN + timedelta(days=17)
SETTINGS = ("source.uri=simulated:?at=12", "schedule.train=3d", "monitoring.window=60d")


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    return tmp_path / "temporary" / f"headrace-{os.getuid()}" / "scratch"


def opened(path, *more):
    return hr.open(path, clock=lambda: datetime(2026, 6, 1, tzinfo=UTC), quiet=True).system(
        str(SHIFTED), [*SETTINGS, *more]
    )


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def predictions(path):
    table = Home(Settings(home=path)).table("shifted", "predictions")
    return table.collect(
        table.scan().select("as_of", "series", "time", "value", "lower", "upper", "model_version")
    ).sort("as_of", "series", "time")


def left(scratch):
    return [path.name for path in scratch.iterdir() if path.name != ".lock"] if scratch.exists() else []


def test_it_gives_what_a_home_of_its_own_does_and_leaves_the_real_one_alone(tmp_path, temporary):
    real = opened(tmp_path / "real")
    done = real.backfill(START, END, "12h", workers=1)
    before = digests(tmp_path / "real")
    again = opened(tmp_path / "real", "source.uri=file:/gone")  # the facts are there: nothing is read
    tried = again.simulate(
        START,
        END,
        "12h",
        compare={"one": {}, "other": {"schedule": {"cooldown": "1d"}}},
        beside="never",
        keep=tmp_path / "kept",
        workers=1,
    )
    assert digests(tmp_path / "real") == before
    assert left(temporary) == []
    one, other, never = tried
    first, second = one.as_dict(), other.as_dict()
    for document in (first, second):
        assert all(training.pop("cpu_seconds") > 0 for training in document["trainings"])
    assert {k for k in first if first[k] != second[k]} <= {"policy", "cpu_seconds", "seconds", "home"}
    assert first["runs"] == done.runs
    champions = [version for version in real.models if version.state in ("champion", "archived")]
    assert [(each["version"], each["at"]) for each in first["promotions"]] == [
        (version.version, f"{version.as_of:%Y-%m-%dT%H:%M:%SZ}") for version in champions
    ]
    assert predictions(tmp_path / "real").equals(predictions(tmp_path / "kept" / "one"))
    assert first["metrics"]["wape"] == pytest.approx(real.monitor(END, simulated=True).metrics["wape"], rel=1e-12)
    assert never.outcome.counts() == {"retrainings": 0, "retunings": 0, "promotions": 1}
    assert never.outcome.errors.metrics["wape"] > one.outcome.errors.metrics["wape"]
    assert tried.over_time().columns == ["time", "one", "other", "never again"]
    assert one.cpu_seconds > 0
    with pytest.raises(NotEnoughDataError, match="nothing is known") as early:
        again.simulate(START - timedelta(days=99), START - timedelta(days=98), "1d")
    assert "begins at 2026-01-01T00:00:00Z" in early.value.hint
    with pytest.raises(UsageError, match="not an empty folder"):
        again.simulate(START, END, "12h", keep=tmp_path / "kept")


def test_it_is_killed_and_the_next_one_clears_up(tmp_path, temporary):
    command = [sys.executable, "-m", "headrace", "simulate", str(SHIFTED), "--home", str(tmp_path / "home")]
    command += ["--start", START.isoformat(), "--end", END.isoformat(), "--every", "1h", "--source", "simulated:"]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "temporary")}
    process = subprocess.Popen([*command, "--workers", "1"], env=environment)
    for _ in range(600):
        if list(temporary.glob("*/policy-0/store")):
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(left(temporary)) == 1
    with pytest.raises(ContractBroken, match="no rows"):
        opened(tmp_path / "home").simulate(BEGIN - timedelta(days=9), BEGIN - timedelta(days=8), "1d")
    assert left(temporary) == []
    assert not (tmp_path / "home").exists()


def test_what_cannot_be_simulated_is_refused(tmp_path):
    system = opened(tmp_path / "home")
    with pytest.raises(UsageError, match="the end lies before the start"):
        system.simulate(END, START, "1d")
    with pytest.raises(UsageError):
        system.simulate(START, END, "0d")
    files = {
        "list.yaml": "- 1\n",
        "broken.yaml": "schedule: [\n",
        "unknown.yaml": "schedule:\n  trian: 1d\n",
        "wrong.yaml": "schedule:\n  train: often\n",
        "facts.yaml": "source:\n  lag: 3d\n",
    }
    paths = {name: tmp_path / name for name in files}
    for name, text in files.items():
        paths[name].write_text(text)
    for name, message in (
        ("list.yaml", "mapping"),
        ("broken.yaml", "YAML"),
        ("unknown.yaml", "unknown: schedule.trian"),
        ("wrong.yaml", "wrong: schedule.train"),
    ):
        with pytest.raises(ConfigError, match=message):
            system.simulate(START, END, "1d", compare=[paths[name]])
    for compare in ([tmp_path / "gone.yaml"], [paths["facts.yaml"]] * 2):
        with pytest.raises(UsageError):
            system.simulate(START, END, "1d", compare=compare)
    (tmp_path / "plain.yaml").touch()
    with pytest.raises(UsageError, match="reads facts in another way"):
        system.simulate(START, END, "1d", compare=[tmp_path / "plain.yaml", paths["facts.yaml"]])
    for beside in ("daily", "0d", "1d,1d"):
        with pytest.raises(UsageError):
            system.simulate(START, END, "1d", beside=beside)
    assert not (tmp_path / "home").exists()


def test_facts_of_another_shape_are_refused(tmp_path):
    opened(tmp_path / "real").ingest(START)
    with pytest.raises(DeclarationError):
        opened(tmp_path / "real", "step=2h", "horizon=4h").simulate(START, END, "1d")


def test_the_command_takes_several_files_and_refuses_what_python_does(tmp_path):
    words = [
        "simulate",
        SHIFTED,
        "--home",
        tmp_path / "home",
        "--start",
        START,
        "--end",
        END,
        "--every",
        "1d",
        "--json",
    ]
    for name in ("one", "other"):
        (tmp_path / f"{name}.yaml").write_text("schedule: {train: often}\n" if name == "other" else "")
    files = [tmp_path / "one.yaml", tmp_path / "other.yaml"]
    for arguments, where in (
        (["--compare", *files], "other: schedule.train"),
        (["--compare", files[0], "--compare", files[1]], "other: schedule.train"),
        (["--compare", tmp_path / "gone.yaml"], str(tmp_path / "gone.yaml")),
        (["--beside", "daily"], "--beside"),
        (["--set", "schedule.trian=1d"], "schedule.trian"),
    ):
        done = headrace(*words, *arguments)
        assert done.code in (1, 2)
        assert done.json["where"] == where
    assert not (tmp_path / "home").exists()


def test_options_are_said_before_each_of_their_files():
    spread = flags._each_with_its_option
    assert spread(["--compare", "a.yaml", "b.yml", "energy"], {"--compare"}) == [
        *("--compare", "a.yaml", "--compare", "b.yml", "energy")
    ]
    for words in (["energy", "--compare", "a.yaml", "--json"], ["--keep", "a.yaml", "b.yaml"], ["--compare=a.yaml"]):
        assert spread(words, {"--compare"}) == words
