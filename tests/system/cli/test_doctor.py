"""What `doctor` says of the HTTP door: features that are slow there, the ledger, an open server."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from tests.commands import Ran, headrace

from headrace.ledger import Ledger
from headrace.settings import PREFIX

ROOT = Path(__file__).resolve().parents[3]


def said(ran: Ran) -> dict[str, tuple[str, str]]:
    return {each["what"]: (each["status"], each["said"]) for each in ran.json["findings"]}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a system of rows that has a slow feature, and one that has none."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "tests/system/serving/http/shop", tmp_path / "systems/shop")
    shutil.copytree(ROOT / "systems/titanic", tmp_path / "systems/titanic")
    return tmp_path


def test_slow_features_are_named(folder: Path) -> None:
    ran = headrace("doctor", "--home", folder / "home", "--json")
    found = said(ran)
    assert found["row features of shop"] == ("warning", "slow, without a form for one row: value")
    assert found["row features of titanic"][0] == "ok"
    assert ran.code == 0


def test_the_ledger_is_asked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = folder / "home"
    assert said(headrace("doctor", "--home", home, "--json"))["ledger"] == ("ok", "nothing logged yet")
    assert not (home / "ledger.db").exists()
    Ledger.open(f"sqlite:///{home}/ledger.db").close()
    assert said(headrace("doctor", "--home", home, "--json"))["ledger"] == ("ok", "answers")
    monkeypatch.setenv("HEADRACE_LEDGER_URI", "postgresql://ann:sesame@127.0.0.1:9/none")
    ran = headrace("doctor", "--home", home, "--json")
    assert (ran.code, said(ran)["ledger"][0]) == (1, "failed")
    assert "sesame" not in ran.out


def test_an_open_server_is_information(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, text = said(headrace("doctor", "--home", folder / "home", "--json"))["HTTP tokens"]
    assert (status, "HEADRACE_TOKENS" in text) == ("ok", True)
    monkeypatch.setenv("HEADRACE_TOKENS", '{"sesame": ["*:read"]}')
    ran = headrace("doctor", "--home", folder / "home", "--json")
    assert said(ran)["HTTP tokens"] == ("ok", "1 known")
    assert "sesame" not in ran.out
    monkeypatch.setenv("HEADRACE_TOKENS", '{"sesame": ["*:writes"]}')
    assert said(headrace("doctor", "--home", folder / "home", "--json"))["HTTP tokens"][0] == "failed"


def test_databases_and_servers_that_are_away_are_told_without_their_secrets(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, where in (("ONLINE_URI", "online features"), ("TRACKING_URI", "model tracking")):
        scheme = "postgresql" if name == "ONLINE_URI" else "http"
        with monkeypatch.context() as patch:
            patch.setenv(PREFIX + name, f"{scheme}://ann:sesame@127.0.0.1:9/none")
            ran = headrace("doctor", "--home", folder / "home", "--json")
        assert (ran.code, said(ran)[where][0]) == (1, "failed")
        assert "sesame" not in ran.out
    for uri in ("http://ann:sesame@host:port/none", "http://ann:sesame@[/none", "http://ann:sesame@h\t/"):
        monkeypatch.setenv(f"{PREFIX}TRACKING_URI", uri)
        ran = headrace("doctor", "--home", folder / "home", "--json")
        assert (ran.code, said(ran)["model tracking"][0]) == (1, "failed")
        assert "sesame" not in ran.out


def test_a_cluster_that_is_away_is_told_in_bounded_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("confluent_kafka")
    monkeypatch.setattr("headrace.serving.stream.examination.SECONDS", 0.5)
    assert not [what for what in said(headrace("doctor", "--home", folder / "home", "--json")) if "Kafka" in what]
    secret = '{"bootstrap.servers": "127.0.0.1:9", "sasl.password": "sesame"}'
    for given, secrets in ((("--bootstrap", "127.0.0.1:9"), "{}"), ((), secret)):
        monkeypatch.setenv(f"{PREFIX}KAFKA", secrets)
        began = time.monotonic()
        ran = headrace("doctor", "--home", folder / "home", "--json", *given)
        assert time.monotonic() - began < 10
        assert (ran.code, said(ran)["Kafka"][0]) == (1, "failed")
        assert "127.0.0.1:9" in said(ran)["Kafka"][1]
        assert "sesame" not in ran.out


def test_misspelt_variables_and_values_that_are_no_json_are_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert said(headrace("doctor", "--home", folder / "home", "--json"))["environment"][0] == "ok"
    monkeypatch.setenv("HEADRACE_LEDGR_URI", "sqlite:////x")
    told = said(headrace("doctor", "--home", folder / "home", "--json"))["environment"]
    assert told == ("warning", "HEADRACE_LEDGR_URI is no setting, did you mean HEADRACE_LEDGER_URI?")
    monkeypatch.setenv("HEADRACE_TOKENS", "sesame")
    ran = headrace("doctor", "--home", folder / "home", "--json")
    assert (ran.code, ran.json["error"], ran.json["where"]) == (2, "ConfigError", "HEADRACE_TOKENS")
    assert "sesame" not in ran.out + ran.err


def test_a_last_run_that_failed_is_a_warning(folder: Path) -> None:
    assert headrace("ingest", "titanic", "--source", "file:nothing.csv", "--home", folder / "home").code == 1
    ran = headrace("doctor", "--home", folder / "home", "--json")
    status, text = said(ran)["last run of titanic"]
    assert (ran.code, status) == (0, "warning")
    assert "nothing.csv: there is no such file" in text
