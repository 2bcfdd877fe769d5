"""The tracking server: runs, model versions and their files. The only file that imports mlflow, and lazily.

Embedded it is a SQLite file and a folder; every other MLflow tracking URI goes through the same code.
"""

from __future__ import annotations

import logging
import math
import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from headrace.errors import RegistryError, UsageError
from headrace.files import absolute, disk_trouble
from headrace.passwords import login_of
from headrace.registry.artefact import size_of
from headrace.registry.empty_database import place_empty
from headrace.registry.lock import exclusive
from headrace.registry.moved import follow

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_KEY = "headrace.key"
_FOLDER = "model"
ABOUT = "about"
"""Where a run has what is known about its model, beside the model."""
_BATCH = 100
_TRIALS = "headrace.trials"
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
        about: Path | None = None,
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
            about: A folder of what is known about the model, which is kept beside it.

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
            existing = self._find(client, name, key)
            if existing:
                return existing
            run = self._run(client, name, key, texts)
            self._describe(client, run, params, metrics, tags)
            client.log_artifacts(run.info.run_id, str(folder), _FOLDER)
            if about is not None:
                client.log_artifacts(run.info.run_id, str(about), ABOUT)
            client.set_terminated(run.info.run_id, "FINISHED")
            self._ensure_model(client, name)
            model_version = client.create_model_version(
                name, f"{run.info.artifact_uri}/{_FOLDER}", run.info.run_id, tags=texts
            )
            # Where no lock is shared (a server), two processes may both have made one: the first counts.
            first = self._find(client, name, key) or (int(model_version.version), run.info.run_id)
            if first[0] != int(model_version.version):
                client.delete_model_version(name, model_version.version)
            return first

    def log_trials(self, name: str, study: str, trials: Sequence[Mapping[str, Any]], pins: Mapping[str, Any]) -> int:
        """Keep trials of a search as runs below one run of the study; those that are there already are left alone.

        Args:
            name: The experiment.
            study: The study's name, by which its run is found again.
            trials: ``number state values loss folds seconds error`` each; running ones are left out.
            pins: What the study was made from.

        Returns:
            How many were new.

        Raises:
            RegistryError: The server cannot be reached or refuses.
        """
        ended = [trial for trial in trials if trial["state"] != "running"]
        with self._session() as client:
            key = f"study-{study}"
            tags = {_KEY: key, "headrace.pins": _json(pins), "headrace.kind": "study"}
            parent = self._run(client, name, key, tags)
            logged = parent.data.tags.get(_TRIALS, "")
            done = {int(number) for number in logged.split(",") if number}
            fresh = [trial for trial in ended if trial["number"] not in done]
            for start in range(0, len(fresh), _BATCH):
                part = fresh[start : start + _BATCH]
                for trial in part:
                    _log_trial(client, parent, study, trial)
                done |= {trial["number"] for trial in part}
                client.set_tag(parent.info.run_id, _TRIALS, ",".join(map(str, sorted(done))))
            client.set_terminated(parent.info.run_id, "FINISHED")
            return len(fresh)

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

    def download(self, name: str, version: int, target: Path, part: str = _FOLDER) -> None:
        """Copy a version's files, or what is known about it, into a folder.

        Raises:
            RegistryError: The server cannot be reached, or the version or its files are gone.
        """
        with self._session() as client, tempfile.TemporaryDirectory() as temporary:
            from mlflow.artifacts import download_artifacts

            run_id = str(client.get_model_version(name, str(version)).run_id)
            folders = [files for run in self._folders(run_id) if (files := run / "artifacts" / part).is_dir()]
            if folders:  # the database of a home that was copied names the other home's files
                shutil.copytree(folders[0], target, dirs_exist_ok=True)
                return
            source = client.get_model_version_download_uri(name, str(version))
            source = source.removesuffix(_FOLDER) + part
            path = download_artifacts(artifact_uri=source, dst_path=temporary, tracking_uri=self.uri)
            shutil.copytree(path, target, dirs_exist_ok=True)

    @property
    def embedded(self) -> bool:
        """Whether it is a file or folder of this machine."""
        return self._path is not None

    @property
    def _absent(self) -> bool:
        """Whether this is an embedded server that nobody has begun: to ask it would make it."""
        return self._path is not None and not self._path.exists()

    def rename(self, name: str, new_name: str) -> None:
        """Give a model and its experiment another name; repeated, it changes nothing.

        Raises:
            RegistryError: The server cannot be reached, or has a model of that name.
        """
        if self._absent:
            return
        with self._session() as client:
            if _has_model(client, name):
                client.rename_registered_model(name, new_name)
            experiment = client.get_experiment_by_name(name)
            if experiment is not None and experiment.lifecycle_stage == "active":
                client.rename_experiment(experiment.experiment_id, new_name)

    def forget(self, name: str) -> None:
        """Delete a model with its versions and runs, of an embedded server the files too; repeated, it changes nothing.

        Raises:
            RegistryError: The server cannot be reached.
        """
        if self._absent:
            return
        with self._session() as client:
            experiment = client.get_experiment_by_name(name)
            if experiment is not None and experiment.lifecycle_stage == "active":
                for run in client.search_runs([experiment.experiment_id], max_results=10_000):
                    for folder in self._folders(run.info.run_id):
                        shutil.rmtree(folder)
            if _has_model(client, name):
                client.delete_registered_model(name)
            if experiment is not None and experiment.lifecycle_stage == "active":
                # MLflow keeps what was deleted for a while, under its name: a new one must find it free.
                client.rename_experiment(experiment.experiment_id, f"{name}-deleted-{experiment.experiment_id}")
                client.delete_experiment(experiment.experiment_id)

    def keeps(self, run_id: str) -> bool:
        """Whether an embedded server has a version's files; of another one it is not asked."""
        return self.held(run_id) > 0

    def held(self, run_id: str) -> int:
        """Bytes of a version's files in an embedded server; 0 in any other."""
        return sum(size_of(folder / "artifacts" / _FOLDER) for folder in self._folders(run_id))

    def drop_files(self, run_id: str) -> int:
        """Delete a version's files in an embedded server; returns their bytes."""
        freed = self.held(run_id)
        for folder in self._folders(run_id):
            if (folder / "artifacts" / _FOLDER).is_dir():
                shutil.rmtree(folder / "artifacts" / _FOLDER)
        return freed

    def _folders(self, run_id: str) -> list[Path]:
        """The folder of a run, in this home alone: a home that was copied names the other one's files."""
        root = self._path if self.uri.startswith("file:") else self._root
        return [] if root is None or "://" in str(root) else sorted(Path(root).glob(f"*/{run_id}"))

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
        except (MlflowException, SQLAlchemyError, CommandError, sqlite3.Error, OSError) as error:
            hint = "check the tracking URI, and that its server runs and lets you in"
            if self._path is not None:
                hint = "check the disk's space and the folder's permissions, and run again: nothing was lost"
            if getattr(error, "error_code", None) == "RESOURCE_DOES_NOT_EXIST":
                hint = "was it removed there? Choose another version, or train again"
            raise RegistryError(_said(error, self.uri), where=safe_uri(self.uri), hint=hint) from error

    def _lock(self) -> AbstractContextManager[None]:
        if self._path is None:
            return nullcontext()
        return exclusive(self._path.with_name(self._path.name + ".lock"))

    def _create_database(self) -> None:
        """Make a new SQLite database aside and place it whole.

        MLflow makes it by some 70 migrations, each synced to disk: 6 s, and a process killed among them
        leaves a database that no later one can open. A draft needs no syncing: 1 s, and is kept for the next home.
        """
        if self._path is None or not self.uri.startswith("sqlite:") or self._path.exists():
            return
        import mlflow

        with tempfile.TemporaryDirectory(dir=self._path.parent, prefix=".mlflow-") as folder:
            whole = Path(folder, "whole.db")
            place_empty(whole, mlflow.__version__, partial(_migrate, draft=Path(folder, "draft.db")))
            whole.replace(self._path)

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
            location = str(self._root) if "://" in str(self._root) else absolute(self._root).as_uri()
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            try:
                return client.create_experiment(name, location and f"{location}/{name}")
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                experiment = client.get_experiment_by_name(name)
        if experiment is None:
            raise RegistryError(f"the experiment {name} is there and is not", where=safe_uri(self.uri))
        old, new = str(experiment.artifact_location), f"{location}/{name}"
        if self._path is not None and location is not None and location.startswith("file:") and old != new:
            runs_here = frozenset(path.name for path in Path(str(self._root), name).glob("*"))
            follow(self._path, str(experiment.experiment_id), old, new, runs_here)
        return str(experiment.experiment_id)

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
        new_params = [Param(k, v) for k, v in _flat(params) if k not in run.data.params]
        for start in range(0, max(len(measured), len(new_params)), _BATCH):
            part = slice(start, start + _BATCH)
            client.log_batch(run.info.run_id, metrics=measured[part], params=new_params[part])
        document = {"params": dict(params), "metrics": dict(metrics), "tags": dict(tags)}
        client.log_text(run.info.run_id, _json(document), "headrace.json")

    def _ensure_model(self, client: MlflowClient, name: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise


def _log_trial(client: MlflowClient, parent: Run, study: str, trial: Mapping[str, Any]) -> None:
    """One trial: three requests, whatever it has."""
    from mlflow.entities import Metric, Param, RunTag

    run_id = parent.info.run_id
    number, begun = trial["number"], parent.info.start_time
    tags = {"mlflow.parentRunId": run_id, "headrace.kind": "trial", "headrace.state": trial["state"]}
    tags |= {} if trial["error"] is None else {"headrace.error": str(trial["error"])}
    run = client.create_run(parent.info.experiment_id, tags=tags, run_name=f"{study[:8]}-{number}")
    values = {"loss": trial["loss"], "seconds": trial["seconds"]}
    metrics = [Metric(k, v, begun, 0) for k, v in values.items() if v is not None and math.isfinite(v)]
    metrics += [Metric("fold", v, begun, int(k)) for k, v in trial["folds"].items() if math.isfinite(v)]
    params = [Param(k, v if isinstance(v, str) else _json(v)) for k, v in trial["values"].items()]
    client.log_batch(run.info.run_id, metrics=metrics, params=params, tags=[RunTag("headrace.trial", str(number))])
    client.set_terminated(run.info.run_id, "FINISHED" if trial["state"] != "failed" else "FAILED")


def _has_model(client: MlflowClient, name: str) -> bool:
    return bool(client.search_registered_models(f"name = '{name}'", max_results=1))


def safe_uri(uri: str) -> str:
    """The URI without user name and password."""
    return re.sub(r"^([^:/]+://)(?:[^/].*)?@", r"\1", uri)


def _said(error: BaseException, uri: str) -> str:
    """A failure in one line, without the statement that failed: SQLAlchemy tells it after the driver's words."""
    if (trouble := disk_trouble(error)) is not None:
        return f"the versions of models cannot be kept: {trouble}"
    lines = _safe(str(error), uri).partition("[SQL:")[0].strip().splitlines()
    return " ".join(line.strip() for line in lines[:2])[:300] or type(error).__name__


def _safe(message: str, uri: str) -> str:
    message = message.replace(uri, safe_uri(uri))
    password = login_of(uri).partition(":")[2]
    for secret in sorted({password, unquote(password)} - {""}, key=len, reverse=True):
        message = message.replace(secret, "***")
    return message


def _local_path(uri: str) -> Path | None:
    """The file or folder of an embedded server."""
    if uri.startswith("sqlite:///"):
        return absolute(uri.removeprefix("sqlite:///").partition("?")[0])
    return absolute(unquote(urlsplit(uri).path)) if uri.startswith("file:") else None


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


def _migrate(path: Path, *, draft: Path) -> None:
    """Make an empty database: a copy of the draft, which MLflow keeps its connection to."""
    with _unsynced(draft):
        _client(f"sqlite:///{draft}").search_experiments(max_results=1)
    shutil.copyfile(draft, path)
    with closing(sqlite3.connect(path)) as connection, connection:  # not where this one was made: it is copied
        connection.execute("UPDATE experiments SET artifact_location = './mlruns/' || experiment_id")


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
