"""`OpenHome`: a home and the clock by which it is looked at."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.settings import Settings

if TYPE_CHECKING:
    from headrace.home import Home
    from headrace.tasks.explanation import Explanation


class OpenHome:
    """A home, opened once to read and once to write.

    Args:
        settings: Where things are.
        clock: Tells the time, with a zone. None: the machine's clock.
        quiet: Show no progress.
    """

    def __init__(self, settings: Settings, *, clock: Callable[[], datetime] | None = None, quiet: bool = False) -> None:
        self.settings, self.quiet = settings, quiet
        self._clock = clock or _now

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.settings.home)!r})"

    @property
    def path(self) -> Path:
        """The folder of all state of the embedded mode.

        >>> home.path.is_dir()
        True
        """
        return self.reading.path

    @cached_property
    def home(self) -> Home:
        """Where everything is, for whoever writes: what is missing is made."""
        from headrace.home import Home

        return Home(self.settings)

    @cached_property
    def reading(self) -> Home:
        """Where everything is, for whoever only reads: looking makes nothing."""
        from headrace.home import Home

        return Home(self.settings, make=False)

    def now(self) -> datetime:
        """The clock's time in UTC. It is read here and nowhere below."""
        return self._clock().astimezone(UTC)

    def systems(self) -> list[str]:
        """Names of the systems that have something stored here, sorted.

        >>> home.systems()
        ['energy']
        """
        return self.reading.store.systems()

    def trace(self, prediction_id: str) -> dict[str, Any]:
        """The chain behind a prediction: ``id system role prediction pins model run``.

        Raises:
            NotFoundError: There is no such prediction.

        >>> home.trace(s.predictions()["id"][0])["system"]
        'energy'
        """
        from headrace.pipelines.predictions import trace

        return trace(self.reading, prediction_id)

    def replay(self, prediction_id: str) -> dict[str, Any]:
        """Compute a prediction again from its pins alone: ``id stored replayed identical``.

        Raises:
            NotFoundError: There is no such prediction.
            NotExportedError: It answers a posted event that is not in the tables: `BoundSystem.replay` brings it there.
            ReplayError: It cannot be computed again.

        >>> home.replay(s.predictions()["id"][0])["identical"]
        True
        """
        from headrace.pipelines.predictions import replay

        return replay(self.reading, prediction_id, threads=self.reading.workers)

    def explain(self, prediction_id: str, *, label: object = None, words: bool = False) -> Explanation:
        """Why a stored prediction has its value: what every feature, and every step after the model, adds to it.

        Args:
            prediction_id: Its id.
            label: The class to explain. None: of two classes the second, of several the one that was predicted.
            words: Tell the words of free texts by themselves.

        Raises:
            NotFoundError: There is no such prediction.
            ReplayError: What it was made from is not there any more.
            ExplainError: Its model cannot tell.

        >>> why = home.explain(s.predictions()["id"][0])
        >>> round(why.base + sum(part.contribution for part in why.contributions) - why.value, 6)
        0.0
        """
        from headrace.pipelines.explained import explain_prediction

        return explain_prediction(self.reading, prediction_id, label=label, words=words, threads=self.reading.workers)

    def verify(self, system: str | None = None, *, deep: bool = False, repair: bool = False) -> dict[str, Any]:
        """Compare tables with the records of what was written to them: ``tables[{system name rows ok problems}] ok``.

        Args:
            system: This one alone. None: all that are stored.
            deep: Read every file, and compare its digest.
            repair: Put lost or changed commits back first. `BoundSystem.remake` makes lost predictions again.

        Raises:
            StoreError: The storage cannot be reached.

        >>> home.verify("energy")["ok"]
        True
        """
        from headrace.flow.verify import verify

        return verify(self.reading, system, deep=deep, repair=repair)


def _now() -> datetime:
    return datetime.now(UTC)
