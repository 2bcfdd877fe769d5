"""Whether the embedded tracking server and the files of models are what was registered. Imports no mlflow."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from headrace.errors import ArtefactError
from headrace.registry.artefact import folder_digest
from headrace.registry.history import ModelVersion
from headrace.registry.records import pruned, read
from headrace.store import Store
from headrace.store.wal import read_only

_ASK = """
    SELECT v.version, v.storage_location, v.run_id, t.value FROM model_versions AS v LEFT JOIN model_version_tags AS t
    ON t.name = v.name AND t.version = v.version AND t.key = 'headrace.digest' WHERE v.name = ?
"""


def problems(store: Store, home: Path, system: str, *, deep: bool) -> Iterator[tuple[str, str]]:
    """What is wrong with the embedded tracking server and the files of a system's models: which file, and what.

    Args:
        store: Where the facts about models are.
        home: The folder of the embedded server.
        system: The system's name.
        deep: Read every file, and compare its digest.

    Raises:
        StoreError: The facts cannot be read.
    """
    registered = read(store, system).registered
    if not registered or (not (home / "mlflow.db").exists() and not (home / "mlruns").exists()):
        return  # a home that only reads, beside another one's store
    dropped = pruned(store, system)
    try:
        with closing(read_only(home / "mlflow.db")) as connection:
            rows = {row[0]: row[1:] for row in connection.execute(_ASK, (system,))}
    except sqlite3.DatabaseError as error:
        yield "mlflow.db", f"cannot be read: {error}; put it back from a backup"
        return
    for number, version in registered.items():
        if number not in rows:
            yield "mlflow.db", f"has no version {number} of {system}; put it back from a backup"
            continue
        location, run, digest = rows[number]
        if digest != version.digest:
            yield "mlflow.db", f"tells another digest of version {number} of {system} than was registered"
        if number not in dropped:
            yield from _files(version, home, _place(home, system, str(location), str(run)), deep)


def _files(version: ModelVersion, home: Path, folder: Path, deep: bool) -> Iterator[tuple[str, str]]:
    """The files at the server, and the copy of them that predictions are made with, where there is one."""
    label = f"of version {version.version} of {version.system}"
    cached = home / "models" / version.digest
    for place, otherwise in ((folder, f"{cached} may hold a copy"), (cached, "it is copied anew from the server")):
        name = str(place.relative_to(home)) if place.is_relative_to(home) else str(place)
        if not place.is_dir():
            if place == folder:
                yield name, f"the files {label} are gone; {otherwise}"
        elif deep and not _is_whole(place, version.digest):
            yield name, f"the files {label} are not what was registered; {otherwise}"


def _is_whole(folder: Path, digest: str) -> bool:
    try:
        return folder_digest(folder) == digest
    except ArtefactError:
        return False


def _place(home: Path, system: str, location: str, run: str) -> Path:
    """Where the server's files are: in this home, which may be a copy of the one that they were registered in."""
    path = home / "mlruns" / system / run / "artifacts" / "model"
    named = Path(unquote(urlsplit(location).path))
    return named if named.is_dir() and not path.is_dir() else path
