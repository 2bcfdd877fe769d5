"""A version of a model that answers, taken up whole: a request sees one version or another, never a mixture."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING

from headrace.home import Home
from headrace.lineage import PINNED, Pins
from headrace.system import System
from headrace.tasks import task_of
from headrace.tasks.answering import OnlineLookups, RowAnswers

if TYPE_CHECKING:
    from headrace.registry import ModelVersion

_ALL = 2**64
KEPT = 4
"""Versions beside the champion that are kept ready."""


@dataclass(frozen=True)
class Champion:
    """A version that answers: the champion, or one beside it.

    Attributes:
        version: As the registry knows it.
        predictor: What answers rows, each by itself; None where the task has none.
        pins: What every prediction of it carries, but for its own time.
        pinned: The id of the same in the ledger; empty while nothing is logged.
        lookups: What its features look up online; None where they look up nothing.
        canary: What answers a share of the keys in its place; None: nothing does.
    """

    version: ModelVersion
    predictor: RowAnswers | None
    pins: Pins
    pinned: str = ""
    lookups: OnlineLookups | None = None
    canary: Canary | None = None

    @property
    def plain(self) -> bool:
        """Whether whatever answers looks nothing up."""
        return self.lookups is None and (self.canary is None or self.canary.champion.lookups is None)

    @property
    def far(self) -> bool:
        """Whether a row needs look-ups that take longer than a thread is worth."""
        if self.lookups is not None and not self.lookups.embedded:
            return True
        return self.canary is not None and self.canary.champion.far

    def parts(self, keys: Sequence[str]) -> list[tuple[Champion, list[int]]] | None:
        """Who answers which of these keys, by their places; None where this one answers them all."""
        if self.canary is None:
            return None
        sides = list(map(self.canary.takes, keys))
        if not any(sides):
            return None
        parts = (replace(self, canary=None), False), (self.canary.champion, True)
        groups = [(member, [place for place, taker in enumerate(sides) if taker is side]) for member, side in parts]
        return [(member, places) for member, places in groups if places]


@dataclass(frozen=True)
class Canary:
    """A version that answers a share of the keys: the same ones in every process, and after every restart.

    A larger share has all keys of a smaller one.

    Attributes:
        champion: The version.
        share: From 0 to 1.
        salt: The system and the version: the next canary takes other keys.
    """

    champion: Champion
    share: float
    salt: bytes

    def takes(self, key: str) -> bool:
        """Whether it answers a key."""
        digest = hashlib.blake2b(self.salt + key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest) < self.share * _ALL


def take_up(
    system: System, home: Home, version: ModelVersion, *, logged: bool, more: Mapping[str, str] | None = None
) -> Champion:
    """A version with its model loaded. Reads files and the store: not for an event loop.

    Args:
        system: The declaration.
        home: Where its files are.
        version: Which.
        logged: Whether its predictions are logged.
        more: What their pins say beside.

    Raises:
        ModelError: It was trained with another contract.
        HeadraceError: Its files, the store or the ledger cannot be read.
    """
    now = datetime.now(UTC)
    predictor, lookups = task_of(system).answering(home, version, now)
    pins = Pins.of(version, now, system.folder)
    pinned = ""
    if logged and predictor is not None:
        pinned = home.ledger.pin({name: getattr(pins, name) for name in PINNED} | dict(more or {}))
    return Champion(version, predictor, pins, pinned, lookups)


class Versions:
    """Versions of one system that are asked for by number: loaded when they are, the last few kept.

    Args:
        system: The declaration.
        home: Where their files are.
        logged: Whether their predictions are logged.
    """

    def __init__(self, system: System, home: Home, *, logged: bool) -> None:
        self._system, self._home, self._logged = system, home, logged
        self._kept: OrderedDict[int, Champion] = OrderedDict()
        self._loading = Lock()

    def ready(self, number: int) -> Champion | None:
        """A version that is kept and needs nothing; for the event loop."""
        predictor = self._kept.get(number)
        return None if predictor is None or predictor.lookups is not None else predictor

    def get(self, number: int) -> Champion:
        """A version, loaded if it is not kept; one at a time. Not for an event loop.

        Raises:
            NotFoundError: There is none; says which there are.
            HeadraceError: As `take_up`.
        """
        with self._loading:
            predictor = self._kept.get(number)
            if predictor is None:
                version = self._home.registry.get(self._system.name, number)
                predictor = take_up(self._system, self._home, version, logged=self._logged)
                self._kept[number] = predictor
                if len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
            elif predictor.lookups is not None:
                predictor.lookups.follow(datetime.now(UTC))
            self._kept.move_to_end(number)
            return predictor
