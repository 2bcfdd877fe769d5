"""The command line from the outside: exit codes, one JSON document, and what each command promises."""

import json
import subprocess
import sys
from datetime import timedelta
from importlib.metadata import EntryPoint
from pathlib import Path

import polars as pl
import pytest
from tests.commands import AS_OF, ENERGY, SMALL, energy, headrace, rows, write

from headrace import __version__, cli, loading
from headrace.cli.command import Common

COMMANDS = (
    *("run", "ingest", "train", "predict", "monitor", "predictions", "trace", "replay", "explain"),
    *("models", "promote", "rollback", "init", "doctor", "materialize", "lookup", "runs"),
)


def refused(ran, code, error):
    assert ran.code == code
    assert ran.json["error"] == error
    assert set(ran.json) == {"error", "message", "where", "hint"}
    assert ran.json["message"] in ran.err
    assert "Traceback" not in ran.err
    return ran.json


def stored(home, *more):
    return headrace("predictions", ENERGY, "--home", home, "--json", *more).json


@pytest.fixture
def inside(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_help_lists_every_command():
    ran = headrace("--help")
    assert ran.code == 0
    assert {line.split()[0] for line in ran.out.splitlines() if line.strip()} >= set(COMMANDS)
    assert "..." not in ran.out.partition("\n")[2]
    assert max(map(len, ran.out.splitlines())) <= 80
    for command in COMMANDS:
        assert headrace(command, "--help").code == 0


def test_the_version_is_told():
    told = headrace("--version")
    assert (told.code, told.out) == (0, f"headrace {__version__}\n")


def test_an_unknown_system_tells_those_there_are(inside):
    assert "headrace init" in refused(headrace("run", "enrgy", "--json"), 2, "NotFoundError")["hint"]
    headrace("init", "wind")
    assert refused(headrace("run", "enrgy", "--json"), 2, "NotFoundError")["hint"] == "systems here: wind"


def test_an_installed_system_that_does_not_import_is_named(inside, monkeypatch):
    entry = EntryPoint("wind", "no_such_package.system:system", loading.ENTRY_POINTS)
    monkeypatch.setattr(loading, "entry_points", lambda group: [entry])
    told = refused(headrace("models", "wind", "--json"), 2, "DeclarationError")
    assert told["where"] == entry.value
    assert "no_such_package" in told["message"]


@pytest.mark.parametrize(
    ("setting", "where", "hint"),
    [
        ("model.n_estimator=4", "model.n_estimator", "did you mean 'n_estimators'?"),
        ("sourc.lag=0h", "sourc", "did you mean 'source'?"),
        ("contract.columns.consumtion.minimum=1", "contract.columns.consumtion", "did you mean 'consumption'?"),
        ("horizon.steps=4", "horizon", None),
        ("model.n_estimators=many", "model.n_estimators", None),
        ("horizon=90m", "horizon", None),
        ("model.n_estimators", "--set", None),
    ],
)
def test_a_setting_that_does_not_fit_is_named(tmp_path, setting, where, hint):
    told = refused(headrace("run", ENERGY, "--home", tmp_path / "h", "--json", "--set", setting), 2, "ConfigError")
    assert told["where"].startswith(where)
    assert hint is None or told["hint"] == hint
    assert not (tmp_path / "h").exists()


@pytest.mark.parametrize(
    "text",
    [
        "2023-01-20T16:00:00",
        "2023-01-20",
        "noon",
        "2023-13-01T00:00:00Z",
        "0001-01-01T00:00:00+05:00",
        "1969-12-31T23:59:59Z",
    ],
)
def test_a_time_needs_a_zone(tmp_path, text):
    told = refused(headrace("run", ENERGY, "--home", tmp_path, "--json", "--as-of", text), 2, "UsageError")
    assert told["where"] == "--as-of"
    assert text in told["message"]


def test_a_time_with_another_offset_is_the_same_time(home):
    again = headrace("predict", ENERGY, "--home", home, "--json", *SMALL, "--as-of", "2023-01-20T17:00:00+01:00")
    assert (again.code, again.json["as_of"], again.json["stored"]) == (0, "2023-01-20T16:00:00Z", 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", ENERGY, "--json", "--nope"), "No such option"),
        (("run", "--json"), "Missing argument"),
        (("promote", ENERGY, "latest", "--json"), "Invalid value"),
        (("rnu", "--json"), "No such command"),
    ],
)
def test_what_the_parser_refuses_is_json_too(arguments, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["headrace", *arguments])
    with pytest.raises(SystemExit) as done:
        cli.main()
    out, err = capsys.readouterr()
    assert done.value.code == 2
    assert message in json.loads(out)["message"]
    assert message in err
    monkeypatch.setattr(sys, "argv", ["headrace", *[each for each in arguments if each != "--json"]])
    with pytest.raises(SystemExit) as done:
        cli.main()
    out, err = capsys.readouterr()
    assert (done.value.code, out) == (2, "")
    assert message in err


def test_a_stream_without_a_model_says_so(tmp_path):
    titanic = Path(ENERGY).with_name("titanic")
    for workers in (1, 2):
        done = headrace("stream", titanic, "--home", tmp_path, "--bootstrap", "x:1", "--workers", workers, "--json")
        assert "no model" in refused(done, 2, "NotFoundError")["message"]


def test_a_bug_is_one_document_too(monkeypatch, capsys):
    def broken(self, **how):
        raise RuntimeError("what nobody foresaw")

    monkeypatch.setattr(Common, "open", broken)
    monkeypatch.setattr(sys, "argv", ["headrace", "doctor", "--json"])
    with pytest.raises(RuntimeError):
        cli.main()
    told = json.loads(capsys.readouterr().out)
    assert (told["error"], told["message"], told["where"]) == ("RuntimeError", "what nobody foresaw", None)
    assert "bug" in told["hint"]


def test_exit_codes_of_a_process(home, tmp_path):
    """0, 1, 2 and 3 as another program sees them, each with exactly one document on stdout."""
    empty = tmp_path / "empty.csv"
    empty.touch()
    bad = write(tmp_path / "bad.csv", [each.rpartition(",")[0] + ",-1" for each in rows(AS_OF, 2)])
    base = ["--home", str(home), "--json", *SMALL, "--as-of", AS_OF.isoformat()]
    wanted = {
        0: ["monitor", ENERGY, *base],
        1: ["run", ENERGY, *base, "--source", f"file:{empty}"],
        2: ["run", ENERGY, *base, "--source", "nowhere:at-all"],
        3: ["run", ENERGY, *base, "--source", bad],
    }
    commands = {code: [sys.executable, "-m", "headrace", *words] for code, words in wanted.items()}
    running = {
        code: subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for code, words in commands.items()
    }
    for code, process in running.items():
        out, err = process.communicate(timeout=300)
        assert process.returncode == code, err
        assert isinstance(json.loads(out), dict)
        assert ("error" in json.loads(out)) == (code > 0)


def test_a_run_tells_what_the_interface_names(tmp_path):
    home = tmp_path / "home"
    ran = energy("run", home, "--source", "simulated:?series=4&days=30")
    keys = (
        "run_id",
        "system",
        "as_of",
        "pins",
        "steps",
        "ingested",
        "quarantined",
        "trained",
        "predictions",
        "metrics",
    )
    assert set(ran.json) >= set(keys)
    assert all(set(step) == {"name", "seconds", "rows"} for step in ran.json["steps"])
    ingested = energy("ingest", home, "--source", "simulated:?series=4&days=30").json
    assert [step["name"] for step in ingested["steps"]] == ["ingest", "validate"]
    assert (ingested["ingested"], ingested["predictions"], ingested["pins"]) == (0, 0, None)


def test_the_truth_is_ingested_before_it_is_compared(home):
    later = AS_OF + timedelta(days=2)
    write(home / "more.csv", rows(AS_OF, 48))
    assert energy("monitor", home, as_of=later).json["metrics"] == {}
    seen = energy("monitor", home, "--source", f"file:{home}/more.csv", as_of=later).json
    assert [step["name"] for step in seen["steps"]] == ["ingest", "validate", "monitor"]
    assert (seen["ingested"], seen["matured"]) == (4 * 47, 96)  # the first of the 48 hours was known


def test_people_see_tables(tmp_path):
    home = tmp_path / "home"
    ran = headrace("run", ENERGY, "--home", home, *SMALL, "--source", "simulated:?series=4&days=30", "--as-of", AS_OF)
    assert ran.code == 0
    for text in ("predict", "baseline_1d", "headrace trace"):
        assert text in ran.out
    for command in (("models", ENERGY), ("predictions", ENERGY), ("doctor",)):
        assert headrace(*command, "--home", home).out.strip()


def test_before_the_first_run_each_command_says_what_to_do(tmp_path):
    for command in ("train", "predict", "monitor"):
        assert "headrace ingest energy" in refused(energy(command, tmp_path), 2, "NotFoundError")["hint"]
    assert "headrace run energy" in refused(energy("predictions", tmp_path), 2, "NotFoundError")["hint"]
    listed = headrace("models", ENERGY, "--home", tmp_path, "--json")
    assert (listed.code, listed.json) == (0, {"system": "energy", "champion": None, "versions": []})
    for command in ("trace", "replay"):
        unknown = headrace(command, "01a1fc0e-de74-7f9a-87e8-8f2bb8e5fd62", "--home", tmp_path, "--json")
        refused(unknown, 2, "NotFoundError")
        refused(headrace(command, "what", "--home", tmp_path, "--json"), 2, "NotFoundError")
    refused(headrace("promote", ENERGY, 1, "--home", tmp_path, "--json"), 2, "NotFoundError")
    assert headrace("rollback", ENERGY, "--home", tmp_path, "--json").code == 2


def test_predictions_in_every_format(home, tmp_path):
    listed = stored(home)
    assert len(listed) == 4 * 24
    for form in ("csv", "parquet", "json"):
        out = tmp_path / f"out.{form}"
        written = headrace("predictions", ENERGY, "--home", home, "--format", form, "--out", out)
        assert (written.code, written.out) == (0, f"96 rows in {out}\n")
    text = {"infer_schema": False}
    frames = [pl.read_csv(tmp_path / "out.csv", **text), pl.read_parquet(tmp_path / "out.parquet")]
    for frame in [*frames, pl.DataFrame(json.loads((tmp_path / "out.json").read_text()), infer_schema_length=None)]:
        assert frame["id"].to_list() == [row["id"] for row in listed]
        assert frame["value"].cast(float).to_list() == [row["value"] for row in listed]
    assert headrace("predictions", ENERGY, "--home", home, "--format", "csv").out == (tmp_path / "out.csv").read_text()
    assert headrace("predictions", ENERGY, "--home", home, "--out", tmp_path / "out.txt").code == 2
    assert headrace("predictions", ENERGY, "--home", home, "--format", "xml").code == 2
    assert headrace("predictions", ENERGY, "--home", home, "--format", "parquet").code == 2


def test_json_and_a_file_of_predictions(home, tmp_path):
    base = ("predictions", ENERGY, "--home", home, "--json")
    for name, form in (("a.parquet", "parquet"), ("a.csv", "csv"), ("a.json", "json"), ("rows", "json")):
        out = tmp_path / name
        assert headrace(*base, "--out", out).json == {"rows": 96, "format": form, "out": str(out)}
    assert pl.read_parquet(tmp_path / "a.parquet").height == pl.read_csv(tmp_path / "a.csv").height == 96
    assert len(json.loads((tmp_path / "a.json").read_text())) == 96
    assert headrace(*base, "--out", tmp_path / "b", "--format", "csv").json["format"] == "csv"
    assert (tmp_path / "b").read_text() == (tmp_path / "a.csv").read_text()
    assert len(headrace(*base, "--format", "csv").json) == 96  # on stdout there is one JSON document
    refused(headrace(*base, "--format", "xml"), 2, "UsageError")


def test_predictions_where_and_as_of(home):
    energy("predict", home, as_of=AS_OF + timedelta(hours=2))
    everything = stored(home)
    assert len(everything) == 2 * 96
    one = stored(home, "--where", "area=DK2", "--where", "industry=215", "--where", "ahead=3")
    assert [(row["area"], row["industry"], row["ahead"]) for row in one] == [("DK2", "215", 3)] * 2
    stood = stored(home, "--as-of", (AS_OF + timedelta(hours=1)).isoformat())
    assert {row["as_of"] for row in stood} == {"2023-01-20T16:00:00Z"}
    base = ("predictions", ENERGY, "--home", home, "--json", "--where")
    assert refused(headrace(*base, "area=DK7"), 2, "NotFoundError")["message"] == "energy has no series DK7"
    assert stored(home, "--where", "area=DK2", "--where", "ahead=25") == []
    assert "industry" in refused(headrace(*base, "color=red"), 2, "NotFoundError")["hint"]
    refused(headrace(*base, "area"), 2, "UsageError")
    refused(headrace(*base, "area=DK1", "--as-of", "2023-01-20T16:00:00"), 2, "UsageError")


def test_trace_and_replay(home):
    row = stored(home)[17]
    chain = headrace("trace", row["id"], "--home", home, "--json").json
    assert chain["id"] == row["id"]
    assert set(chain["pins"]) == {
        *("as_of", "model_version", "model_digest", "feature_version"),
        *("data_version", "config_digest", "code_revision"),
    }
    assert chain["run"]["run_id"] == row["run_id"]
    assert chain["run"]["config"]["model"]["n_estimators"] == 5
    again = headrace("replay", row["id"], "--home", home, "--json")
    assert (again.code, again.json["stored"], again.json["identical"]) == (0, row["value"], True)
    assert again.json["replayed"] == row["value"]


def test_two_versions_and_back(home):
    later = AS_OF + timedelta(days=2)
    write(home / "more.csv", rows(AS_OF, 48))
    trained = energy("train", home, "--source", f"file:{home}/more.csv", as_of=later)
    assert [step["name"] for step in trained.json["steps"]] == ["ingest", "validate", "train"]
    assert (trained.code, trained.json["trained"], trained.json["model"]["version"]) == (0, True, 2)

    def state(ran):
        assert ran.code == 0, ran.err
        return ran.json["champion"], {each["version"] for each in ran.json["versions"]}

    base = (ENERGY, "--home", home, "--json")
    assert state(headrace("promote", ENERGY, 2, *base[1:])) == (2, {1, 2})
    at_two = energy("predict", home, as_of=later).json
    assert at_two["pins"]["model_version"] == 2
    assert state(headrace("rollback", *base)) == (1, {1, 2})
    assert state(headrace("models", *base)) == (1, {1, 2})
    at_one = energy("predict", home, as_of=later).json
    assert at_one["pins"]["model_version"] == 1
    newest = [row for row in stored(home) if row["as_of"] != "2023-01-20T16:00:00Z"]
    assert [row["model_version"] for row in newest] == [1] * 96
    assert at_one["stored"] == at_two["stored"] == 96  # the rolled-back version's predictions are kept beside them
    refused(headrace("promote", ENERGY, 9, *base[1:]), 2, "NotFoundError")
    assert headrace("rollback", *base).code == 2
    assert state(headrace("promote", ENERGY, 2, *base[1:])) == (2, {1, 2})


def test_init_makes_a_system_that_runs(inside, home):
    made = headrace("init", "wind", "--json")
    assert made.code == 0
    assert all(Path(each).is_file() for each in made.json["files"])
    assert made.json["next"] == "headrace run wind"
    small = ("--set", "model.n_estimators=5", "--set", "model.max_rows=1000", "--source", "simulated:?series=2&days=40")
    ran = headrace("run", "wind", "--home", home, "--json", "--as-of", AS_OF.isoformat(), *small)
    assert ran.code == 0, ran.err
    assert (ran.json["system"], ran.json["predictions"]) == ("wind", 2 * 24)
    refused(headrace("init", "wind", "--json"), 2, "UsageError")
    for name in ("Wind", "../wind", "1wind", ""):
        refused(headrace("init", name, "--json"), 2, "UsageError")
    test = subprocess.run([sys.executable, "-m", "pytest", "-q", "systems/wind"], capture_output=True, check=False)
    assert test.returncode == 0, test.stdout.decode()


def test_init_like_another_system(inside):
    made = headrace("init", "power", "--like", ENERGY, "--json")
    assert made.code == 0, made.err
    listed = headrace("models", "power", "--json", "--home", inside / "h")
    assert listed.json["system"] == "power"
    assert headrace("init", "heat", "--like", "power").code == 0  # by its name below systems/
    assert headrace("models", "heat", "--json", "--home", inside / "h").json["system"] == "heat"
    (inside / "systems/heat/notes").mkdir()
    (inside / "systems/heat/notes/heat.txt").write_text("heat, preheated, test_heat.py")
    (inside / "systems/heat/picture.png").write_bytes(b"\x89PNG heat \xff")
    assert headrace("init", "steam", "--like", "heat").code == 0
    assert (inside / "systems/steam/notes/steam.txt").read_text() == "steam, preheated, test_steam.py"
    assert "test_steam.py" in (inside / "systems/steam/README.md").read_text()
    assert (inside / "systems/steam/picture.png").read_bytes() == b"\x89PNG heat \xff"
    assert not list((inside / "systems/steam").rglob("*.pyc"))
    error = refused(headrace("init", "cold", "--like", "nothing", "--json"), 2, "NotFoundError")
    assert error["hint"] == "systems here: energy, heat, live_metrics, power, price_alchemy, steam, titanic"
    assert not (inside / "systems" / "cold").exists()


def test_doctor(inside, home):
    ran = headrace("doctor", "--home", home, "--json")
    assert (ran.code, ran.json["healthy"]) == (0, True)
    found = {each["what"]: each for each in ran.json["findings"]}
    assert "energy: raw version 1" in found["store"]["said"]
    headrace("init", "wind")
    (inside / "systems/wind/system.py").write_text("system = 3\n")
    broken = headrace("doctor", "--home", home, "--json")
    assert (broken.code, broken.json["healthy"]) == (1, False)
    assert any(each["what"] == "systems" and "wind" in each["said"] for each in broken.json["findings"])
    told = refused(headrace("run", "wind", "--json"), 2, "DeclarationError")
    assert told["where"].endswith("systems/wind/system.py")


@pytest.mark.parametrize("command", ["run", "ingest", "train", "predict", "monitor", "rollback"])
def test_a_time_after_the_clock_is_refused_where_something_is_written(tmp_path, command):
    ran = headrace(command, ENERGY, "--home", tmp_path, "--json", "--as-of", "2999-01-01T00:00:00Z")
    told = refused(ran, 2, "UsageError")
    assert told["where"] == "--as-of"
    assert "after the clock" in told["message"]
    assert "--simulated" in told["hint"]
    assert not (tmp_path / "store").exists()


def test_a_simulation_may_be_ahead_of_the_clock(tmp_path):
    span = ("--start", "2998-01-01T00:00:00Z", "--end", "2998-01-01T02:00:00Z", "--every", "1h")
    refused(headrace("backfill", ENERGY, "--home", tmp_path, "--json", *span), 2, "UsageError")
    simulated = ("--source", "simulated:?series=2&days=10", "--as-of", "2998-01-01T00:00:00Z", "--simulated")
    ran = headrace("ingest", ENERGY, "--home", tmp_path, "--json", *SMALL, *simulated)
    assert ran.code == 0
    assert ran.json["ingested"] > 0
