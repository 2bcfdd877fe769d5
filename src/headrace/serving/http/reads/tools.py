"""What rooms above the server can tell and do: handed in, since the server knows none of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from headrace.serving.http.pages import PageMaker
from headrace.serving.http.reads.reader import Read


@dataclass(frozen=True)
class Tools:
    """Functions of modules, each given a `ReadHome` and arguments by name.

    Attributes:
        doctor: What is installed, reachable or misconfigured.
        verify: A system's tables against their records; takes `name` and `deep`.
        stream: How a system's stream is; takes `name`.
        letters: Events that a stream set apart; takes `name late everything reason limit cursor`.
        resend: Sends them again; takes `name places reason late values`.
        simulation: What is to be simulated, checked; takes `name request`, and returns the request with its `runs`.
        simulate: Simulates it: given a `ReadHome`, the system's name, the request, and what is told the stage, how many
            runs of it are done and of how many. It runs in a process of its own, and returns what can be JSON.
    """

    doctor: Read
    verify: Read
    stream: Read
    letters: Read
    resend: Read
    simulation: Read
    simulate: Callable[..., Any]


@dataclass(frozen=True)
class Above:
    """What a server is handed by rooms above it.

    Attributes:
        tools: What they tell; None: the routes for it are not there.
        pages: Makes the pages for people at ``/``; None: there are none.
    """

    tools: Tools | None = None
    pages: PageMaker | None = None


NOTHING_ABOVE = Above()
