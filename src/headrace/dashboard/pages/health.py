"""Health: whether tables are what their commits recorded, and what is installed, reachable and configured."""

from __future__ import annotations

import asyncio
from typing import Any

from headrace.dashboard.pages.of_system import beside
from headrace.dashboard.reading import ApiRefusal
from headrace.dashboard.view import PageView, system_path
from headrace.dashboard.words import WORST_FIRST, state


async def health(view: PageView) -> dict[str, Any]:
    """What stands on the page of one system."""
    name = view.request.path_params["name"]
    deep = view.asked("deep") == "true"
    frame, checked = await asyncio.gather(
        beside(view, "health"), _checked(view, system_path(name, "verify"), deep="true" if deep else None)
    )
    return {**frame, "checked": checked, "deep": deep}


async def installation(view: PageView) -> dict[str, Any]:
    """What stands on the page of the installation."""
    checked = await _checked(view, "/v1/doctor")
    findings = sorted(checked.get("findings", ()), key=lambda finding: WORST_FIRST.index(state(finding["status"])))
    return {"checked": {**checked, "findings": findings}}


async def _checked(view: PageView, path: str, **params: Any) -> dict[str, Any]:
    """What was found; or why the viewer is not told."""
    try:
        answer: dict[str, Any] = await view.api.get(path, params)
    except ApiRefusal as refused:
        if refused.status not in (403, 404):
            raise
        return {"trouble": refused.detail}
    return answer
