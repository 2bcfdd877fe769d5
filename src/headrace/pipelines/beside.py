"""How versions that scored beside the champion stand to it, on the pairs of the monitoring window, as facts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.errors import NotFoundError
from headrace.home import COMPARISONS, SHADOWS, Home
from headrace.lineage import iso
from headrace.pipelines.comparison import Comparison, compare
from headrace.store.failures import intact
from headrace.system import System
from headrace.tasks.paired import PairRequest

if TYPE_CHECKING:
    pass


def monitor_beside(system: System, home: Home, *, as_of: datetime) -> list[Comparison]:
    """Compare the champion with each version that scored beside it, and keep what is found; none where none did.

    Repeating it with the same facts stores nothing new. What is known at `as_of` (UTC) counts, and of that what was
    asked for within the monitoring window before it.

    Raises:
        StoreError: A table cannot be read or written.
        RegistryError: A version cannot be looked up.
    """
    champion = home.registry.champion(system.name, as_of)
    if champion is None:
        return []
    comparisons = []
    for number in _versions(system, home, as_of):
        if number == champion.version:
            continue
        since = as_of - system.monitoring.window
        try:
            comparisons.append(
                compare(system, home, PairRequest(champion.version, number, since=since, as_of=as_of, largest=3))
            )
        except NotFoundError:  # they have no common pairs
            continue
    _keep(system, home, comparisons, as_of)
    return comparisons


def _versions(system: System, home: Home, as_of: datetime) -> list[int]:
    """The versions that scored beside another one within the window."""
    import polars as pl

    table = home.table(system.name, SHADOWS)
    if not table.exists():
        return []
    since = pl.lit(as_of - system.monitoring.window, pl.Datetime("us", "UTC"))
    lazy = table.scan(as_of=as_of, where=pl.col("as_of") >= since).select("model_version").unique()
    return table.collect(lazy)["model_version"].sort().to_list()


def _keep(system: System, home: Home, comparisons: Sequence[Comparison], as_of: datetime) -> None:
    import polars as pl

    if not comparisons:
        return
    utc = pl.Datetime("us", "UTC")
    rows = [
        {
            "champion": comparison.request.first,
            "version": comparison.request.second,
            "known_at": as_of,
            "document": json.dumps(comparison.as_dict(), default=_text, sort_keys=True),
        }
        for comparison in comparisons
    ]
    frame = pl.DataFrame(rows, schema_overrides={"known_at": utc})
    identity = ["champion", "version", "known_at"]
    home.table(system.name, COMPARISONS).append(frame, identity=identity, compare=["document"], window="known_at")


def _text(value: object) -> str:
    return iso(value) if isinstance(value, datetime) else str(value)


def newest_beside(system: str, home: Home, as_of: datetime | None = None) -> list[dict[str, Any]]:
    """How each version last stood beside the champion of today (or as of a time), as `Comparison.as_dict`, by version.

    Raises:
        StoreError: The table cannot be read.
    """
    import polars as pl

    table, champion = home.table(system, COMPARISONS), home.registry.champion(system, as_of)
    if champion is None or not table.exists():
        return []
    facts = table.collect(table.scan(as_of=as_of, where=pl.col("champion") == champion.version))
    last = facts.sort("known_at", "_version").unique("version", keep="last").sort("version")
    with intact(table.uri, "headrace verify --deep says which file is damaged"):
        return [json.loads(text) for text in last["document"]]
