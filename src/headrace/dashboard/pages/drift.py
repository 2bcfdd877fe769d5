"""Drift: distributions now beside those that the champion learnt from."""

from __future__ import annotations

import asyncio
from typing import Any

from headrace.dashboard.pages.of_system import beside
from headrace.dashboard.reading import ApiRefusal
from headrace.dashboard.view import PageView, system_path


async def drift(view: PageView) -> dict[str, Any]:
    """What stands on the page."""
    name = view.request.path_params["name"]
    frame, answer = await asyncio.gather(beside(view, "drift"), _answer(view, name))
    features = sorted(
        answer.get("features") or [], key=lambda item: (not item["drifted"], -(item.get("importance") or 0))
    )
    return {**frame, "drift": answer, "features": features}


async def _answer(view: PageView, name: str) -> dict[str, Any]:
    """What was compared; or why nothing could be."""
    try:
        answer: dict[str, Any] = await view.api.get(system_path(name, "drift"), {"as_of": view.asked("as_of") or None})
    except ApiRefusal as refused:
        if refused.status != 404:
            raise
        return {"trouble": refused.detail}
    return answer
