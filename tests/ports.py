"""Ports for the servers of tests."""

from __future__ import annotations

import random
import socket

# Below those that the system gives to clients: one of these may become the end of any connection before its server
# begins, or while that is killed and started again, and a client that tries it meanwhile may connect to itself.
FIRST, LAST = 15_000, 32_000


def free_port(count: int = 1) -> int:
    """A port at which nothing listens, nor at the `count - 1` after it; drawn, so that processes differ."""
    for _ in range(100):
        port = random.SystemRandom().randrange(FIRST, LAST - count)
        if all(_is_free(each) for each in range(port, port + count)):
            return port
    raise AssertionError(f"no {count} free ports in a row")


def _is_free(port: int) -> bool:
    with socket.socket() as attempt:
        try:
            attempt.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
