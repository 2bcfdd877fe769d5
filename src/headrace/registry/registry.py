"""`Registry`: the versions of every system's model, who was champion when, and their files.

The store's facts are the truth, because a run as of T must use the champion as of T: no model from the
future gets into a backfill, and runs for different times go on side by side. The tracking server numbers the
versions and shows the latest state to people by its aliases ``champion`` and ``challenger``; nothing is read
back from it but files that the local cache lacks. So asking for a champion imports neither mlflow nor
sqlalchemy.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.errors import ArtefactError, NotFoundError, RegistryError, UsageError
from headrace.files import absolute
from headrace.registry import records
from headrace.registry.artefact import ABOUT_FOLDER, ArtefactCache, folder_digest, size_of
from headrace.registry.history import Event, ModelVersion, Standing, VersionEvent, effective_from, standing
from headrace.registry.records import Timeline
from headrace.registry.tracking import ABOUT, Tracking, safe_uri
from headrace.store import location

if TYPE_CHECKING:
    from headrace.store.store import Store


_COST = "cost."


class Registry:
    """Models of all systems of one store.

    Args:
        store: Where the facts are.
        home: The embedded mode's folder: ``models/`` caches files by digest; ``mlflow.db`` and ``mlruns/``
            are the embedded tracking server.
        tracking_uri: Another MLflow tracking URI, or None for the embedded one.
    """

    def __init__(self, store: Store, home: Path, tracking_uri: str | None = None) -> None:
        home = absolute(home)
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
            metrics: Its metrics; None where there is none. Those whose names begin with ``cost.`` are what it took to
                make and takes to use: they are kept apart, as `ModelVersion.cost`.
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
        digest = folder_digest(folder, without=ABOUT_FOLDER)
        copy = self._cache.place(digest, lambda target: _copy(folder, target))
        beside = folder / ABOUT_FOLDER
        about = folder_digest(beside) if beside.is_dir() else None
        number, run_id = self._tracking.log_version(
            system,
            copy,
            key=f"{key}.{digest[:16]}",  # other files under one key are another version, not a mixture
            params=params,
            metrics=metrics,
            tags={"headrace.digest": digest, "headrace.as_of": as_of.isoformat(), "headrace.pins": pins},
            about=None if about is None else self._cache.place(about, lambda target: _copy(beside, target)),
        )
        self._refuse_reused_number(known, number)
        cost = {name.removeprefix(_COST): value for name, value in metrics.items() if value and name.startswith(_COST)}
        scores = {name: value for name, value in metrics.items() if not name.startswith(_COST)}
        made_from = (digest, key, as_of, created_at, run_id, pins, params, scores)
        model_version = ModelVersion(system, number, *made_from, {**cost, "bytes": size_of(copy)}, about)
        self._decide(system, known, VersionEvent("registered", number, as_of, created_at, 0), model_version)
        return self.get(system, number)

    def log_trials(self, system: str, study: str, trials: Sequence[Mapping[str, Any]], pins: Mapping[str, Any]) -> int:
        """Show the trials of a search to people, as runs below one run of the study; returns how many were new.

        Raises:
            RegistryError: The tracking server cannot be reached or refuses.
        """
        return self._tracking.log_trials(system, study, trials, pins)

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
        evidence: Mapping[str, Any] | None = None,
        by: str | None = None,
    ) -> ModelVersion:
        """Make `version` the champion; nothing happens if it is.

        Args:
            system: The system's name.
            version: The version's number.
            created_at: Now.
            as_of: From when on it predicts. None: from the latest time among the system's facts, so that the
                next run uses it, in simulated time too.
            reason: Why, for people.
            evidence: What it is decided on; JSON values.
            by: Who decides; None: the gate.

        Raises:
            NotFoundError: There is no such version; lists those there are.
            UsageError: The version was trained on what became known only after `as_of`.
            RegistryError: The tracking server cannot be reached; nothing was recorded then.
        """
        known, fact = self._judgement(system, "promoted", version, as_of, created_at, reason)
        self._refuse_pruned(known.registered[version])
        if standing(known.facts, fact.as_of).champion != version:
            self._decide(system, known, replace(fact, evidence=evidence, by=by))
        return self.get(system, version)

    def hold(
        self,
        system: str,
        version: int,
        *,
        created_at: datetime,
        as_of: datetime | None = None,
        reason: str | None = None,
        evidence: Mapping[str, Any] | None = None,
    ) -> ModelVersion:
        """Say that `version` won the gate and waits for approval; the champion goes on. Nothing happens if it waits.

        Args and errors as of `promote`.
        """
        known, fact = self._judgement(system, "held", version, as_of, created_at, reason)
        if standing(known.facts, fact.as_of).pending != version:
            self._decide(system, known, replace(fact, evidence=evidence))
        return self.get(system, version)

    def reject(
        self,
        system: str,
        version: int,
        *,
        created_at: datetime,
        as_of: datetime | None = None,
        reason: str | None = None,
        by: str | None = None,
    ) -> ModelVersion:
        """Say that `version` does not become the champion; arguments and errors as in `promote`.

        Nothing happens if it is rejected, and who did that and why stays; only somebody's word comes over the gate's.

        Raises:
            UsageError: It is the champion: roll back instead.
        """
        known, fact = self._judgement(system, "rejected", version, as_of, created_at, reason)
        now = standing(known.facts, fact.as_of)
        if now.champion == version:
            hint = f"headrace rollback {system}"
            raise UsageError(f"version {version} is the champion", where=system, hint=hint)
        if not now.is_rejected(version) or (by is not None and now.decisions[version].by is None):
            self._decide(system, known, replace(fact, by=by))
        return self.get(system, version)

    def rollback(
        self,
        system: str,
        *,
        created_at: datetime,
        as_of: datetime | None = None,
        reason: str | None = None,
        by: str | None = None,
    ) -> ModelVersion:
        """Go back to the champion before the present one; done again, further back. What was rejected is passed over.

        Args as in `promote`. Returns the version that is the champion now.

        Raises:
            NotFoundError: There was no champion before that is not rejected.
            RegistryError: The tracking server cannot be reached; nothing was recorded then.
        """
        created_at = location.instant(created_at, "created_at")
        known = records.read(self._store, system)
        since = effective_from(known.facts, _instant(as_of), created_at)
        now = standing(known.facts, since)
        if now.earlier is None:
            raise _no_earlier(system, now)
        self._refuse_pruned(known.registered[now.earlier])
        fact = VersionEvent("rolled_back", now.earlier, since, created_at, len(known.facts), reason, by=by)
        self._decide(system, known, fact)
        return self.get(system, now.earlier)

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
        path = self._cache.get(digest)
        if path is not None:
            return path
        return self._cache.place(digest, lambda target: self._tracking.download(system, version, target))

    def about(self, version: ModelVersion) -> Path:
        """The folder of what is known about a version; of one of before its files, which have it among them.

        Raises:
            ArtefactError: The files differ from their digest, here and at the server.
            RegistryError: They are not here, and the server cannot be reached or has lost them.
        """
        if version.about is None:
            return self.fetch(version)
        name, number = version.system, version.version
        path = self._cache.get(version.about)
        if path is not None:
            return path
        return self._cache.place(version.about, lambda target: self._tracking.download(name, number, target, ABOUT))

    def rename(self, system: str, new_name: str) -> None:
        """Give what the tracking server and the cache have of a system another name; numbers and digests stay.

        The facts are the store's, which moves them. Repeated, it changes nothing.

        Raises:
            RegistryError: The server cannot be reached, or has a model of that name.
        """
        self._tracking.rename(system, new_name)

    def forget(self, system: str) -> None:
        """Take away what the tracking server and the cache have of a system; its facts are the store's.

        Files of another system with the same content stay. Repeated, it changes nothing.

        Raises:
            RegistryError: The server cannot be reached.
        """
        digests = self._digests(system)
        used_digests = {each for name in self._store.systems() if name != system for each in self._digests(name)}
        self._tracking.forget(system)
        for digest in digests - used_digests:
            self._cache.drop(digest)

    def _digests(self, system: str) -> set[str]:
        versions = self.timeline(system).registered.values()
        return {digest for version in versions for digest in (version.digest, version.about) if digest is not None}

    def drop_copies(self, system: str) -> int:
        """Delete the copies of a system's models that the tracking server has too; returns how many bytes went.

        They are got from there again when they are asked for.

        Raises:
            StoreError: The facts cannot be read.
        """
        versions = self.timeline(system).registered.values()
        return sum(self._cache.drop(v.digest) for v in versions if self._tracking.keeps(v.run_id))

    def drop_files(self, version: ModelVersion) -> int:
        """Delete the files of a version, here and in the embedded server; returns how many bytes went.

        Another MLflow server keeps its own: there they can be got again.

        Raises:
            RegistryError: The server cannot be reached.
            StoreError: That they went cannot be noted.
        """
        dropped = records.pruned(self._store, version.system)
        records.note_pruned(self._store, version.system, dropped | {version.version})
        return self._cache.drop(version.digest) + self._tracking.drop_files(version.run_id)

    def held(self, version: ModelVersion) -> int:
        """Bytes that `drop_files` would free."""
        return self._cache.size(version.digest) + self._tracking.held(version.run_id)

    def _judgement(
        self,
        system: str,
        event: Event,
        version: int,
        as_of: datetime | None,
        created_at: datetime,
        reason: str | None,
    ) -> tuple[Timeline, VersionEvent]:
        created_at = location.instant(created_at, "created_at")
        known = records.read(self._store, system)
        record = _pick(known, system, version)
        since = effective_from(known.facts, _instant(as_of), created_at)
        if since < record.as_of:
            message = f"version {version} was trained as of {record.as_of.isoformat()}, later than that"
            raise UsageError(message, where="as_of", hint="give a later time, or none")
        return known, VersionEvent(event, version, since, created_at, len(known.facts), reason)

    def _decide(self, system: str, known: Timeline, fact: VersionEvent, version: ModelVersion | None = None) -> None:
        """Show the state to come at the tracking server, then record the fact: the record comes last, so a
        failure or a kill before it leaves nothing decided and can be repeated."""
        now, later = standing(known.facts), standing([*known.facts, _newest(fact, known)])
        self._mirror(system, now, later)
        records.append(self._store, system, fact, version)

    def _mirror(self, system: str, now: Standing, later: Standing) -> None:
        for alias, before, number in (
            ("champion", now.champion, later.champion),
            ("challenger", now.challenger or now.pending, later.challenger or later.pending),
        ):
            if number is not None or before is not None:
                self._tracking.set_alias(system, alias, number)

    def _refuse_pruned(self, version: ModelVersion) -> None:
        """Raises `ArtefactError` where the files of a version are gone for good."""
        if version.version not in records.pruned(self._store, version.system) or self._cache.get(version.digest):
            return
        if self._tracking.embedded and not self._tracking.held(version.run_id):
            message = f"the files of version {version.version} were pruned"
            raise ArtefactError(message, where=version.system, hint=f"train anew: headrace train {version.system}")

    def _refuse_reused_number(self, known: Timeline, number: int) -> None:
        if number in known.registered:
            raise RegistryError(
                f"the tracking server gave the number {number}, which another model has already",
                where=safe_uri(self._tracking.uri),
                hint="it was reset or is another one than before: restore it, or start with a new home",
            )


def _copy(folder: Path, target: Path) -> None:
    shutil.copytree(folder, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(ABOUT_FOLDER))


def _pick(known: Timeline, system: str, version: int) -> ModelVersion:
    versions = known.with_states()
    if version not in versions:
        numbers = ", ".join(map(str, versions))
        hint = f"there are: {numbers}" if numbers else f"there is none yet: headrace train {system}"
        raise NotFoundError(f"there is no model version {version}", where=system, hint=hint)
    return versions[version]


def _no_earlier(system: str, now: Standing) -> NotFoundError:
    """Why there is nothing to go back to."""
    rejected = sorted({each for each in now.champions if each != now.champion})
    if not rejected:
        hint = f"headrace models {system}"
        return NotFoundError("there is no earlier champion to go back to", where=system, hint=hint)
    numbers = " and ".join(map(str, rejected)) + (" was" if len(rejected) == 1 else " were")
    hint = f"headrace promote {system} V takes one that was rejected"
    return NotFoundError(f"there is no earlier champion to go back to: {numbers} rejected", where=system, hint=hint)


def _newest(fact: VersionEvent, known: Timeline) -> VersionEvent:
    return replace(fact, order=max((f.order for f in known.facts), default=0) + 1)


def _instant(as_of: datetime | None) -> datetime | None:
    return None if as_of is None else location.instant(as_of, "as_of")


def _by_url(home: Path) -> str:
    """The folder as MLflow takes it in a URI: what it would decode or cut off, by another path."""
    return location.alias(str(home)) if set("%?") & set(str(home)) else str(home)


def _is_sqlite(uri: str) -> bool:
    return uri.startswith("sqlite:")
