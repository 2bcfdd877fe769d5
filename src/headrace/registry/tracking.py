"""The tracking server: runs, model versions and their files. The only file that imports mlflow, and lazily.

Embedded it is a SQLite file and a folder; every other MLflow tracking URI goes through the same code.
"""

from __future__ import annotations

import logging
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from headrace.errors import RegistryError, UsageError
from headrace.files import disk_trouble
from headrace.registry.lock import exclusive

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_KEY = "headrace.key"
_FOLDER = "model"
_BATCH = 100
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # Seven tries with growing pauses would let a command hang for minutes where no server answers.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
}


class Tracking:
    """Where versions of models are numbered and kept for people and other programs.

    With a ``sqlite:`` or ``file:`` URI all work is done under a lock between processes: MLflow's first use of
    a database is a race otherwise, and the loser fails.

    Args:
        uri: Any MLflow tracking URI.
        artifact_root: Where the files go; None leaves it to the server.
    """

    def __init__(self, uri: str, artifact_root: Path | str | None = None) -> None:
        self.uri = uri
        self._root = artifact_root
        self._path = _local_path(uri)
        self._client: MlflowClient | None = None

    def log_version(
        self,
        name: str,
        folder: Path,
        *,
        key: str,
        params: Mapping[str, Any],
        metrics: Mapping[str, float | None],
        tags: Mapping[str, Any],
    ) -> tuple[int, str]:
        """Keep `folder` as a new version of the model `name`; the same key again is the same version.

        Killed at any moment and repeated, it goes on with the run that it had begun.

        Args:
            name: The registered model and the experiment.
            folder: The model's files.
            key: A digest of all that makes the version; letters, digits and ``._:-``.
            params: Nested mappings become dotted names.
            metrics: None and values that are not finite stay in ``headrace.json`` only.
            tags: On the run and the version; what is not text is written as JSON.

        Returns:
            The version's number and the run's id.

        Raises:
            UsageError: The key has other characters.
            RegistryError: The server cannot be reached or refuses.
        """
        if not re.fullmatch(r"[\w.:-]+", key, re.ASCII):
            raise UsageError(f"{key!r} cannot be a key", where="key", hint="use a digest in hex")
        texts = {_KEY: key, **{k: v if isinstance(v, str) else _json(v) for k, v in tags.items()}}
        with self._session() as client:
            found = self._find(client, name, key)
            if found:
                return found
            run = self._run(client, name, key, texts)
            self._describe(client, run, params, metrics, tags)
            client.log_artifacts(run.info.run_id, str(folder), _FOLDER)
            client.set_terminated(run.info.run_id, "FINISHED")
            self._ensure_model(client, name)
            made = client.create_model_version(name, f"{run.info.artifact_uri}/{_FOLDER}", run.info.run_id, tags=texts)
            # Where no lock is shared (a server), two processes may both have made one: the first counts.
            first = self._find(client, name, key) or (int(made.version), run.info.run_id)
            if first[0] != int(made.version):
                client.delete_model_version(name, made.version)
            return first

    def set_alias(self, name: str, alias: str, version: int | None) -> None:
        """Let `alias` name `version`; None takes the alias away, if it is there.

        Raises:
            RegistryError: The server cannot be reached, or knows no such version.
        """
        with self._session() as client:
            if version is not None:
                client.set_registered_model_alias(name, alias, str(version))
            elif alias in client.get_registered_model(name).aliases:
                client.delete_registered_model_alias(name, alias)

    def download(self, name: str, version: int, to: Path) -> None:
        """Copy a version's files into the folder `to`.

        Raises:
            RegistryError: The server cannot be reached, or the version or its files are gone.
        """
        with self._session() as client, tempfile.TemporaryDirectory() as temporary:
            from mlflow.artifacts import download_artifacts

            source = client.get_model_version_download_uri(name, str(version))
            found = download_artifacts(artifact_uri=source, dst_path=temporary, tracking_uri=self.uri)
            shutil.copytree(found, to, dirs_exist_ok=True)

    @contextmanager
    def _session(self) -> Iterator[MlflowClient]:
        """A client, alone on this machine in the embedded mode; every failure as `RegistryError`."""
        if self.uri.startswith("file:"):
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
            # This store asks the default server too, which would make a new mlflow.db in the working folder.
            os.environ.setdefault("MLFLOW_TRACKING_URI", self.uri)
        _quiet_import()
        from alembic.util import CommandError
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with self._lock():
                if self._client is None:
                    self._create_database()
                    self._client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
                yield self._client
        except (MlflowException, SQLAlchemyError, CommandError, OSError) as error:
            hint = "check the tracking URI, and that its server runs and lets you in"
            if self._path is not None:
                hint = "check the disk's space and the folder's permissions, and run again: nothing was lost"
            raise RegistryError(_said(error, self.uri), where=safe_uri(self.uri), hint=hint) from error

    def _lock(self) -> AbstractContextManager[None]:
        if self._path is None:
            return nullcontext()
        return exclusive(self._path.with_name(self._path.name + ".lock"))

    def _create_database(self) -> None:
        """Make a new SQLite database aside and place it whole.

        MLflow makes it by some 70 migrations, each synced to disk: 6 s, and a process killed among them
        leaves a database that no later one can open. A draft needs no syncing: 1 s.
        """
        if self._path is None or not self.uri.startswith("sqlite:") or self._path.exists():
            return
        with tempfile.TemporaryDirectory(dir=self._path.parent, prefix=".mlflow-") as folder:
            draft = Path(folder, "draft.db")
            with _unsynced(draft):
                _client(f"sqlite:///{draft}").search_experiments(max_results=1)
            # MLflow keeps its connection to the draft: place a copy, which nobody has open.
            shutil.copyfile(draft, Path(folder, "whole.db"))
            Path(folder, "whole.db").replace(self._path)

    def _find(self, client: MlflowClient, name: str, key: str) -> tuple[int, str] | None:
        query = f"name = '{name}' and tags.`{_KEY}` = '{key}'"
        versions = [(int(v.version), str(v.run_id)) for v in client.search_model_versions(query)]
        return min(versions, default=None)

    def _run(self, client: MlflowClient, name: str, key: str, tags: dict[str, str]) -> Run:
        experiment = self._experiment(client, name)
        begun = client.search_runs([experiment], f"tags.`{_KEY}` = '{key}'", max_results=1)
        return begun[0] if begun else client.create_run(experiment, tags=tags, run_name=f"{name}-{key[:8]}")

    def _experiment(self, client: MlflowClient, name: str) -> str:
        from mlflow.exceptions import MlflowException

        location = None
        if self._root is not None:
            location = str(self._root) if "://" in str(self._root) else Path(self._root).absolute().as_uri()
        found = client.get_experiment_by_name(name)
        if found is None:
            try:
                return client.create_experiment(name, location and f"{location}/{name}")
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = client.get_experiment_by_name(name)
        if found is None:
            raise RegistryError(f"the experiment {name} is there and is not", where=safe_uri(self.uri))
        return str(found.experiment_id)

    def _describe(
        self,
        client: MlflowClient,
        run: Run,
        params: Mapping[str, Any],
        metrics: Mapping[str, float | None],
        tags: Mapping[str, Any],
    ) -> None:
        from mlflow.entities import Metric, Param

        finite = {k: v for k, v in metrics.items() if v is not None and math.isfinite(v)}
        time = run.info.start_time
        measured = [Metric(k, v, time, 0) for k, v in finite.items() if k not in run.data.metrics]
        given = [Param(k, v) for k, v in _flat(params) if k not in run.data.params]
        for start in range(0, max(len(measured), len(given)), _BATCH):
            part = slice(start, start + _BATCH)
            client.log_batch(run.info.run_id, metrics=measured[part], params=given[part])
        everything = {"params": dict(params), "metrics": dict(metrics), "tags": dict(tags)}
        client.log_text(run.info.run_id, _json(everything), "headrace.json")

    def _ensure_model(self, client: MlflowClient, name: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise


def safe_uri(uri: str) -> str:
    """The URI without user name and password."""
    return re.sub(r"//[^/@]*@", "//", uri)


def _said(error: BaseException, uri: str) -> str:
    """A failure in one line, without the statement that failed: SQLAlchemy tells it after the driver's words."""
    if (trouble := disk_trouble(error)) is not None:
        return f"the versions of models cannot be kept: {trouble}"
    lines = _safe(str(error), uri).partition("[SQL:")[0].strip().splitlines()
    return " ".join(line.strip() for line in lines[:2])[:300] or type(error).__name__


def _safe(message: str, uri: str) -> str:
    message = message.replace(uri, safe_uri(uri))
    password = urlsplit(uri).password if "@" in uri else None
    for secret in {password, unquote(password)} if password else set():
        message = message.replace(secret, "***")
    return message


def _local_path(uri: str) -> Path | None:
    """The file or folder of an embedded server."""
    if uri.startswith("sqlite:///"):
        return Path(uri.removeprefix("sqlite:///").partition("?")[0]).absolute()
    return Path(unquote(urlsplit(uri).path)).absolute() if uri.startswith("file:") else None


def _json(value: object) -> str:
    import json

    return json.dumps(value, sort_keys=True, default=str)


def _flat(params: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in params.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else _json(value)


@contextmanager
def _unsynced(database: Path) -> Iterator[None]:
    """Let SQLAlchemy's connections to this one SQLite file skip waiting for the disk."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def relax(connection: Any, _record: object) -> None:
        # Connections of other libraries pass here too: only SQLite answers with this file's name.
        if type(connection).__module__ == "sqlite3":
            files = [row[2] for row in connection.execute("PRAGMA database_list").fetchall()]
            if files and files[0] and Path(files[0]).resolve() == database.resolve():
                connection.execute("PRAGMA synchronous = OFF")
                connection.execute("PRAGMA journal_mode = MEMORY")

    event.listen(Engine, "connect", relax)
    try:
        yield
    finally:
        event.remove(Engine, "connect", relax)


def _client(uri: str) -> MlflowClient:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


@cache
def _quiet_import() -> None:
    """Import mlflow so that it neither prints nor calls home: what fails is raised, its logs add nothing."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import mlflow.tracking  # noqa: F401

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
