"""How a request is written and answered that is not the hot route's own JSON: another protocol or media type.

A form translates, and nothing else. What it hands on is what somebody might have posted as JSON, so the contract's
checks, keys, ids, the ledger and the numbers are those of every request.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from headrace.serving.http.problem import MEDIA_TYPE, Problem
from headrace.serving.http.served import ServedSystem

Header = tuple[bytes, bytes]


class Form(ABC):
    """The translation of one request and its answer; made anew for each, so it may remember what was asked for.

    Attributes:
        route: What metrics call the requests.
        threaded: Whether reading and writing take so long that the event loop must not wait, however small the body.
        most: Rows that a request may have; set before `rows` is called.
        version: Of the model, as its path asks for one; None where it does not.
        parameters: Names that the query of a request may have.
    """

    route: ClassVar[str]
    parameters: ClassVar[tuple[str, ...]] = ("version",)
    version: str | None = None
    threaded: bool = False
    most: int = 0

    @abstractmethod
    def check(self, headers: Mapping[bytes, bytes]) -> None:
        """Called with the head, before the body is read.

        Raises:
            Problem: 415 or 406: the body, or no answer, is of a media type that is known here.
        """

    @abstractmethod
    def rows(self, served: ServedSystem, version: int, body: bytes) -> bytes:
        """The rows or events of a body, as JSON; called from any thread. Nothing has been logged yet.

        Args:
            served: The system that is asked.
            version: Of the model that will answer.
            body: As it came.

        Raises:
            Problem: It cannot be read, or asks for what there is not.
        """

    @abstractmethod
    def answer(self, served: ServedSystem, body: bytes) -> tuple[bytes, bytes, tuple[Header, ...]]:
        """The answer's bytes, media type and further headers, from the JSON that the hot route answers with.

        Called from any thread. What is answered is logged by then, so this must not fail.
        """

    def refusal(self, problem: Problem) -> tuple[bytes, bytes]:
        """A refusal's bytes and media type; the status is the problem's."""
        return problem.body(), MEDIA_TYPE
