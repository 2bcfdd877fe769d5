"""What is installed, reachable or misconfigured."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from headrace.errors import HeadraceError
from headrace.executors import EXECUTORS
from headrace.home import Home
from headrace.hooks import HOOKS
from headrace.models.base import MODELS
from headrace.policy import RETRAINING
from headrace.settings import strange_variables
from headrace.sources import SOURCES
from headrace.tasks import TASKS

if TYPE_CHECKING:
    from headrace.system import System

PACKAGES = ("polars", "deltalake", "lightgbm", "mlflow-skinny", "pydantic", "scikit-learn", "optuna")
EXTRAS = {
    "bigquery": ("google-cloud-bigquery", "pyarrow"),
    "duckdb": ("duckdb", "pyarrow"),
    "iceberg": ("pyiceberg", "pyarrow"),
    "kafka": ("confluent-kafka",),
    "mlflow-server": ("mlflow",),
    "onnx": ("onnxruntime",),
    "postgres": ("psycopg", "adbc-driver-postgresql", "pyarrow"),
    "snowflake": ("adbc-driver-snowflake", "pyarrow"),
}

GROUPS = {
    "sources": SOURCES,
    "models": MODELS,
    "hooks": HOOKS,
    "executors": EXECUTORS,
    "tasks": TASKS,
    "retraining": RETRAINING,
}
"""Entry point groups, by what they are called."""
_PATIENCE = 5.0
"""Seconds to wait for the tracking server."""


def examine(home: Home, bootstrap: str | None = None) -> list[dict[str, str]]:
    """One finding per thing: ``what``, ``status`` (ok, absent, warning, failed) and what was ``said``.

    Args:
        home: Where everything is.
        bootstrap: The Kafka cluster; None: that of HEADRACE_KAFKA, or of the systems' sources.
    """
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    findings = [_found("python", "ok" if sys.version_info >= (3, 11) else "failed", python)]
    findings += [_package(name) for name in PACKAGES]
    findings += [_package(*names, label=f"extra {extra}", otherwise="absent") for extra, names in EXTRAS.items()]
    findings += _parts()
    findings += [_native(), _variables(), _folder(home), _store(home), _online(home), _ledger(home), _tracking(home)]
    findings += _beside(home)
    systems, broken = _declared()
    findings += [
        _tokens(home),
        *_systems(home, systems, broken),
        *_runs(home),
        *_untold(home),
        *_streams(home, systems, bootstrap),
    ]
    git = shutil.which("git")
    findings.append(_found("git", "ok" if git else "warning", git or "absent: predictions carry no code revision"))
    return findings


def _found(name: str, status: str, message: str) -> dict[str, str]:
    return {"what": name, "status": status, "said": message}


def _package(*names: str, label: str | None = None, otherwise: str = "failed") -> dict[str, str]:
    found, missing = [], []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(f"{name} is not installed")
    return _found(label or names[0], otherwise if missing else "ok", ", ".join(missing or found))


def _parts() -> list[dict[str, str]]:
    """What can be named of each kind that packages extend: built in, and with its package what they add."""
    rows = []
    for label, group in GROUPS.items():
        members, broken = [], []
        for member in group.members():
            builtin = member.package == "headrace"
            members.append(member.name if builtin else f"{member.name} ({member.package})")
            try:
                if not builtin:
                    group.load(member.name)
            except HeadraceError as error:
                broken.append(f"{member.name}: {error.message} ({member.package})")
        text = "; ".join(broken) or ", ".join(members) or "none"
        rows.append(_found(label, "failed" if broken else "ok", text))
    return rows


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
        for system in systems:
            refuse_altered(home.store, system)
        versions = [f"{s}: raw version {home.table(s, 'raw').version()}" for s in systems]
    except HeadraceError as error:
        return _found("store", "failed", str(error))
    return _found("store", "ok", f"{home.store.uri}; {'; '.join(versions) or 'empty'}")


def _online(home: Home) -> dict[str, str]:
    from headrace.store import FeatureGroup

    if home.settings.online_uri is None and not (home.path / "online.db").exists():
        return _found("online features", "ok", "nothing online yet")
    messages, behind = [], False
    try:
        home.online.ping()
        for system in home.store.systems():
            groups = (FeatureGroup.open(home.store, system, name) for name in FeatureGroup.names(home.store, system))
            for group in (group for group in groups if group.online):
                current, latest = home.online.version(group) or 0, group.table.version()
                behind |= current < latest
                messages.append(f"{system}/{group.name}: version {current} of {latest}")
    except HeadraceError as error:
        return _found("online features", "failed", str(error))
    hint = "; the next write brings them up, or: headrace materialize online SYSTEM" if behind else ""
    return _found("online features", "warning" if behind else "ok", ("; ".join(messages) or "empty") + hint)


def _ledger(home: Home) -> dict[str, str]:
    if not home.has_ledger:
        return _found("ledger", "ok", "nothing logged yet")
    try:
        home.ledger.ping()
    except HeadraceError as error:
        return _found("ledger", "failed", str(error))
    return _found("ledger", "ok", "answers")


def _beside(home: Home) -> list[dict[str, str]]:
    """Databases and models that are not what was registered, as far as can be seen without reading them."""
    from headrace.flow.verify import beside, models_of

    try:
        systems = home.store.systems() if _store(home)["status"] == "ok" else []
        damaged = [*beside(home), *(problem for system in systems for problem in models_of(home, system))]
    except HeadraceError as error:
        return [_found("databases and models", "failed", str(error))]
    return [_found(model["name"], "failed", problem) for model in damaged for problem in model["problems"]]


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
    lines = [f"{name} is no setting{f', did you mean {near}?' if near else ''}" for name, near in strange.items()]
    return _found("environment", "warning" if lines else "ok", "; ".join(lines) or "every HEADRACE_* is known")


def _runs(home: Home) -> list[dict[str, str]]:
    """Systems whose last run failed, or warned. A store that is away is told by its own finding."""
    from headrace.pipelines.runs import FAILED, newest, record

    lines = []
    try:
        for system in home.store.systems() if _store(home)["status"] == "ok" else ():
            for run in newest(home, system, 1):
                warnings = (record(home, system, run["run_id"]) or {}).get("warnings", [])
                failed = [f"failed: {run['error']}"] if run["status"] == FAILED else []
                lines += [(system, text) for text in (*failed, *warnings)]
    except HeadraceError as error:
        return [_found("last runs", "failed", str(error))]
    return [_found(f"last run of {system}", "warning", text) for system, text in lines]


def _untold(home: Home) -> list[dict[str, str]]:
    """Messages about alerts that nobody got. A ledger that is away is told by its own finding."""
    from headrace.loop.notify import given_up

    try:
        systems = home.ledger.owned.systems() if _ledger(home)["status"] == "ok" and home.has_ledger else ()
        lines = [(system, line) for system in systems for line in given_up(system, home)]
    except HeadraceError as error:
        return [_found("messages about alerts", "failed", str(error))]
    return [_found(f"messages of {system}", "warning", line) for system, line in lines]


def _tokens(home: Home) -> dict[str, str]:
    from headrace.serving.http.access import Access

    try:
        access = Access(home.settings.tokens)
    except HeadraceError as error:
        return _found("HTTP tokens", "failed", str(error))
    open_to_all = "none: who reaches `headrace serve` may read and predict; set HEADRACE_TOKENS to ask for one"
    return _found("HTTP tokens", "ok", open_to_all if access.open else f"{len(home.settings.tokens)} known")


def _declared() -> tuple[list[System], list[str]]:
    """The systems below the current folder, and what is wrong with those that cannot be loaded."""
    from headrace.loading import load_system

    systems, broken = list[Any](), []
    for path in sorted(Path("systems").glob("*/system.py")):
        try:
            systems.append(load_system(str(path.parent)))
        except HeadraceError as error:
            broken.append(f"{path.parent.name}: {error.message}")
    return systems, broken


def _systems(home: Home, systems: list[System], broken: list[str]) -> list[dict[str, str]]:
    from headrace.tasks import task_of

    rows = [_row_features(system, home) for system in systems if not task_of(system).stateful]
    if broken:
        return [_found("systems", "failed", "; ".join(broken)), *rows]
    names = ", ".join(system.name for system in systems)
    return [_found("systems", "ok" if names else "warning", names or "none below systems/"), *rows]


def _streams(home: Home, systems: list[System], bootstrap: str | None) -> list[dict[str, str]]:
    """The Kafka clusters that are known, with the streams of the systems on them."""
    known = bootstrap or home.kafka.get("bootstrap.servers")
    places: dict[str, list[System]] = {} if known is None else {known: systems}
    for system in systems if known is None else ():
        uri = system.source.uri or ""
        if uri.startswith("kafka://"):
            places.setdefault(uri.removeprefix("kafka://").partition("/")[0], []).append(system)
    if not places:
        return []
    if find_spec("confluent_kafka") is None:
        return [_found("Kafka", "failed", "a cluster is declared, and its client is not installed: headrace[kafka]")]
    from headrace.serving.stream.examination import examine as look
    from headrace.sources.broker import Broker

    return [
        _found(finding.what, finding.status, finding.said)
        for place, systems_there in places.items()
        for finding in look(systems_there, Broker(place, home.kafka))
    ]


def _row_features(system: System, home: Home) -> dict[str, str]:
    """Which features of a posted row cost a frame of one row, a millisecond, instead of microseconds."""
    from headrace.features.compiled import compile_row
    from headrace.tasks.rows.lookups import Lookups

    types: dict[str, str] = {column.name: column.type for column in system.contract.columns}
    label = f"row features of {system.name}"
    try:
        if any(True for _ in system.features.stored()):
            types |= Lookups.of(system.features, system, home).types
        compiled = compile_row(system.features, types, time=system.time)
    except HeadraceError as error:
        return _found(label, "failed", str(error))
    if compiled.slow:
        return _found(label, "warning", f"slow, without a form for one row: {', '.join(compiled.slow)}")
    return _found(label, "ok", f"all {len(compiled.names)} compiled")
