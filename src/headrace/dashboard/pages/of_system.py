"""What every page about one system is handed: its state, and the pages that there are about it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from headrace.dashboard.reading import ApiRefusal
from headrace.dashboard.view import PageView, system_path


@dataclass(frozen=True)
class Tab:
    """A page about one system, as its navigation shows it.

    Attributes:
        slug: Last part of its address; empty for the first one.
        label: What it is called.
        series: Whether it is about series alone; None: about all systems; False: about rows alone.
    """

    slug: str
    label: str
    series: bool | None = None


TABS = (
    Tab("", "System"),
    Tab("series", "Series", series=True),
    Tab("rows", "Rows", series=False),
    Tab("models", "Models"),
    Tab("simulate", "Simulate", series=True),
    Tab("data", "Data"),
    Tab("drift", "Drift"),
    Tab("runs", "Runs"),
    Tab("stream", "Stream"),
    Tab("health", "Health"),
)


async def about(view: PageView) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """The state of the system of this page, its declaration, and its keys if it has series.

    Raises:
        ApiRefusal: There is no such system, or the API has no answer.
    """
    name = view.request.path_params["name"]
    status, declared = await asyncio.gather(view.api.get(system_path(name, "status")), view.api.get(system_path(name)))
    return status, declared, keys_of(declared)


def keys_of(declared: dict[str, Any]) -> list[str]:
    """The keys of a system's series."""
    return list(declared.get("keys") or ())


async def beside(view: PageView, slug: str) -> dict[str, Any]:
    """What the frame of a page about a system is handed."""
    status, declared, keys = await about(view)
    is_series = has_series(declared)
    tabs = [tab for tab in TABS if tab.series in (None, is_series)]
    return {
        "name": view.request.path_params["name"],
        "status": status,
        "declared": declared,
        "keys": keys if is_series else [],
        "is_series": is_series,
        "tabs": tabs,
        "tab": slug,
    }


def has_series(declared: dict[str, Any]) -> bool:
    """Whether a system forecasts series."""
    return declared.get("horizon") is not None


async def optional(view: PageView, path: str, **params: Any) -> Any:
    """An answer, or None where there is none yet (404)."""
    try:
        return await view.api.get(path, params)
    except ApiRefusal as refused:
        if refused.status == 404:
            return None
        raise
