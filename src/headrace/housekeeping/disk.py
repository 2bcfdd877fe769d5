"""How much room things take: by system and kind, and what systems share."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from headrace.home import TUNING, Home

OF_SYSTEMS = ("reports", "cache", TUNING)
"""Folders of a home that hold a folder for each system."""
_SHARED = ("ledger.db", "online.db", "mlflow.db")
_OWN = "."


def usage(home: Home, system: str | None = None) -> list[dict[str, Any]]:
    """Sizes, the largest of each system first: ``system kind name files bytes``.

    Kinds: ``table``, one for each; ``models``, the files of its versions; ``reports`` and ``cache``; ``database`` and
    ``files`` without a system, which all share.

    Args:
        home: Where everything is.
        system: This one alone, without what is shared.

    Raises:
        StoreError: The storage cannot be reached.
    """
    if system is not None:
        home.store.tables(system)  # whose name is no good is refused
    rows = []
    for name in home.store.systems() if system is None else [system]:
        tables = [_row(name, "table", table or _OWN, *size) for table, size in home.store.folders.sizes(name).items()]
        digests = {version.digest for version in home.registry.versions(name)}
        runs = {version.run_id for version in home.registry.versions(name)}
        models = [home.path / "models" / digest for digest in digests]
        models += [path for run in runs for path in (home.path / "mlruns").glob(f"*/{run}")]
        folders = [_measured(name, "models", "models", models)]
        folders += [_measured(name, kind, kind, [home.path / kind / name]) for kind in OF_SYSTEMS]
        rows += sorted([*tables, *folders], key=lambda row: -row["bytes"])
    if system is None:
        rows += [_measured(None, "database", name, home.path.glob(f"{name}*")) for name in _SHARED]
        rows += [_measured(None, "files", name, [home.path / name]) for name in ("stream", "sinks")]
    return [row for row in rows if row["files"]]


def folders_of(home: Home, system: str) -> list[Path]:
    """Folders and files of a home, outside of the store, that hold what is one system's."""
    folders = [home.path / kind / system for kind in OF_SYSTEMS]
    return [*(path for path in folders if path.exists()), *(home.path / "sinks").glob(f"{system}-*.db*")]


def _measured(system: str | None, kind: str, name: str, places: Iterable[Path]) -> dict[str, Any]:
    files = [
        path
        for place in places
        for path in (place.rglob("*") if place.is_dir() else [place])
        if path.is_file() and not path.is_symlink()
    ]
    return _row(system, kind, name, len(files), sum(path.stat().st_size for path in files))


def _row(system: str | None, kind: str, name: str, files: int, held: int) -> dict[str, Any]:
    return {"system": system, "kind": kind, "name": name, "files": files, "bytes": held}
