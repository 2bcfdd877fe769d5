"""Runs of a system: the last ones; and one with its steps, its pins, and why it failed."""

from __future__ import annotations

import asyncio
from typing import Any

from headrace.dashboard.pages.of_system import beside
from headrace.dashboard.view import PageView, system_path

_LIMIT = 50


async def runs(view: PageView) -> dict[str, Any]:
    """What stands on the page of all runs."""
    name = view.request.path_params["name"]
    status = view.asked("status", ("failed",)) or None
    query = {"limit": _LIMIT, "status": status, "cursor": view.asked("cursor") or None}
    frame, answer = await asyncio.gather(beside(view, "runs"), view.api.get(system_path(name, "runs"), query))
    return {**frame, "runs": answer["runs"], "next": answer.get("next"), "only": status}


async def run(view: PageView) -> dict[str, Any]:
    """What stands on the page of one run."""
    name, run_id = view.request.path_params["name"], view.request.path_params["run_id"]
    frame, answer = await asyncio.gather(beside(view, "runs"), view.api.get(system_path(name, "runs", run_id)))
    steps = answer.get("steps") or []
    longest = max((step["seconds"] or 0 for step in steps), default=0) or 1
    return {**frame, "run": answer, "steps": [{**step, "part": (step["seconds"] or 0) / longest} for step in steps]}
