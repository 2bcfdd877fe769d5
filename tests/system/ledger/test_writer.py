"""The writer: groups, bounds, and an answer for everyone."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.waiting import PATIENCE, until

from headrace.errors import HeadraceError, LedgerError, LedgerFullError, LedgerUnavailableError
from headrace.home import Home
from headrace.ledger import Entry, LedgerWriter
from headrace.settings import Settings, load_settings
from headrace.testing.ledger import NOW


def entry(key: str) -> Entry:
    return Entry("titanic", key, key, "d", b"{}", b"{}", "p", 1, NOW)


class Ledger:
    """Stands in for the ledger: its commits wait for `go`, and fail when told to."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.go = threading.Event()
        self.taken = threading.Event()
        self.error: Exception | None = None

    def write_groups(self, groups: Sequence[Sequence[Entry]]) -> list[Any]:
        self.taken.set()
        assert self.go.wait(PATIENCE)
        self.batches.append([e.key for group in groups for e in group])
        if self.error:
            raise self.error
        return [list(group) for group in groups]


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def held(ledger: Ledger, **options: Any) -> LedgerWriter:
    """A writer whose first commit, of the key 0, is under way."""
    writer = LedgerWriter(ledger, **options)
    writer.submit([entry("0")], lambda _: None)
    assert ledger.taken.wait(PATIENCE)
    return writer


class Clock:
    """Stands in for the module `time`: between any two looks as much time goes by as the test says."""

    now, passes = 0.0, 10 * PATIENCE

    def perf_counter(self) -> float:
        self.now += self.passes
        return self.now


def test_a_commit_waits_for_those_who_ask_again(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("headrace.ledger.writer._PATIENCE", 2 * PATIENCE)
    monkeypatch.setattr("headrace.ledger.writer.time", clock)
    writer = held(ledger)
    for key in ("1", "2", "3"):
        writer.submit([entry(key)], lambda _: None)
    ledger.go.set()
    until(lambda: ledger.batches)
    time.sleep(0.1)
    assert ledger.batches == [["0"]]  # it was one of four that were under way
    clock.passes = 0.02
    writer.submit([entry("4")], lambda _: None)
    until(lambda: len(ledger.batches) == 2)
    assert ledger.batches[1] == ["1", "2", "3", "4"]
    # Nobody comes: the wait ends. Then there is nobody to wait for.
    writer.submit([entry("5")], lambda _: None)
    until(lambda: len(ledger.batches) == 3)
    writer.submit([entry("6")], lambda _: None)
    until(lambda: len(ledger.batches) == 4)
    writer.close()
    assert ledger.batches[2:] == [["5"], ["6"]]


def test_what_came_during_a_commit_is_committed_together(ledger: Ledger) -> None:
    calls: list[int] = []
    answers: list[Any] = []

    def on_batch(thunks: list[Any]) -> None:
        calls.append(len(thunks))
        for thunk in thunks:
            thunk()

    writer = held(ledger, batch=4, on_batch=on_batch)
    sent = [[entry("1"), entry("2")], [entry("3")], [entry("4"), entry("5")], [entry(str(i)) for i in range(6, 12)]]
    for submission in sent:
        writer.submit(submission, answers.append)
    assert writer.waiting == 11
    ledger.go.set()
    writer.close()
    # Whole submissions up to four entries; a larger one goes alone.
    assert ledger.batches == [["0"], ["1", "2", "3"], ["4", "5"], [str(i) for i in range(6, 12)]]
    assert calls == [1, 2, 1, 1]
    assert answers == sent
    assert writer.waiting == 0


def test_a_full_queue_refuses_at_once(ledger: Ledger) -> None:
    writer = held(ledger, capacity=2)
    writer.submit([entry("1"), entry("2")], lambda _: None)
    with pytest.raises(LedgerFullError):
        writer.submit([entry("3")], lambda _: None)
    assert ledger.batches == []  # nothing has been written since
    ledger.go.set()
    writer.close()
    assert ledger.batches == [["0"], ["1", "2"]]


def test_while_the_database_is_away_everyone_who_waits_is_told(ledger: Ledger) -> None:
    answers: list[Any] = []
    writer = held(ledger, batch=1)
    for key in "123":
        writer.submit([entry(key)], answers.append)
    ledger.error = LedgerUnavailableError("away")
    ledger.go.set()
    until(lambda: len(answers) == 3)
    assert answers == [ledger.error] * 3
    assert len(ledger.batches) == 1  # one wait for all of them
    ledger.error = None
    writer.submit([entry("4")], answers.append)
    writer.close()
    assert answers[3] == [entry("4")]


def test_closing_writes_what_waits_and_fails_what_is_late(ledger: Ledger) -> None:
    answers: list[Any] = []
    writer = held(ledger)
    writer.submit([entry("1")], answers.append)
    writer.close(timeout=0.1)
    assert isinstance(answers[0], LedgerUnavailableError)
    with pytest.raises(LedgerUnavailableError):
        writer.submit([entry("2")], answers.append)
    ledger.go.set()
    writer.close()
    assert ledger.batches == [["0"]]


def test_mistakes_of_others_do_not_end_the_writer(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    answers: list[Any] = []

    def broken(_: object) -> None:
        raise RuntimeError("the loop is closed")

    ledger.go.set()
    writer = LedgerWriter(ledger)
    writer.submit([entry("1")], broken)
    writer.submit([entry("2")], answers.append)
    writer.close()
    assert "the loop is closed" in caplog.text
    ledger.error = ZeroDivisionError()
    writer = LedgerWriter(ledger)
    writer.submit([entry("3")], answers.append)
    writer.close()
    assert answers[0] == [entry("2")]
    assert isinstance(answers[1], LedgerError)


def test_the_home_has_a_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Home(Settings(home=tmp_path / "home with spaces? #1")).ledger
    ledger.ping()
    ledger.close()
    assert (tmp_path / "home with spaces? #1" / "ledger.db").exists()
    monkeypatch.setenv("HEADRACE_LEDGER_URI", "postgresql://me:sesame@127.0.0.1:1/none")
    away = load_settings(tmp_path)
    assert "sesame" not in repr(away)
    with pytest.raises(HeadraceError) as caught:
        _ = Home(away).ledger
    assert isinstance(caught.value, LedgerUnavailableError)
    assert "sesame" not in str(caught.value)
    assert "127.0.0.1:1/none" in str(caught.value)
    for uri in ("postgresql://me:ses/ame@127.0.0.1:1/none", "postgresql://me:x@sesame@127.0.0.1:1/none"):
        with pytest.raises(HeadraceError) as caught:
            _ = Home(Settings(home=tmp_path, ledger_uri=uri)).ledger
        assert "ame@" not in str(caught.value)


def test_the_room_loads_without_sqlalchemy() -> None:
    program = "import sys, headrace.ledger; sys.exit('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
