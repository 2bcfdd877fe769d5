"""What is installed, reachable or misconfigured."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from headrace.errors import HeadraceError
from headrace.home import Home
from headrace.settings import strange_variables

if TYPE_CHECKING:
    from headrace.system import System

PACKAGES = ("polars", "deltalake", "lightgbm", "mlflow-skinny", "pydantic", "scikit-learn", "optuna")
EXTRAS = {
    "kafka": "confluent-kafka",
    "postgres": "psycopg",
    "mlflow-server": "mlflow",
    "onnx": "onnxruntime",
}

_PATIENCE = 5.0
"""Seconds to wait for the tracking server."""


def examine(home: Home) -> list[dict[str, str]]:
    """One finding per thing: ``what``, ``status`` (ok, absent, warning, failed) and what was ``said``."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    findings = [_found("python", "ok" if sys.version_info >= (3, 11) else "failed", python)]
    findings += [_package(name) for name in PACKAGES]
    findings += [_package(name, f"extra {extra}", "absent") for extra, name in EXTRAS.items()]
    findings += [_native(), _variables(), _folder(home), _store(home), _online(home), _ledger(home), _tracking(home)]
    findings += [_tokens(home), *_systems(home), *_runs(home)]
    git = shutil.which("git")
    findings.append(_found("git", "ok" if git else "warning", git or "absent: predictions carry no code revision"))
    return findings


def _found(what: str, status: str, said: str) -> dict[str, str]:
    return {"what": what, "status": status, "said": said}


def _package(name: str, what: str | None = None, otherwise: str = "failed") -> dict[str, str]:
    try:
        return _found(what or name, "ok", f"{name} {version(name)}")
    except PackageNotFoundError:
        return _found(what or name, otherwise, f"{name} is not installed")


def _native() -> dict[str, str]:
    from headrace.models.booster import Booster

    try:
        Booster.from_text("")
    except HeadraceError as error:
        loaded = "library" not in error.message
        return _found("LightGBM's library", "ok" if loaded else "failed", "loads" if loaded else error.message)
    return _found("LightGBM's library", "warning", "took an empty model")


def _folder(home: Home) -> dict[str, str]:
    place = next(p for p in (home.path, *home.path.parents) if p.exists())
    if not os.access(place, os.W_OK):
        return _found("home", "failed", f"{place} is not writable")
    free = shutil.disk_usage(place).free / 2**30
    return _found("home", "ok" if free > 1 else "warning", f"{home.path}, {free:,.0f} GiB free")


def _store(home: Home) -> dict[str, str]:
    if home.settings.store_uri is None and not (home.path / "store").exists():
        return _found("store", "ok", "nothing stored yet")
    from headrace.store.verify import refuse_altered

    try:
        systems = home.store.systems()
        for each in systems:
            refuse_altered(home.store, each)
        versions = [f"{s}: raw version {home.table(s, 'raw').version()}" for s in systems]
    except HeadraceError as error:
        return _found("store", "failed", str(error))
    return _found("store", "ok", f"{home.store.uri}; {'; '.join(versions) or 'empty'}")


def _online(home: Home) -> dict[str, str]:
    from headrace.store import FeatureGroup

    if home.settings.online_uri is None and not (home.path / "online.db").exists():
        return _found("online features", "ok", "nothing online yet")
    told, behind = [], False
    try:
        home.online.ping()
        for system in home.store.systems():
            groups = (FeatureGroup.open(home.store, system, name) for name in FeatureGroup.names(home.store, system))
            for group in (each for each in groups if each.online):
                here, there = home.online.version(group) or 0, group.table.version()
                behind |= here < there
                told.append(f"{system}/{group.name}: version {here} of {there}")
    except HeadraceError as error:
        return _found("online features", "failed", str(error))
    hint = "; the next write brings them up, or: headrace online SYSTEM" if behind else ""
    return _found("online features", "warning" if behind else "ok", ("; ".join(told) or "empty") + hint)


def _ledger(home: Home) -> dict[str, str]:
    if not home.has_ledger:
        return _found("ledger", "ok", "nothing logged yet")
    try:
        home.ledger.ping()
    except HeadraceError as error:
        return _found("ledger", "failed", str(error))
    return _found("ledger", "ok", "answers")


def _tracking(home: Home) -> dict[str, str]:
    """Whether MLflow's server answers: asking by MLflow itself would cost its import."""
    import httpx

    if home.settings.tracking_uri is None:
        return _found("model tracking", "ok", "SQLite in the home")
    try:
        uri = urlsplit(home.settings.tracking_uri.get_secret_value())
        shown = f"{uri.scheme}://{uri.hostname or ''}{'' if uri.port is None else f':{uri.port}'}"  # never the password
    except ValueError:
        return _found("model tracking", "failed", "HEADRACE_TRACKING_URI is not a URI")
    if uri.scheme not in ("http", "https"):
        return _found("model tracking", "ok", f"{uri.scheme}, looked at when a model is trained")
    try:
        answer = httpx.get(f"{uri.geturl().rstrip('/')}/health", timeout=_PATIENCE)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return _found("model tracking", "failed", f"{shown}: {error}")
    good = answer.status_code == httpx.codes.OK
    return _found("model tracking", "ok" if good else "failed", f"{shown} answers {answer.status_code}")


def _variables() -> dict[str, str]:
    strange = strange_variables()
    told = [f"{name} is no setting{f', did you mean {near}?' if near else ''}" for name, near in strange.items()]
    return _found("environment", "warning" if told else "ok", "; ".join(told) or "every HEADRACE_* is known")


def _runs(home: Home) -> list[dict[str, str]]:
    """Systems whose last run failed, or warned. A store that is away is told by its own finding."""
    from headrace.pipelines.runs import FAILED, newest, record

    told = []
    try:
        for system in home.store.systems() if _store(home)["status"] == "ok" else ():
            for run in newest(home, system, 1):
                warnings = (record(home, system, run["run_id"]) or {}).get("warnings", [])
                failed = [f"failed: {run['error']}"] if run["status"] == FAILED else []
                told += [(system, text) for text in (*failed, *warnings)]
    except HeadraceError as error:
        return [_found("last runs", "failed", str(error))]
    return [_found(f"last run of {system}", "warning", text) for system, text in told]


def _tokens(home: Home) -> dict[str, str]:
    from headrace.serving.http.access import Access

    try:
        access = Access(home.settings.tokens)
    except HeadraceError as error:
        return _found("HTTP tokens", "failed", str(error))
    open_to_all = "none: who reaches `headrace serve` may read and predict; set HEADRACE_TOKENS to ask for one"
    return _found("HTTP tokens", "ok", open_to_all if access.open else f"{len(home.settings.tokens)} known")


def _systems(home: Home) -> list[dict[str, str]]:
    from headrace.loading import load_system

    systems, broken = [], []
    for path in sorted(Path("systems").glob("*/system.py")):
        try:
            systems.append(load_system(str(path.parent)))
        except HeadraceError as error:
            broken.append(f"{path.parent.name}: {error.message}")
    rows = [_row_features(system, home) for system in systems if not system.forecasts]
    if broken:
        return [_found("systems", "failed", "; ".join(broken)), *rows]
    names = ", ".join(system.name for system in systems)
    return [_found("systems", "ok" if names else "warning", names or "none below systems/"), *rows]


def _row_features(system: System, home: Home) -> dict[str, str]:
    """Which features of a posted row cost a frame of one row, a millisecond, instead of microseconds."""
    from headrace.features.compiled import compile_row
    from headrace.lookup import Lookups

    types: dict[str, str] = {column.name: column.type for column in system.contract.columns}
    what = f"row features of {system.name}"
    try:
        if any(True for _ in system.features.stored()):
            types |= Lookups.of(system.features, system, home).types
        compiled = compile_row(system.features, types, time=system.time)
    except HeadraceError as error:
        return _found(what, "failed", str(error))
    if compiled.slow:
        return _found(what, "warning", f"slow, without a form for one row: {', '.join(compiled.slow)}")
    return _found(what, "ok", f"all {len(compiled.names)} compiled")
