"""`Registry`: the versions of every system's model, who was champion when, and their files.

The store's facts are the truth, because a run as of T must use the champion as of T: no model from the
future gets into a backfill, and runs for different times go on side by side. The tracking server numbers the
versions and shows the latest state to people by its aliases ``champion`` and ``challenger``; nothing is read
back from it but files that the local cache lacks. So asking for a champion imports neither mlflow nor
sqlalchemy.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.errors import NotFoundError, RegistryError, UsageError
from headrace.registry import records
from headrace.registry.artefact import ArtefactCache, folder_digest
from headrace.registry.history import Event, Fact, ModelVersion, Standing, effective_from, standing
from headrace.registry.records import Timeline
from headrace.registry.tracking import Tracking, safe_uri
from headrace.store import location

if TYPE_CHECKING:
    from headrace.store.store import Store


class Registry:
    """Models of all systems of one store.

    Args:
        store: Where the facts are.
        home: The embedded mode's folder: ``models/`` caches files by digest; ``mlflow.db`` and ``mlruns/``
            are the embedded tracking server.
        tracking_uri: Another MLflow tracking URI, or None for the embedded one.
    """

    def __init__(self, store: Store, home: Path, tracking_uri: str | None = None) -> None:
        home = Path(home).absolute()
        self._store = store
        self._cache = ArtefactCache(home / "models")
        if tracking_uri is None:
            self._tracking = Tracking(f"sqlite:///{_by_url(home)}/mlflow.db", home / "mlruns")
        else:
            self._tracking = Tracking(tracking_uri, home / "mlruns" if _is_sqlite(tracking_uri) else None)

    def register(
        self,
        system: str,
        folder: Path,
        *,
        key: str,
        params: Mapping[str, Any],
        metrics: Mapping[str, float | None],
        pins: Mapping[str, Any],
        as_of: datetime,
        created_at: datetime,
    ) -> ModelVersion:
        """Keep a trained model as the system's next version; the same key again gives the same version.

        Killed at any moment and repeated with the same files, it leaves one version: files in the cache, then
        the tracking server's version (found again by its key), then the fact, with which it exists.

        Args:
            system: The system's name.
            folder: The model's files.
            key: A digest of all that makes the model, say of its pins; letters, digits and ``._:-``.
            params: The model's parameters; JSON values.
            metrics: Its metrics; None where there is none.
            pins: What it was trained from; JSON values.
            as_of: What was known at this time went into it. Runs as of an earlier time do not see it.
            created_at: Now.

        Raises:
            ArtefactError: The folder is empty or holds something else than plain files.
            RegistryError: The tracking server cannot be reached or refuses.
            StoreError: The fact cannot be written.
        """
        as_of, created_at = location.instant(as_of, "as_of"), location.instant(created_at, "created_at")
        known = records.read(self._store, system)
        for version in known.with_states().values():
            if version.key == key:
                return version
        digest = folder_digest(folder)
        kept = self._cache.place(digest, lambda to: _copy(folder, to))
        number, run_id = self._tracking.log_version(
            system,
            kept,
            key=f"{key}.{digest[:16]}",  # other files under one key are another version, not a mixture
            params=params,
            metrics=metrics,
            tags={"headrace.digest": digest, "headrace.as_of": as_of.isoformat(), "headrace.pins": pins},
        )
        self._refuse_reused_number(known, number)
        made = ModelVersion(system, number, digest, key, as_of, created_at, run_id, pins, params, metrics)
        self._decide(system, known, Fact("registered", number, as_of, created_at, 0), made)
        return self.get(system, number)

    def get(self, system: str, version: int) -> ModelVersion:
        """One version, with its latest state.

        Raises:
            NotFoundError: There is no such version; lists those there are.
        """
        return _pick(records.read(self._store, system), system, version)

    def versions(self, system: str, as_of: datetime | None = None) -> list[ModelVersion]:
        """All versions by number, with their states as of a time (None: the latest)."""
        return list(records.read(self._store, system).with_states(_instant(as_of)).values())

    def timeline(self, system: str) -> Timeline:
        """All that is known about the system's models, read once: who was champion as of which time.

        Raises:
            StoreError: The facts cannot be read.
        """
        return records.read(self._store, system)

    def champion(self, system: str, as_of: datetime | None = None) -> ModelVersion | None:
        """The version that predicts as of a time (None: by all that was decided); see `Timeline` for other roles."""
        return self.timeline(system).champion(_instant(as_of))

    def promote(
        self,
        system: str,
        version: int,
        *,
        created_at: datetime,
        as_of: datetime | None = None,
        reason: str | None = None,
    ) -> ModelVersion:
        """Make `version` the champion; nothing happens if it is.

        Args:
            system: The system's name.
            version: The version's number.
            created_at: Now.
            as_of: From when on it predicts. None: from the latest time among the system's facts, so that the
                next run uses it, in simulated time too.
            reason: Why, for people.

        Raises:
            NotFoundError: There is no such version; lists those there are.
            UsageError: The version was trained on what became known only after `as_of`.
            RegistryError: The tracking server cannot be reached; nothing was recorded then.
        """
        known, fact = self._judgement(system, "promoted", version, as_of, created_at, reason)
        if standing(known.facts, fact.as_of).champion != version:
            self._decide(system, known, fact)
        return self.get(system, version)

    def reject(
        self,
        system: str,
        version: int,
        *,
        created_at: datetime,
        as_of: datetime | None = None,
        reason: str | None = None,
    ) -> ModelVersion:
        """Say that `version` does not become the champion; arguments and errors as in `promote`.

        Raises:
            UsageError: It is the champion: roll back instead.
        """
        known, fact = self._judgement(system, "rejected", version, as_of, created_at, reason)
        if standing(known.facts, fact.as_of).champion == version:
            hint = f"headrace rollback {system}"
            raise UsageError(f"version {version} is the champion", where=system, hint=hint)
        self._decide(system, known, fact)
        return self.get(system, version)

    def rollback(
        self, system: str, *, created_at: datetime, as_of: datetime | None = None, reason: str | None = None
    ) -> ModelVersion:
        """Go back to the champion before the present one; done again, further back.

        Args as in `promote`. Returns the version that is the champion now.

        Raises:
            NotFoundError: There was no champion before.
            RegistryError: The tracking server cannot be reached; nothing was recorded then.
        """
        created_at = location.instant(created_at, "created_at")
        known = records.read(self._store, system)
        since = effective_from(known.facts, _instant(as_of), created_at)
        champions = standing(known.facts, since).champions
        if len(champions) < 2:
            hint = f"headrace models {system}"
            raise NotFoundError("there is no earlier champion to go back to", where=system, hint=hint)
        fact = Fact("rolled_back", champions[-2], since, created_at, len(known.facts), reason)
        self._decide(system, known, fact)
        return self.get(system, champions[-2])

    def fetch(self, version: ModelVersion) -> Path:
        """The files of a version; see `files`."""
        return self.files(version.system, version.version, version.digest)

    def files(self, system: str, version: int, digest: str) -> Path:
        """The files of a version, checked against their digest; got from the tracking server where needed.

        The folder is shared: do not write into it.

        Raises:
            ArtefactError: The files differ from their digest, here and at the server.
            RegistryError: They are not here, and the server cannot be reached or has lost them.
        """
        found = self._cache.get(digest)
        if found is not None:
            return found
        return self._cache.place(digest, lambda to: self._tracking.download(system, version, to))

    def _judgement(
        self,
        system: str,
        event: Event,
        version: int,
        as_of: datetime | None,
        created_at: datetime,
        reason: str | None,
    ) -> tuple[Timeline, Fact]:
        created_at = location.instant(created_at, "created_at")
        known = records.read(self._store, system)
        about = _pick(known, system, version)
        since = effective_from(known.facts, _instant(as_of), created_at)
        if since < about.as_of:
            message = f"version {version} was trained as of {about.as_of.isoformat()}, later than that"
            raise UsageError(message, where="as_of", hint="give a later time, or none")
        return known, Fact(event, version, since, created_at, len(known.facts), reason)

    def _decide(self, system: str, known: Timeline, fact: Fact, version: ModelVersion | None = None) -> None:
        """Show the state to come at the tracking server, then record the fact: the record comes last, so a
        failure or a kill before it leaves nothing decided and can be repeated."""
        now, then = standing(known.facts), standing([*known.facts, _newest(fact, known)])
        self._mirror(system, now, then)
        records.append(self._store, system, fact, version)

    def _mirror(self, system: str, now: Standing, then: Standing) -> None:
        for alias in ("champion", "challenger"):
            number = getattr(then, alias)
            if number is not None or getattr(now, alias) is not None:
                self._tracking.set_alias(system, alias, number)

    def _refuse_reused_number(self, known: Timeline, number: int) -> None:
        if number in known.registered:
            raise RegistryError(
                f"the tracking server gave the number {number}, which another model has already",
                where=safe_uri(self._tracking.uri),
                hint="it was reset or is another one than before: restore it, or start with a new home",
            )


def _copy(folder: Path, to: Path) -> None:
    shutil.copytree(folder, to, dirs_exist_ok=True)


def _pick(known: Timeline, system: str, version: int) -> ModelVersion:
    versions = known.with_states()
    if version not in versions:
        there = ", ".join(map(str, versions))
        hint = f"there are: {there}" if there else f"there is none yet: headrace train {system}"
        raise NotFoundError(f"there is no model version {version}", where=system, hint=hint)
    return versions[version]


def _newest(fact: Fact, known: Timeline) -> Fact:
    from dataclasses import replace

    return replace(fact, order=max((f.order for f in known.facts), default=0) + 1)


def _instant(as_of: datetime | None) -> datetime | None:
    return None if as_of is None else location.instant(as_of, "as_of")


def _by_url(home: Path) -> str:
    """The folder as MLflow takes it in a URI: what it would decode or cut off, by another path."""
    return location.alias(str(home)) if set("%?") & set(str(home)) else str(home)


def _is_sqlite(uri: str) -> bool:
    return uri.startswith("sqlite:")
