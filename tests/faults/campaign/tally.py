"""What a campaign counts, and how it says it."""

from __future__ import annotations

import threading
import time
from collections import Counter

ROUNDS = 10
"""Of one set of servers and topics, before another one is made. Each draws from the seed and its number."""
VERDICTS = ("lost", "doubled", "wrong", "silent", "stuck")
"""Acknowledged and not there; there twice; another number than batch's; a fault that nobody told of; never answered.

Beside them, `refused`: a stream that says why it cannot go on, because what it needs is gone for good.
"""


class Tally:
    """Counts of one round or of all; may be added to by any thread.

    Attributes:
        counts: How often each of `VERDICTS`, and `answered`.
        notes: A line for each thing that went wrong.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.notes: list[str] = []
        self._lock = threading.Lock()

    def add(self, what: str, count: int = 1) -> None:
        """Count something."""
        with self._lock:
            self.counts[what] += count

    def bad(self, verdict: str, why: str) -> None:
        """Count one of `VERDICTS`, with its reason."""
        with self._lock:
            self.counts[verdict] += 1
            self.notes.append(f"{verdict}: {why}"[:1000])

    @property
    def failed(self) -> bool:
        """Whether anything went wrong."""
        return any(self.counts[verdict] for verdict in VERDICTS)

    def __str__(self) -> str:
        found = ", ".join(f"{verdict} {self.counts[verdict]}" for verdict in VERDICTS)
        refused = f", refused {self.counts['refused']}" if self.counts["refused"] else ""
        return f"{self.counts['answered']:,} answered; {found}{refused}"


class Campaign:
    """Rounds one after another, each told in a line."""

    def __init__(self, seed: int, first: int) -> None:
        self.total, self.rounds, self.faults = Tally(), 0, Counter[str]()
        self._number = first - 1 - (first - 1) % ROUNDS
        self._seed, self._began = seed, time.monotonic()

    def told(self, what: str, faults: list[str], tally: Tally, seconds: float) -> None:
        """Add one round, and print it."""
        self.rounds += 1
        self.faults.update(faults)
        self._number += 1
        print(f"round {self._number}: {what}: {' + '.join(faults)}: {tally} ({seconds:.1f} s)", flush=True)
        self.also(tally)

    def skip(self, count: int) -> None:
        """So many rounds are left out."""
        self._number += count

    def also(self, tally: Tally) -> None:
        """Add what was found beside the rounds."""
        for note in tally.notes[:20]:
            print(f"    {note}", flush=True)
        self.total.counts.update(tally.counts)

    def end(self) -> int:
        """Print the totals; the exit status."""
        seconds = time.monotonic() - self._began
        print(f"{self.rounds} rounds with seed {self._seed} in {seconds:,.0f} s: {self.total}")
        print("faults: " + ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items())))
        return int(self.total.failed)
