"""How facts about models are kept in the store: one row of the table ``models`` of each system per fact."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace.errors import CorruptTableError, NotFoundError
from headrace.registry.history import ModelVersion, Standing, VersionEvent, standing
from headrace.store.failures import intact

if TYPE_CHECKING:
    from headrace.store.store import Store

_TABLE = "models"
FALLBACK = "fallback"
"""The pin of a version that serves a baseline because an alarm asked for it: it is no training."""
_NOTE = "_facts.json"
"""Beginning so, it is no file of the table's own to those who read it or clear it up."""
_PRUNED = "pruned.json"
_TIMES = ("known_at", "created_at")
# A version is registered once. A decision may be taken again (promote, roll back, promote): its place counts.
_IDENTITY = ("event", "version", "place")


class Timeline(NamedTuple):
    """A system's facts about its models and the versions that they are about: who was what, when.

    Attributes:
        facts: In no particular order.
        registered: Each version as it was registered, by number; its state is not filled in.
    """

    facts: Sequence[VersionEvent]
    registered: Mapping[int, ModelVersion]

    def with_states(self, as_of: datetime | None = None) -> dict[int, ModelVersion]:
        """The versions registered by `as_of` with what they were at that time."""
        now = standing(self.facts, as_of)
        return {
            number: _standing(version, now)
            for number, version in sorted(self.registered.items())
            if as_of is None or version.as_of <= as_of
        }

    def champion(self, as_of: datetime | None = None) -> ModelVersion | None:
        """The version that predicts as of a time (None: the last): the last promoted or gone back to by then."""
        return self._who(standing(self.facts, as_of).champion, as_of)

    def challenger(self, as_of: datetime) -> ModelVersion | None:
        """The version trained last as of a time, while it was neither promoted nor rejected by then."""
        return self._who(standing(self.facts, as_of).challenger, as_of)

    def pending(self, as_of: datetime) -> ModelVersion | None:
        """The version that won the gate and waits for approval as of a time."""
        return self._who(standing(self.facts, as_of).pending, as_of)

    def latest_trained(self, as_of: datetime) -> ModelVersion | None:
        """The version trained last as of a time, whatever became of it: tells whether training is due.

        A baseline that is served because an alarm asked for it is none.
        """
        trained = [fact for fact in self.facts if not self._falls_back(fact)]
        return self._who(standing(trained, as_of).latest, as_of)

    def _falls_back(self, fact: VersionEvent) -> bool:
        version = self.registered.get(fact.version)
        return version is not None and bool(version.pins.get(FALLBACK))

    def _who(self, version: int | None, as_of: datetime | None) -> ModelVersion | None:
        return None if version is None else self.with_states(as_of)[version]


def _standing(version: ModelVersion, now: Standing) -> ModelVersion:
    """A version with what it is."""
    number = version.version
    decision = now.decisions.get(number)
    by = None if decision is None else decision.by
    return replace(
        version,
        state=now.state(number),
        reason=now.reasons.get(number),
        evidence=now.evidence.get(number),
        decided_by=by,
        decided_at=None if decision is None else decision.created_at,
        decision=None if decision is None or by is None else decision.reason,
    )


def read(store: Store, system: str) -> Timeline:
    """All facts of a system; none where it has no table yet.

    Raises:
        StoreError: The table cannot be read.
    """
    try:
        rows = _noted(store, system) or _stored(store, system)
    except NotFoundError:
        return Timeline((), {})
    facts = tuple(_fact(system, row) for row in rows)
    registered = [_version(system, row) for row in rows if row["event"] == "registered"]
    return Timeline(facts, {version.version: version for version in registered})


def append(store: Store, system: str, fact: VersionEvent, version: ModelVersion | None = None) -> None:
    """Add one fact; `version` goes with ``registered``. The same fact again adds nothing.

    Raises:
        StoreError: The table cannot be written.
    """
    import polars as pl

    time = pl.Datetime("us", "UTC")
    schema = {
        "event": pl.String(),
        "version": pl.Int64(),
        "place": pl.Int64(),
        "known_at": time,
        "created_at": time,
        "reason": pl.String(),
        **dict.fromkeys(("digest", "key", "run_id", "pins", "params", "metrics"), pl.String()),
    }
    row: dict[str, Any] = {
        "event": fact.event,
        "version": fact.version,
        "place": 0 if version else fact.order,
        "known_at": fact.as_of,
        "created_at": fact.created_at,
        "reason": fact.reason,
    }
    if version is not None:
        row |= {"digest": version.digest, "key": version.key, "run_id": version.run_id}
        row |= {name: _json(getattr(version, name)) for name in ("pins", "params", "metrics")}
        row["cost"], schema["cost"] = _json(version.cost), pl.String()
        if version.about is not None:
            row["about"], schema["about"] = version.about, pl.String()
    if fact.evidence is not None:  # a column of its own, which tables of before do not have
        row["evidence"], schema["evidence"] = _json(fact.evidence), pl.String()
    if fact.by is not None:
        row["decided_by"], schema["decided_by"] = fact.by, pl.String()
    frame = pl.DataFrame([row], schema=schema)
    compare = ("digest",) if version else ()
    store.table(system, _TABLE).append(frame, identity=_IDENTITY, compare=compare, window="known_at")
    _note(store, system)


def pruned(store: Store, system: str) -> set[int]:
    """Versions whose files were deleted because nothing that is kept pins them.

    Raises:
        StoreError: The store cannot be read.
    """
    noted = store.noted(f"{system}/{_PRUNED}")
    return set() if noted is None else set(json.loads(noted))


def note_pruned(store: Store, system: str, versions: Collection[int]) -> None:
    """Note of which versions the files are about to be deleted.

    Raises:
        StoreError: The store cannot be written.
    """
    store.note(f"{system}/{_PRUNED}", json.dumps(sorted(versions)).encode())


def _stored(store: Store, system: str) -> list[dict[str, Any]]:
    table = store.table(system, _TABLE)
    return table.collect(table.scan()).to_dicts()


def _note(store: Store, system: str) -> None:
    """Keep the facts beside the table too: who asks for the champion every few seconds need not open it for that.

    The number of the table's newest commit goes with them, asked for before they are read. Should it still be the
    newest, the facts are all; should another writer have been quicker, or this one be killed here, it is not.
    """
    commit = store.commit(system, _TABLE)
    text = json.dumps({"commit": commit, "rows": _stored(store, system)}, default=datetime.isoformat)
    store.note(f"{system}/{_TABLE}/{_NOTE}", text.encode())


def _noted(store: Store, system: str) -> list[dict[str, Any]] | None:
    """The facts that `_note` kept; None where they are not all."""
    commit = store.commit(system, _TABLE)
    try:
        noted = store.noted(f"{system}/{_TABLE}/{_NOTE}")
        if commit is None or noted is None:
            return None
        document = json.loads(noted)
        rows = [row | {name: datetime.fromisoformat(row[name]) for name in _TIMES} for row in document["rows"]]
    except (ValueError, KeyError, TypeError, CorruptTableError):  # damaged: the table says the same
        return None
    return rows if document["commit"] == commit else None


def _fact(system: str, row: Mapping[str, Any]) -> VersionEvent:
    with intact(f"{system}/{_TABLE}", "headrace verify --deep says which file is damaged"):
        evidence = json.loads(row["evidence"]) if row.get("evidence") else None
    times, order, by = (row["known_at"], row["created_at"]), row["_version"], row.get("decided_by")
    return VersionEvent(row["event"], row["version"], *times, order, row["reason"], evidence, by)


def _version(system: str, row: Mapping[str, Any]) -> ModelVersion:
    texts = {name: row[name] for name in ("digest", "key", "run_id")}
    with intact(f"{system}/{_TABLE}", "headrace verify --deep says which file is damaged"):
        objects: dict[str, Any] = {name: dict(json.loads(row[name])) for name in ("pins", "params", "metrics")}
        objects["cost"] = json.loads(row.get("cost") or "{}")
    times = {"as_of": row["known_at"], "created_at": row["created_at"]}
    return ModelVersion(system=system, version=row["version"], **texts, **objects, **times, about=row.get("about"))


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), sort_keys=True, default=str)
