"""Ctrl-C in a step that has to end whole."""

from __future__ import annotations

import signal
import threading

import pytest

from headrace.flow.interrupts import held_interrupts


def test_an_interrupt_comes_when_the_step_has_ended() -> None:
    ended = False
    with pytest.raises(KeyboardInterrupt), held_interrupts():
        signal.raise_signal(signal.SIGINT)
        ended = True
    assert ended


def test_what_a_step_raises_comes_first_and_the_handler_is_put_back() -> None:
    former = signal.getsignal(signal.SIGINT)
    with pytest.raises(LookupError), held_interrupts():
        signal.raise_signal(signal.SIGINT)
        raise LookupError
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
