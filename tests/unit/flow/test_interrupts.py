"""Ctrl-C in a step that has to end whole."""

from __future__ import annotations

import signal
import threading

import pytest

from headrace.flow.interrupts import held_interrupts


def _interrupted_step(ends: list[bool], error: Exception | None = None) -> None:
    with held_interrupts():
        signal.raise_signal(signal.SIGINT)
        if error is not None:
            raise error
        ends.append(True)


def test_an_interrupt_comes_when_the_step_has_ended() -> None:
    ends: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        _interrupted_step(ends)
    assert ends == [True]


def test_what_a_step_raises_comes_first_and_the_handler_is_put_back() -> None:
    former = signal.getsignal(signal.SIGINT)
    with pytest.raises(LookupError):
        _interrupted_step([], LookupError("no step"))
    assert signal.getsignal(signal.SIGINT) is former


def test_another_thread_is_left_alone() -> None:
    handlers = []

    def step() -> None:
        with held_interrupts():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=step)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGINT)]
