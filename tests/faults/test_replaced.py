"""The ledger moved, removed, replaced or put back to an earlier state under a process that has it open."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from tests.postgres import Postgres

from headrace.errors import LedgerReplacedError, LedgerUnavailableError
from headrace.ledger import Ledger
from headrace.testing.ledger import entry

pytestmark = pytest.mark.fault

Change = Callable[[Path], None]


def at(home: Path) -> str:
    return f"sqlite:///{home}/ledger.db"


def keys(ledger: Ledger) -> list[str]:
    return [each.key for _, each in ledger.read("titanic")]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder behind a link, as a home may be, with a ledger of one entry; beside it a backup from before that."""
    (tmp_path / "first").mkdir()
    (tmp_path / "home").symlink_to("first")
    made = Ledger.open(at(tmp_path / "home"))
    made.close()
    shutil.copytree(tmp_path / "first", tmp_path / "backup")
    return tmp_path / "home"


def moved_home(home: Path) -> None:
    (home.parent / "first").rename(home.parent / "moved")


def moved_file(home: Path) -> None:
    (home / "ledger.db").rename(home / "moved.db")


def removed(home: Path) -> None:
    for each in home.glob("ledger.db*"):
        each.unlink()


def restored(home: Path) -> None:
    moved_home(home)
    shutil.copytree(home.parent / "backup", home.parent / "first")


def restored_file(home: Path) -> None:
    shutil.copy(home.parent / "backup" / "ledger.db", home / "new.db")
    (home / "new.db").rename(home / "ledger.db")


def other_link(home: Path) -> None:
    home.unlink()
    home.symlink_to("backup")


def hard_link(home: Path) -> None:
    (home / "ledger.db").rename(home / "moved.db")
    (home / "ledger.db").hardlink_to(home.parent / "backup" / "ledger.db")


def without_log(home: Path) -> None:
    (home / "ledger.db-wal").unlink()


def other_log(home: Path) -> None:
    shutil.copy(home / "ledger.db-wal", home / "new")
    (home / "new").rename(home / "ledger.db-wal")


def without_index(home: Path) -> None:
    (home / "ledger.db-shm").unlink()


def cut(home: Path) -> None:
    os.truncate(home / "ledger.db", 0)


def cut_short(home: Path) -> None:
    os.truncate(home / "ledger.db", 8192)


def emptied(home: Path) -> None:
    (home / "new.db").touch()
    (home / "new.db").rename(home / "ledger.db")


def put_back(home: Path) -> None:
    """As `sqlite3 ledger.db '.restore backup.db'` does it: by SQLite itself, in the same file."""
    files = (home.parent / "backup" / "ledger.db", home / "ledger.db")
    with closing(sqlite3.connect(files[0])) as old, closing(sqlite3.connect(files[1])) as now:
        old.backup(now)


CHANGES: list[Change] = [
    *(moved_home, moved_file, removed, restored, restored_file, other_link, hard_link, without_log, other_log),
    *(without_index, cut, cut_short, emptied, put_back),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda each: each.__name__)
@pytest.mark.parametrize("open_again", [False, True], ids=["kept", "pooled"])
def test_nothing_goes_to_a_file_that_is_not_the_one_opened(home: Path, change: Change, open_again: bool) -> None:
    ledger = Ledger.open(at(home))
    ledger.write([entry(ledger, "before")])
    change(home)
    before = sorted(each.name for each in home.parent.rglob("*"))
    if open_again:
        ledger._database._engine.dispose()
    with pytest.raises(LedgerReplacedError):
        ledger.write([entry(ledger, "after")])
    with pytest.raises(LedgerReplacedError):
        ledger.extend("titanic", 0, lambda newer, standing: [("[]", entry(ledger, "event"))])
    with pytest.raises(LedgerReplacedError):
        ledger.ping()
    if change is not put_back:  # what was stored before may still be read there
        with pytest.raises(LedgerReplacedError):
            ledger.find("titanic", "before")
    assert sorted(each.name for each in home.parent.rglob("*")) == before, "nothing is made where nothing was"


@pytest.mark.parametrize("folder", [True, False])
def test_it_goes_on_when_the_file_is_back(home: Path, folder: bool) -> None:
    here = home.parent / "first" if folder else home / "ledger.db"
    away = here.with_name("away")
    ledger = Ledger.open(at(home))
    ledger.write([entry(ledger, "before")])
    here.rename(away)
    with pytest.raises(LedgerReplacedError):
        ledger.write([entry(ledger, "during")])
    away.rename(here)
    ledger.ping()
    ledger.write([entry(ledger, "after")])
    assert keys(ledger) == ["before", "after"]
    assert keys(Ledger.open(at(home))) == ["before", "after"]


@pytest.mark.parametrize("how", ["by hand", "by a tool that opens an empty file"])
def test_a_deleted_log_is_named_and_a_clean_end_writes_what_it_held(home: Path, how: str) -> None:
    ledger = Ledger.open(at(home))
    ledger.write([entry(ledger, "before")])
    if how == "by hand":
        (home / "ledger.db-wal").unlink()
    else:
        (home / "ledger.db").rename(home / "away")
        (home / "ledger.db").touch()
        with closing(sqlite3.connect(home / "ledger.db")) as other:
            other.execute("PRAGMA user_version").fetchone()
        (home / "away").replace(home / "ledger.db")
    assert not (home / "ledger.db-wal").exists()
    with pytest.raises(LedgerReplacedError, match=r"its write-ahead log is gone") as refused:
        ledger.write([entry(ledger, "after")])
    assert "SIGTERM" in str(refused.value)
    ledger.close()
    with closing(Ledger.open(at(home))) as again:
        assert keys(again) == ["before"]
        again.write([entry(again, "after")])


def test_compacting_it_is_no_loss(home: Path) -> None:
    ledger = Ledger.open(at(home))
    ledger.write([entry(ledger, str(n), inputs=bytes(2000)) for n in range(2000)])
    with closing(sqlite3.connect(home / "ledger.db", isolation_level=None)) as other:
        other.execute("DELETE FROM predictions WHERE sequence < 1900")
        other.execute("VACUUM")
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    ledger.write([entry(ledger, "after")])
    ledger.ping()
    assert keys(ledger)[-1] == "after"


def test_a_process_that_wrote_nothing_yet_notices_an_earlier_state(home: Path) -> None:
    """By what it saw when it looked, or by what its own lineage is about."""
    writing, looking = Ledger.open(at(home)), Ledger.open(at(home))
    writing.write([entry(writing, "before")])
    looking.ping()
    put_back(home)
    with pytest.raises(LedgerReplacedError):
        looking.ping()


@pytest.mark.parametrize("change", ["forget", "rename"])
def test_a_system_that_goes_is_no_loss_to_a_process_that_serves_another(home: Path, change: str) -> None:
    serving, other = Ledger.open(at(home)), Ledger.open(at(home))
    serving.pin({"not": "answered with yet"})
    other.write([entry(other, "before", system="other", pins=other.pin({"of": "other"}))])
    serving.ping(["titanic"])
    other.owned.forget("other") if change == "forget" else other.owned.rename("other", "new")
    serving.ping(["titanic"])
    serving.write([entry(serving, "after")])
    other.owned.forget("titanic")
    with pytest.raises(LedgerReplacedError):
        serving.ping(["titanic"])


def test_an_earlier_state_is_noticed_by_each_system_that_is_served(home: Path) -> None:
    writing, looking = Ledger.open(at(home)), Ledger.open(at(home))
    writing.write([entry(writing, "before", system="first"), entry(writing, "before", system="second")])
    looking.ping(["first"])
    put_back(home)
    with pytest.raises(LedgerReplacedError):
        looking.ping(["first"])


def test_a_process_that_starts_later_takes_no_other_ledger_up(home: Path) -> None:
    """As a worker does that takes the place of one that died."""
    first = Ledger.open(at(home))
    first.write([entry(first, "before")])
    known = first.known
    assert keys(Ledger.open(at(home), known=known)) == ["before"]
    for change in (restored, moved_home):
        change(home)
        for _ in range(2):
            with pytest.raises(LedgerReplacedError):
                Ledger.open(at(home), known=known)
        shutil.rmtree(home.parent / "first", ignore_errors=True)
        assert not (home.parent / "first").exists()
        (home.parent / "moved").rename(home.parent / "first")
    assert keys(Ledger.open(at(home), known=known)) == ["before"]


@pytest.mark.parametrize("name", ["ledger.db-wal", "ledger.db-shm"])
def test_a_process_that_starts_while_files_come_back_one_by_one_waits_for_all(home: Path, name: str) -> None:
    """Without the log it would read an earlier state, and write to a log that is about to be replaced."""
    first = Ledger.open(at(home))
    first.write([entry(first, "before")])
    known = first.known
    (home / name).rename(home / "away")
    before = sorted(each.name for each in home.iterdir())
    with pytest.raises(LedgerReplacedError):
        Ledger.open(at(home), known=known)
    assert sorted(each.name for each in home.iterdir()) == before
    (home / "away").rename(home / name)
    assert keys(Ledger.open(at(home), known=known)) == ["before"]


@pytest.fixture
def server():
    """A PostgreSQL server of the test's own."""
    made = Postgres()
    yield made
    made.close()


def run(uri: str, *statements: str) -> None:
    engine = create_engine(uri.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for each in statements:
            connection.execute(text(each))
    engine.dispose()


def test_another_database_behind_the_same_uri_is_refused(server: Postgres) -> None:
    admin, uri = f"{server.uri}postgres", f"{server.uri}ledger"
    run(admin, "CREATE DATABASE ledger")
    Ledger.open(uri).close()
    run(admin, "CREATE DATABASE backup TEMPLATE ledger", "CREATE DATABASE empty")
    ledger = Ledger.open(uri)
    idle = Ledger.open(uri)
    ledger.write([entry(ledger, "before")])
    ledger.ping()
    idle.ping()

    def put(name: str, away: str) -> None:
        """Another database takes the place, as where another server does after a failover."""
        end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname NOT IN ('postgres')"
        run(admin, end, f"ALTER DATABASE ledger RENAME TO {away}", f"ALTER DATABASE {name} RENAME TO ledger")

    for other in ("backup", "empty"):
        put(other, "aside")
        for each in (ledger, idle):
            for _ in range(2):
                with pytest.raises(LedgerReplacedError):
                    each.write([entry(ledger, "during")])
                with pytest.raises(LedgerReplacedError):
                    each.ping()
        put("aside", other)
        ledger.write([entry(ledger, f"after {other}")])
        ledger.ping()
        idle.ping()
    assert keys(ledger) == ["before", "after backup", "after empty"]
    for each in (ledger, idle):
        each.close()


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE events, predictions, pins CASCADE",
        "TRUNCATE predictions CASCADE",
        "DELETE FROM predictions",
        "DROP TABLE ledger_identity",
        "UPDATE ledger_identity SET id = 'other'",
        "ALTER TABLE predictions RENAME TO old",
    ],
)
def test_tables_that_are_not_those_any_more(postgres_database: str, statement: str) -> None:
    ledger = Ledger.open(postgres_database)
    ledger.write([entry(ledger, "before")])
    run(postgres_database, statement)
    if "identity" not in statement:  # which is looked at where a connection is new, and by every ping
        with pytest.raises(LedgerReplacedError):
            ledger.write([entry(ledger, "after")])
    with pytest.raises(LedgerReplacedError):
        ledger.ping()
    ledger.close()


def test_a_server_that_takes_no_writes_is_told_without_writing(postgres_database: str) -> None:
    ledger = Ledger.open(postgres_database)
    ledger.ping()
    name = postgres_database.rpartition("/")[2].partition("?")[0]
    run(postgres_database, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    ledger._database._engine.dispose()
    with pytest.raises(LedgerUnavailableError, match="read-only"):
        ledger.ping()
