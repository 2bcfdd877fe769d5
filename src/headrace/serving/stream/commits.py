"""The transactions of a worker: one is open at a time, and is waited for while the next micro-batch is answered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from headrace.serving.engine.batch import Answered, MessageBatch
from headrace.serving.engine.changelog import Change
from headrace.serving.stream.health import Health
from headrace.serving.stream.sender import Aborted, Lost, Sender
from headrace.sources.patience import Patience


class Commits:
    """Sends micro-batches, each in one transaction.

    Args:
        make: Makes a sender.
        group: Gives the consumer's membership of its group.
        health: Where to tell.
        patience: Rewarded by every commit.
        stop: When it is set, a sender that is lost is not made again.
    """

    def __init__(
        self,
        make: Callable[[], Sender],
        group: Callable[[], Any],
        health: Health,
        patience: Patience,
        stop: threading.Event,
    ) -> None:
        self._make, self._group, self._health, self._patience, self._stop = make, group, health, patience, stop
        self._sender: Sender | None = None
        self._sent: tuple[Answered, float] | None = None
        self.aborted = False
        """Something did not happen while partitions came or went: all is to be read anew."""

    def open(self) -> None:
        """Make a sender; what others of this name left open is ended by that."""
        self._sender = self._make()

    def close(self) -> None:
        """Forget what is under way, and let go of the sender."""
        self._sent, self.aborted = None, False
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.close()

    def send(self, answered: Answered, offsets: Mapping[int, int], began: float) -> bool:
        """Begin to send a micro-batch, none being under way; False: nothing of it counts."""
        try:
            self._of().send(answered, offsets, self._group())
        except Aborted as aborted:
            self._abandon(aborted, answered)
            return False
        self._sent = answered, began
        return True

    def settled(self) -> bool:
        """Wait for what is under way; whether it did not fail."""
        sent, self._sent = self._sent, None
        if sent is None:
            return True
        answered, began = sent
        try:
            committed = self._of().settle()
        except Aborted as aborted:
            self._abandon(aborted, answered)
            return False
        answered.over("")
        self._patience.rewarded()
        self._health.committed(answered, began, committed)
        return True

    def write(self, changes: Sequence[Change], offsets: Mapping[int, int]) -> bool:
        """Write records of the state outside of a batch, and the group's offsets; False: all is to be read anew."""
        answered = Answered(MessageBatch.of([]), changes=list(changes))
        try:
            self._of().send(answered, offsets, self._group())
            self._of().settle()
        except Aborted as aborted:
            self._abandon(aborted, answered)
            self.aborted = True
        return not self.aborted

    def _of(self) -> Sender:
        assert self._sender is not None, "not open"
        return self._sender

    def _abandon(self, aborted: Aborted, answered: Answered) -> None:
        answered.over(f"aborted: {aborted}")
        self._health.telemetry.aborts.inc()
        self._health.log.warning("aborted", detail=str(aborted), events=len(answered.batch))
        if isinstance(aborted, Lost) and not self._stop.is_set():
            self._of().close()
            self._sender = self._make()
