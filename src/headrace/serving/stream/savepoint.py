"""The state of a stream in a file: kept beside the cluster, and put back when the cluster has lost it."""

from __future__ import annotations

import hashlib
import json
import os
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from headrace.errors import StreamError, UsageError
from headrace.home import Home
from headrace.serving.engine.positions import POSITION
from headrace.serving.stream.engines import changelog_of
from headrace.serving.stream.offline import Offline
from headrace.serving.stream.rebuild import Rebuild
from headrace.serving.stream.restore import StoredState, as_committed, found_of
from headrace.sources.broker import Broker
from headrace.system import System

_FORMAT = 1


def save(system: System, home: Home, broker: Broker, path: Path, *, shadow: int | None = None) -> dict[str, Any]:
    """Write the state as committed to a file, whole or not at all; workers may go on meanwhile.

    Returns ``file records bytes digest partitions[{partition offset records}]``.

    Args:
        system: The declaration.
        home: Whose settings of times count.
        broker: The cluster.
        path: Of the file; one that is there is replaced.
        shadow: Of this version, which scores beside.

    Raises:
        StreamError: There is no state, it is damaged, or the cluster failed.
    """
    topics, changelog = system.topics.of_shadow(shadow), changelog_of(system, home)
    count = broker.partitions().get(topics.state)
    if count is None:
        raise StreamError("there is no state", where=topics.state, hint="the first worker makes it")
    partial, digest, results = path.with_name(f".{path.name}.{os.getpid()}"), hashlib.sha256(), []
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with partial.open("wb") as file:

            def put(line: dict[str, Any]) -> None:
                data = json.dumps(line).encode() + b"\n"
                digest.update(data)
                file.write(data)

            put({"format": _FORMAT, "system": topics.stream, "at": datetime.now(UTC).isoformat(), "partitions": count})
            for partition in range(count):
                records = as_committed(broker, topics.state, partition)
                state = found_of(changelog, partition, records, topics.state)
                if state.position is None or not state.whole:
                    hint = f"headrace stream rebuild {topics.arguments}"
                    raise StreamError(state.damage, where=f"{topics.state}[{partition}]", hint=hint)
                live = {key: value for key, value, _ in records}
                for key in [POSITION, *(key for key in live if key in state.keys)]:
                    value = live[key]
                    assert value is not None
                    put({"p": partition, "k": b64encode(key).decode(), "v": b64encode(value).decode()})
                results.append({"partition": partition, "offset": state.position.offset, "records": len(state.records)})
            file.write(json.dumps({"sha256": digest.hexdigest()}).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        size = partial.stat().st_size
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    total = sum(entry["records"] for entry in results)
    result = {"system": topics.stream, "file": str(path), "records": total, "bytes": size}
    return {**result, "digest": digest.hexdigest(), "partitions": results}


@dataclass(frozen=True)
class Saved:
    """What a file holds.

    Attributes:
        path: Of the file.
        partitions: The records of each partition, as the state topic would have them.
    """

    path: Path
    partitions: dict[int, list[tuple[bytes | None, bytes | None, int]]]

    @classmethod
    def read(cls, path: Path, system: str) -> Saved:
        """Read and check a file.

        Raises:
            UsageError: There is no such file, or it is another system's.
            StreamError: It is not as it was written.
        """
        if not path.is_file():
            raise UsageError("there is no such file", where=str(path))
        hint = "take another savepoint, or make the state from the log: headrace stream rebuild"
        try:
            head, *lines = _checked(path)
            if head["format"] != _FORMAT:
                raise ValueError(f"its format is {head['format']}, this version knows {_FORMAT}")
            records: dict[int, list[tuple[bytes | None, bytes | None, int]]] = {}
            for i, line in enumerate(lines):
                records.setdefault(line["p"], []).append((b64decode(line["k"]), b64decode(line["v"]), i))
        except (ValueError, KeyError, TypeError) as error:
            raise StreamError(f"the savepoint is damaged: {error}", where=str(path), hint=hint) from error
        if head["system"] != system:
            raise UsageError(f"it is a savepoint of {head['system']}, not of {system}", where=str(path))
        return cls(path, records)


def _checked(path: Path) -> Iterator[dict[str, Any]]:
    digest, content = hashlib.sha256(), None
    with path.open("rb") as file:
        for line in file:
            if content is not None:
                raise ValueError("it goes on after its end")
            document = json.loads(line)
            content = document.get("sha256")
            if content is None:
                digest.update(line)
                yield document
    if content != digest.hexdigest():
        raise ValueError("it is cut off" if content is None else "its digest is another")


def restore(system: System, home: Home, broker: Broker, path: Path, *, shadow: int | None = None) -> dict[str, Any]:
    """Make the state anew from a file and the events since; returns what `rebuild` returns, with ``file``.

    No event is answered twice: where events after the savepoint have outcomes, they are put to the state and the
    stream goes on after them.

    Args:
        system: The declaration.
        home: Where models and tables are.
        broker: The cluster.
        path: Of the file.
        shadow: Of this version, which scores beside.

    Raises:
        UsageError: There is no such file, or it is another stream's.
        StreamError: The file is damaged or of another topic, workers are live, or the cluster failed.
    """
    saved, results = Saved.read(path, system.topics.of_shadow(shadow).stream), []
    with Offline(system, home, broker, shadow) as offline:
        committed = offline.committed()
        bases = {p: _base(offline, saved, p) for p in sorted(offline.log.ends)}  # all, before the first is written
        for partition, base in bases.items():
            state = offline.found(partition)
            position = offline.position(state, committed.get(partition, -1))
            begin = base.position
            assert begin is not None, "it was looked at"
            if (position.log, position.offset) < (begin.log, begin.offset):
                position = begin
            making = Rebuild(offline.engine, offline.broker, offline.topics, offline.log, offline.again)
            events = making.state(partition, position, base=base)
            for changes, last in making.records(partition, position, state.keys):
                position = last or position
                offline.write(changes, {partition: position.offset})
            result = {"partition": partition, "offset": position.offset, "events": events}
            results.append({**result, "records": position.state.records})
    return {"system": offline.topics.stream, "file": str(path), "partitions": results}


def _base(offline: Offline, saved: Saved, partition: int) -> StoredState:
    records = saved.partitions.get(partition, [])
    base, where = found_of(offline.engine.changelog, partition, records, str(saved.path)), str(saved.path)
    if base.position is None or not base.whole:
        raise StreamError(f"partition {partition} is not in it", where=where)
    if None not in (base.position.topic, offline.log.id) and base.position.topic != offline.log.id:
        raise StreamError(
            f"it is of another topic {offline.topics.events}, which was deleted since",
            where=where,
            hint=f"make the state from the log: headrace stream rebuild {offline.topics.arguments}",
        )
    return base
