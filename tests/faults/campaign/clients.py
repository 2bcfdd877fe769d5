"""Clients of the HTTP door that send each body again until it is answered, and note when what was acknowledged."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.faults.campaign.tally import Tally

WAIT = 40.0
"""Seconds after which a body that has no answer counts as stuck, once all is mended."""


@dataclass
class Ask:
    """A body, and what must come of it: the status, and what it is answered with if that was said before."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    same: bytes | None = None


def _said(content: bytes) -> Any:
    """The answers; what stands beside them in the answer to an array is who answers now."""
    found = json.loads(content)
    return found.get("predictions", found) if "id" not in found else found


@dataclass(frozen=True)
class Answered:
    """A request that was answered, and when it was sent and answered."""

    ask: Ask
    sent: float
    came: float
    status: int
    content: bytes


class Client(threading.Thread):
    """One connection; ends after its present body once `halt` is set."""

    def __init__(self, port: int, path: str, asks: Iterator[Ask], chance: random.Random, tally: Tally) -> None:
        super().__init__(daemon=True)
        self.halt, self.deadline = threading.Event(), float("inf")
        self.port, self.acknowledged = port, list[Answered]()
        self.others: list[Answered] = []
        self._path, self._asks, self._chance, self._tally = path, asks, chance, tally
        self._connection: http.client.HTTPConnection | None = None

    def run(self) -> None:
        """Body after body; one in twenty is sent once more after its answer."""
        while not self.halt.is_set():
            ask = next(self._asks)
            first = self._answered(ask)
            if first is not None and ask.status == 200 and self._chance.random() < 0.05:
                self._answered(Ask(ask.body, 200, ask.headers, first.content))

    def _answered(self, ask: Ask) -> Answered | None:
        """Until it is answered; None where it never is."""
        while time.monotonic() < self.deadline:
            found = self._once(ask)
            if found is None or found.status in (429, 503):
                time.sleep(0.02)
                continue
            if found.status != ask.status:
                self._tally.bad(
                    "wrong", f"{found.status}, not {ask.status}: {found.content!r:.300} to {ask.body!r:.200}"
                )
                return None
            if ask.same is not None and _said(ask.same) != _said(found.content):
                self._tally.bad("wrong", f"another answer than before to {ask.body!r:.200}")
            if found.status == 200:
                self.acknowledged.append(found)
                self._tally.add("answered")
            return found
        last = f"{self.others[-1].status} {self.others[-1].content!r:.400}" if self.others else "nothing"
        self._tally.bad("stuck", f"no answer to {ask.body!r:.200}; the last one was {last}")
        return None

    def _once(self, ask: Ask) -> Answered | None:
        sent = time.monotonic()
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
            headers = {"content-type": "application/json"} | ask.headers
            self._connection.request("POST", self._path, json.dumps(ask.body), headers)
            answer = self._connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            self._connection = None
            return None
        found = Answered(ask, sent, time.monotonic(), answer.status, content)
        if answer.status != 200:
            self.others.append(found)
            if answer.getheader("content-type") != "application/problem+json" or b'"detail"' not in content:
                self._tally.bad("silent", f"a refusal without a reason: {answer.status} {content!r:.300}")
        return found
