"""The executors that headrace brings do what every executor must."""

import os
import time

import pytest

from headrace.executors import executor_of
from headrace.executors.local import LocalExecutor
from headrace.testing import ExecutorSuite


class TestLocal(ExecutorSuite):
    @pytest.fixture
    def executor(self):
        return executor_of("local")


def where(number: int) -> tuple[int, int]:
    """A task that takes a moment, and the process that does it."""
    time.sleep(0.1)
    return number, os.getpid()


def test_a_process_of_a_pool_may_be_this_one() -> None:
    with LocalExecutor().pool_with_this(2) as pool:
        done = list(pool.map(where, range(40)))
        assert sorted(number for number, _ in done) == list(range(40))
        assert {process for _, process in done} - {os.getpid()}
        assert os.getpid() in {process for _, process in done}
        assert len({process for _, process in done}) == 2
        with pytest.raises(ValueError, match="no-number"):
            list(pool.map(int, ["1", "2", "no-number"]))
