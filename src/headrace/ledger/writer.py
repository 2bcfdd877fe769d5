"""`LedgerWriter`: one thread that commits together what came in while the last commit was on its way to the disk."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from headrace.errors import HeadraceError, LedgerError, LedgerFullError, LedgerUnavailableError
from headrace.ledger.records import Entry

Answers = Sequence[Entry | HeadraceError]
Outcome = Answers | HeadraceError
Done = Callable[[Outcome], None]
Thunk = Callable[[], None]

_log = logging.getLogger("headrace.ledger")
_PATIENCE = 0.005
"""Seconds that a commit waits at most for more to write."""


class EntryLog(Protocol):
    """Where a writer writes: the ledger, or what answers entries on their way there."""

    def write_groups(self, groups: Sequence[Sequence[Entry]]) -> Sequence[Answers]:
        """As `Ledger.write_groups`. Called from one thread only; what it raises was not written."""


class _Submission(NamedTuple):
    entries: Sequence[Entry]
    done: Done


class LedgerWriter:
    """Groups submissions of any number of threads into commits.

    A commit takes all that is waiting, up to `batch` entries: alone and at once when there is little to do, in large
    groups under load. Whoever was answered by the last commit is likely to ask again at once, so the next one waits for
    as many as were under way then, for half as long as the last one took at most: else all who ask again and again
    would be parted into two groups that wait for each other's commits. A submission is never split. While the database
    is away, what is waiting fails with it, so nobody waits much longer than the ledger's time-out; what comes later
    tries again.

    Args:
        ledger: Where to write.
        capacity: The most entries that may be waiting.
        batch: The most entries of a commit, unless one submission has more.
        on_batch: Called from the writer's thread with the callbacks of a commit, instead of calling them one after
            another: an event loop can be woken once for all of them. It must not block for long.

    Attributes:
        trouble: Why the last commit failed, where the next one is likely to fail too; None: it did not.
        doubted: Whether the last commit failed for what may have been its entries' fault.
    """

    def __init__(
        self,
        ledger: EntryLog,
        *,
        capacity: int = 10_000,
        batch: int = 500,
        on_batch: Callable[[list[Thunk]], None] | None = None,
    ) -> None:
        self._ledger, self._capacity, self._batch = ledger, capacity, batch
        self._on_batch = on_batch or call_each
        self._queue: deque[_Submission] = deque()
        self._waiting = 0
        self._expected = 1  # entries to wait for
        self._patience = 0.0  # seconds to wait for them
        self._closing, self._idle = False, False
        self.trouble: str | None = None
        self.doubted = False
        self._changed = threading.Condition()
        # A daemon: a database that hangs must not keep the process from ending after `close` has given up.
        self._thread = threading.Thread(target=self._work, name="headrace-ledger", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Entries that no commit has taken yet."""
        return self._waiting

    def recovered(self) -> None:
        """A commit would succeed: `trouble` is over."""
        self.trouble, self.doubted = None, False

    def submit(self, entries: Sequence[Entry], done: Done) -> None:
        """Have entries written; returns at once. They are committed together, or none of them.

        Args:
            entries: A group of `Ledger.write_groups`.
            done: Called exactly once, from the writer's thread: with what that returned for it, after the commit,
                or with the error if nothing was written.

        Raises:
            LedgerFullError: There is no room; `done` will not be called.
            LedgerUnavailableError: The writer is closed; `done` will not be called.
        """
        refused = self.submit_all([(entries, done)])
        if refused:
            raise refused[0][1]

    def submit_all(self, submissions: Sequence[tuple[Sequence[Entry], Done]]) -> list[tuple[Done, LedgerError]]:
        """`submit` many at once, which wakes the writer once: who was refused, each with the reason."""
        refused: list[tuple[Done, LedgerError]] = []
        with self._changed:
            for entries, callback in submissions:
                if self._closing:
                    hint = "try again when the server is back"
                    refused.append((callback, LedgerUnavailableError("the ledger's writer is closed", hint=hint)))
                elif self._waiting + len(entries) > self._capacity:
                    reason = f"{self._waiting} predictions are waiting to be written, {self._capacity} may"
                    hint = "try again in a second, or with fewer rows"
                    refused.append((callback, LedgerFullError(reason, hint=hint)))
                else:
                    self._queue.append(_Submission(entries, callback))
                    self._waiting += len(entries)
            if self._waiting >= self._expected or self._idle:
                self._changed.notify()
        return refused

    def close(self, timeout: float = 10.0) -> None:
        """Take nothing more, write what is waiting, and end the thread; whatever is not taken in time fails.

        A commit that is under way after `timeout` still ends, and calls back, within the ledger's own time-outs.
        """
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout)
        late = self._take(full=True)
        if late:
            self._answer(late, LedgerUnavailableError(f"not written within the {timeout:g} s of the writer's closing"))

    def _work(self) -> None:
        while True:
            with self._changed:
                self._gather()
                if not self._queue:
                    return
            submissions = self._take()
            if submissions:
                began = time.perf_counter()
                self._commit(submissions)
                self._patience = min((time.perf_counter() - began) / 2, _PATIENCE)
                under_way = sum(len(submission.entries) for submission in submissions) + self._waiting
                self._expected = min(under_way, self._batch, self._capacity)

    def _gather(self) -> None:
        """Wait for something to write, and then a little for what is likely to come."""
        self._idle = True
        self._changed.wait_for(lambda: self._queue or self._closing)
        self._idle = False
        if self._waiting < self._expected:
            self._changed.wait_for(lambda: self._waiting >= self._expected or self._closing, self._patience)

    def _take(self, *, full: bool = False) -> list[_Submission]:
        submissions: list[_Submission] = []
        size = 0
        with self._changed:
            while self._queue and (full or not submissions or size + len(self._queue[0].entries) <= self._batch):
                submissions.append(self._queue.popleft())
                size += len(submissions[-1].entries)
            self._waiting -= size
        return submissions

    def _commit(self, submissions: list[_Submission]) -> None:
        outcome = self._write([submission.entries for submission in submissions])
        self._note(outcome)
        if isinstance(outcome, LedgerUnavailableError):
            self._answer(submissions + self._take(full=True), outcome)
        elif isinstance(outcome, HeadraceError) and len(submissions) > 1:
            for submission in submissions:  # one of them carries what the database refuses: the others must not suffer
                self._commit([submission])
        else:
            self._answer(submissions, outcome)

    def _note(self, outcome: Sequence[Answers] | HeadraceError) -> None:
        if not isinstance(outcome, HeadraceError):
            self.recovered()
        elif isinstance(outcome, LedgerError) and not isinstance(outcome, LedgerUnavailableError):
            self.doubted = True
        else:
            self.trouble = outcome.message

    def _write(self, groups: Sequence[Sequence[Entry]]) -> Sequence[Answers] | HeadraceError:
        try:
            return self._ledger.write_groups(groups)
        except HeadraceError as error:
            return error
        except Exception as error:  # noqa: BLE001  # it is logged
            # Without an answer the callers would wait for ever, and without this thread all others too.
            _log.exception("the ledger failed in an unforeseen way")
            return LedgerError(f"the ledger failed: {type(error).__name__}")

    def _answer(self, submissions: list[_Submission], outcome: Sequence[Answers] | HeadraceError) -> None:
        parts: Sequence[Outcome] = [outcome] * len(submissions) if isinstance(outcome, HeadraceError) else outcome
        thunks: list[Thunk] = [
            partial(submission.done, part) for submission, part in zip(submissions, parts, strict=True)
        ]
        call_each([partial(self._on_batch, thunks)])


def call_each(thunks: Iterable[Thunk]) -> None:
    """Call all of them: one that fails is logged, and must take neither the others nor their caller along."""
    for thunk in thunks:
        try:
            thunk()
        except Exception:  # noqa: BLE001  # it is logged
            _log.exception("telling what became of a prediction failed in an unforeseen way")
