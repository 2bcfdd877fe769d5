"""Configurations that a search found, as versions in the store: the table ``configurations`` of each system.

One that won is used by trainings of the declaration that it was searched for, until another one wins or it is
withdrawn. The store's facts are the truth, so a run as of T uses what was there as of T.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.declaration import Tuned
from headrace.errors import NotFoundError, UsageError
from headrace.lineage import digest_of
from headrace.store.failures import intact

if TYPE_CHECKING:
    from headrace.store.store import Store

TABLE = "configurations"
_STORED, _WITHDRAWN = "stored", "withdrawn"
_IDENTITY = ("event", "digest", "place")


@dataclass(frozen=True)
class Configuration:
    """What one search found.

    Attributes:
        system: The system's name.
        version: 1, 2, 3...
        digest: Of its overrides and of the declaration that they are over.
        declared: Digest of that declaration (`System.config_digest`).
        overrides: Values by path, over ``config.yaml`` and under ``--set``.
        as_of: What was known at this time went into the search (UTC). Runs as of an earlier time do not use it.
        created_at: When it was stored (UTC).
        record: The study, its pins, trials, scores, and the comparison on data that no trial saw; JSON-ready.
        won: Whether it was better there.
        withdrawn: Whether somebody took it back.
    """

    system: str
    version: int
    digest: str
    declared: str
    overrides: Mapping[str, Any]
    as_of: datetime
    created_at: datetime
    record: Mapping[str, Any] = field(default_factory=dict)
    won: bool = False
    withdrawn: bool = False

    @property
    def tuned(self) -> Tuned:
        """What a system that uses it carries."""
        return Tuned(self.version, self.digest, self.declared)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, times as they are."""
        return {**vars(self), "overrides": dict(self.overrides), "record": dict(self.record)}


def digest(declared: str, overrides: Mapping[str, Any]) -> str:
    """The digest of a configuration."""
    return digest_of({"declared": declared, "overrides": dict(overrides)})


def _has_won(row: Mapping[str, Any]) -> bool:
    """Whether what a row stores was better than what was in use."""
    with intact(TABLE, "headrace verify --deep says which file is damaged"):
        return bool(json.loads(row["configuration"])["won"])


class Configurations:
    """The configurations of one system.

    Args:
        store: Where the facts are.
        system: The system's name.
    """

    def __init__(self, store: Store, system: str) -> None:
        self._store, self._system = store, system

    def all(self) -> Sequence[Configuration]:
        """All that were stored, by version.

        Raises:
            StoreError: The table cannot be read.
        """
        rows, found = self._rows(), dict[str, Configuration]()
        for row in rows:
            if row["event"] == _STORED and row["digest"] not in found:
                found[row["digest"]] = self._configuration(row, len(found) + 1, rows)
        return list(found.values())

    def current(self, declared: Collection[str], as_of: datetime | None = None) -> Configuration | None:
        """The one in use as of a time (None: now) for a declaration, by its digests: the last that won; or None."""
        rows, usable = self._rows(), {c.digest: c for c in self.all() if not c.withdrawn and c.declared in declared}
        stored = [row for row in rows if row["event"] == _STORED and row["digest"] in usable]
        known = [row for row in stored if _has_won(row) and (as_of is None or row["known_at"] <= as_of)]
        last = max(known, key=lambda row: (row["known_at"], row["_version"]), default=None)
        return None if last is None else usable[last["digest"]]

    def add(self, found: Configuration) -> Configuration:
        """Store what a search found; the same again is the same version.

        One that was withdrawn, or that another one has replaced since, counts anew.

        Raises:
            StoreError: The table cannot be written.
        """
        known = {c.digest: c for c in self.all()}
        before, current = known.get(found.digest), self.current({found.declared}, found.as_of)
        again = found.won and (current is None or current.digest != found.digest)
        if before is None or again:
            self._append(_STORED, found)
        return next(c for c in self.all() if c.digest == found.digest)

    def take(self, other: Configurations, as_of: datetime) -> None:
        """Take over what another home knew by a time, UTC; this one has none yet, so versions are the same.

        Raises:
            StoreError: A table cannot be read or written.
        """
        for row in other._rows():
            if row["known_at"] <= as_of:
                self._write(row)

    def withdraw(self, version: int, now: datetime) -> Configuration:
        """Take a configuration back: trainings use the one before it again, or the declaration's own values.

        Raises:
            NotFoundError: There is no such version.
            UsageError: It is not in use.
        """
        configurations = {c.version: c for c in self.all()}
        if version not in configurations:
            known = ", ".join(map(str, configurations)) or "none; headrace tune makes one"
            raise NotFoundError(f"there is no configuration {version}", where=self._system, hint=f"there are: {known}")
        chosen = configurations[version]
        if chosen.withdrawn or not chosen.won:
            state = "was withdrawn before" if chosen.withdrawn else "did not win, so nothing uses it"
            raise UsageError(f"configuration {version} {state}", where=self._system)
        self._append(_WITHDRAWN, chosen, now)
        return next(c for c in self.all() if c.version == version)

    def _rows(self) -> list[dict[str, Any]]:
        if self._store.commit(self._system, TABLE) is None:  # a list of names: most systems have none
            return []
        table = self._store.table(self._system, TABLE)
        return table.collect(table.scan()).sort("_version", "place").to_dicts()

    def _append(self, event: str, found: Configuration, now: datetime | None = None) -> None:
        data = {"declared": found.declared, "overrides": dict(found.overrides), "won": found.won}
        row = {
            "event": event,
            "digest": found.digest,
            "place": sum(row["digest"] == found.digest for row in self._rows()),
            "known_at": found.as_of,
            "created_at": now or found.created_at,
            "configuration": json.dumps(data, sort_keys=True),
            "record": json.dumps(dict(found.record), sort_keys=True),
        }
        self._write(row)

    def _write(self, row: Mapping[str, Any]) -> None:
        import polars as pl

        time, names = pl.Datetime("us", "UTC"), (*_IDENTITY, "known_at", "created_at", "configuration", "record")
        texts: dict[str, pl.DataType] = dict.fromkeys(("event", "digest", "configuration", "record"), pl.String())
        frame = pl.DataFrame(
            [{name: row[name] for name in names}], schema_overrides={**texts, "known_at": time, "created_at": time}
        )
        table = self._store.table(self._system, TABLE)
        table.append(frame, identity=_IDENTITY, compare=("configuration",), window="known_at")

    def _configuration(self, row: Mapping[str, Any], version: int, rows: Sequence[Mapping[str, Any]]) -> Configuration:
        last = [other["event"] for other in rows if other["digest"] == row["digest"]][-1]
        newest = [other for other in rows if other["digest"] == row["digest"] and other["event"] == _STORED][-1]
        with intact(f"{self._system}/{TABLE}", "headrace verify --deep says which file is damaged"):
            data, record = json.loads(newest["configuration"]), json.loads(newest["record"])
        return Configuration(
            self._system,
            version,
            row["digest"],
            data["declared"],
            data["overrides"],
            newest["known_at"],
            newest["created_at"],
            record,
            data["won"],
            last == _WITHDRAWN,
        )
