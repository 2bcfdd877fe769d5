"""What every executor must do."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from headrace.errors import HeadraceError, UsageError
from headrace.executors import Executor, Running
from headrace.testing.tasks import (
    dies,
    doubled,
    ends_at_once,
    killed,
    process_of,
    refuse,
    returns_much,
    works_until_told,
)

PATIENCE = 60.0
"""Seconds that a process has to start or to end."""


class ExecutorSuite:
    """An executor does every task once, tells failures as they are, and leaves no process behind.

    Give the executor:

        class TestMine(ExecutorSuite):
            @pytest.fixture
            def executor(self): return MyExecutor()

    Where its processes run on other machines, their modules must be there too, headrace's among them.
    """

    @pytest.fixture
    def executor(self) -> Executor:
        """The executor."""
        raise NotImplementedError("say what is tested: override the fixture executor")

    def started(self, running: Running) -> Running:
        """Waits until a process is seen to run."""
        until = time.monotonic() + PATIENCE
        while not running.alive and running.code is None and time.monotonic() < until:
            time.sleep(0.05)
        return running

    def test_every_task_is_done_once(self, executor: Executor) -> None:
        with executor.pool(2) as pool:
            assert sorted(pool.map(doubled, range(20))) == [2 * number for number in range(20)]
            assert sorted(pool.map(doubled, [7])) == [14]
            assert list(pool.map(doubled, [])) == []

    def test_one_at_a_time_does_as_well(self, executor: Executor) -> None:
        with executor.pool(1) as pool:
            assert sorted(pool.map(doubled, [1, 2])) == [2, 4]

    def test_tasks_are_drawn_as_they_are_needed(self, executor: Executor) -> None:
        drawn: list[int] = []

        def tasks() -> Iterator[int]:
            for number in range(30):
                drawn.append(number)
                yield number

        with executor.pool(2) as pool:
            next(iter(pool.map(doubled, tasks())))
            assert len(drawn) < 30

    def test_several_processes_share_the_work(self, executor: Executor) -> None:
        with executor.pool(2) as pool:
            processes = set(pool.map(process_of, range(8)))
        assert len(processes) == 2
        assert os.getpid() not in processes

    def test_an_error_of_a_task_is_told_as_it_is(self, executor: Executor) -> None:
        with executor.pool(2) as pool, pytest.raises(UsageError, match="no 5") as error:
            list(pool.map(refuse, [5]))
        assert (error.value.where, error.value.hint) == ("here", "ask another")

    def test_what_cannot_be_sent_is_refused(self, executor: Executor) -> None:
        with executor.pool(2) as pool, pytest.raises(UsageError):
            list(pool.map(process_of, [lambda: 0]))

    def test_a_killed_process_is_told(self, executor: Executor) -> None:
        with executor.pool(2) as pool, pytest.raises(HeadraceError):
            list(pool.map(killed, [1]))

    def test_nobody_works_too_little(self, executor: Executor) -> None:
        with pytest.raises(UsageError):
            executor.pool(0)

    def test_a_worker_runs_until_it_is_told_to_end(self, executor: Executor) -> None:
        result: Any = None
        for seconds in (2.0, 8.0, 30.0):  # one that is told before its entry runs has no result
            running = self.started(executor.start(works_until_told, "worker", 4))
            running.wait(seconds)
            assert (running.alive, running.code) == (True, None)
            running.stop()
            running.wait(PATIENCE)
            result = running.result()
            if result is not None:
                break
        assert result == "worker 4"

    def test_a_worker_that_ends_by_itself_says_with_what(self, executor: Executor) -> None:
        running = executor.start(ends_at_once, 40, 2)
        running.wait(PATIENCE)
        assert (running.alive, running.code, running.result()) == (False, 0, 42)

    def test_a_worker_may_say_much_at_its_end(self, executor: Executor) -> None:
        size = 4 * 2**20
        running = executor.start(returns_much, size, 0)
        running.wait(PATIENCE)
        assert (running.alive, running.code) == (False, 0)
        assert running.result() == b"x" * size
        running, until = executor.start(returns_much, size, 0), time.monotonic() + PATIENCE
        while running.alive and time.monotonic() < until:  # as one who waits for several does
            time.sleep(0.05)
        assert (running.code, len(running.result() or b"")) == (0, size)

    def test_a_worker_that_dies_says_nothing(self, executor: Executor) -> None:
        running = executor.start(dies, None, 0)
        running.wait(PATIENCE)
        assert (running.alive, running.code, running.result()) == (False, 3, None)

    def test_a_worker_can_be_killed(self, executor: Executor) -> None:
        running = self.started(executor.start(works_until_told, "worker", 0))
        running.kill()
        running.wait(PATIENCE)
        assert not running.alive
        assert running.code == -signal.SIGKILL
        assert running.result() is None
