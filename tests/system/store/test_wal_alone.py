"""A write-ahead log whose file is gone or empty: SQLite deletes it when it opens that file, with all that it holds."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.commands import headrace

from headrace.errors import LedgerUnavailableError, StoreError
from headrace.home import Home
from headrace.ledger import Ledger
from headrace.settings import Settings
from headrace.sinks.journal import Journal
from headrace.store.wal import damage, read_only
from headrace.testing.ledger import entry

pytestmark = pytest.mark.fault
AMISS = "empty or gone, but its write-ahead log has content"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose ledger has one entry, which stands in the log alone: what wrote it was killed."""
    live = Home(Settings(home=tmp_path / "live"))
    live.ledger.write([entry(live.ledger, "before")])
    shutil.copytree(live.path, tmp_path / "home", ignore=shutil.ignore_patterns("*-shm"))
    live.ledger.close()
    return tmp_path / "home"


def emptied(home: Path) -> None:
    (home / "ledger.db").rename(home / "away")
    (home / "ledger.db").touch()


def moved(home: Path) -> None:
    (home / "ledger.db").rename(home / "away")


def stored(home: Path) -> list[str]:
    (home / "away").replace(home / "ledger.db")
    with closing(Ledger.open(f"sqlite:///{home}/ledger.db")) as ledger:
        return [each.key for _, each in ledger.read("titanic")]


@pytest.mark.parametrize("change", [emptied, moved])
def test_a_ledger_is_not_opened_beside_the_log_of_another(home: Path, change: Callable[[Path], None]) -> None:
    change(home)
    for _ in range(2):
        with pytest.raises(LedgerUnavailableError, match=AMISS):
            Ledger.open(f"sqlite:///{home}/ledger.db")
    assert (home / "ledger.db").exists() == (change is emptied), "nothing is made where the right one is to be put back"
    assert stored(home) == ["before"]


def test_a_link_leads_to_the_log(home: Path, tmp_path: Path) -> None:
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "ledger.db").symlink_to(home / "ledger.db")
    emptied(home)
    with pytest.raises(LedgerUnavailableError, match=AMISS):
        Ledger.open(f"sqlite:///{tmp_path}/linked/ledger.db")
    assert stored(home) == ["before"]


@pytest.mark.parametrize("change", [emptied, moved])
def test_whoever_only_looks_leaves_the_log(home: Path, change: Callable[[Path], None]) -> None:
    """SQLite deletes it even where it was told to change nothing."""
    change(home)
    with pytest.raises(sqlite3.OperationalError):
        read_only(home / "ledger.db")
    assert damage(home / "ledger.db", deep=True)
    for command in ("verify", "doctor"):
        done = headrace(command, "--home", home, "--json")
        assert done.code == 1, f"{command}: {done.out}"
        assert AMISS in done.out or "is gone" in done.out, f"{command}: {done.out}"
    assert stored(home) == ["before"]


def test_a_log_without_content_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "ledger.db-wal").touch()
    with closing(Ledger.open(f"sqlite:///{tmp_path}/ledger.db")) as ledger:
        ledger.write([entry(ledger, "first")])
        assert len(ledger.read("titanic")) == 1


def test_a_journal_is_not_begun_anew_beside_its_log(tmp_path: Path) -> None:
    (tmp_path / "journal.db-wal").write_bytes(b"requests that were written down")
    with pytest.raises(StoreError, match=AMISS):
        Journal(tmp_path / "journal.db")
    assert (tmp_path / "journal.db-wal").read_bytes() == b"requests that were written down"
    assert not (tmp_path / "journal.db").exists()
