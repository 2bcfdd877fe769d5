"""A home, a store, a ledger and a source that are named from the folder below: every command finds them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.commands import headrace
from tests.servers import SMALL, SOURCE, TITANIC, titanic_template

READS = ["models", "predictions", "runs", "predict", "monitor", "export", "verify", "doctor", "trace", "replay"]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return titanic_template(tmp_path_factory.getbasetemp())


def test_commands_find_a_home_above(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each says what it says of the same home by its whole path."""
    home, below = tmp_path / "home", tmp_path / "a" / "b"
    shutil.copytree(template, home)
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    name = headrace("predictions", TITANIC, "--home", home, "--json").json[0]["id"]
    own = {
        "trace": (name,),
        "replay": (name,),
    }
    own |= dict.fromkeys(("verify", "doctor"), ())
    wrong = []
    for command in READS:
        done = headrace(command, *own.get(command, (TITANIC,)), "--home", "../../home", "--json")
        if done.code:
            wrong.append(f"{command}: {done.out[:500]}{done.err[:500]}")
    assert wrong == []


def test_everything_may_be_named_from_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables, ledger and source too."""
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    monkeypatch.setenv("HEADRACE_STORE_URI", "../../tables")
    monkeypatch.setenv("HEADRACE_LEDGER_URI", "sqlite:///../../ledger.db")
    for first in (True, False):
        done = headrace("run", TITANIC, "--home", "../home", "--json", *SMALL[TITANIC], "--source", SOURCE[TITANIC])
        assert done.code == 0, done.out + done.err
        assert done.json["trained"] is first
    read = headrace("predictions", TITANIC, "--home", "../home", "--json")
    assert read.code == 0, read.out
    (tmp_path / "rows.csv").write_text("Nothing\n1\n")
    refused = headrace("ingest", TITANIC, "--home", "../home", "--json", "--source", "file:../../rows.csv")
    assert "not found" not in refused.out
    assert {each.name.partition("-")[0] for each in tmp_path.iterdir()} == {"a", "ledger.db", "rows.csv", "tables"}


def test_a_folder_above_a_link_is_where_the_system_finds_it(template: Path, tmp_path: Path) -> None:
    """And a home that is a link stays one: what it leads to may change."""
    from headrace.files import absolute

    (tmp_path / "there" / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "there" / "inner")
    assert absolute(tmp_path / "link" / ".." / "home") == tmp_path / "there" / "home"
    assert absolute(tmp_path / "link") == tmp_path / "link"
    assert absolute(Path("x")) == Path.cwd() / "x"
