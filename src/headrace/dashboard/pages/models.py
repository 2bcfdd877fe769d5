"""Model versions: which is best, one with all that is known of it, two on common pairs; and decisions about them."""

from __future__ import annotations

import asyncio
from typing import Any

from headrace.dashboard.forms import PostedForm
from headrace.dashboard.pages.of_system import beside
from headrace.dashboard.parts import WriteOutcome
from headrace.dashboard.reading import ApiRefusal
from headrace.dashboard.view import PageView, system_path

_MEASURES = 6
"""Measures of a comparison that are shown beside the one that decides."""


async def models(view: PageView) -> dict[str, Any]:
    """What stands on the page of all versions."""
    frame, answer = await asyncio.gather(
        beside(view, "models"), view.api.get(system_path(view.request.path_params["name"], "models"))
    )
    versions = sorted(answer["models"], key=lambda item: (item.get("rank") or 1_000_000, -item["version"]))
    first, second = view.asked("first"), view.asked("second")
    comparison, trouble = None, ""
    if first and second:
        try:
            comparison = await view.api.get(
                system_path(frame["name"], "comparison"), {"first": first, "second": second}
            )
        except ApiRefusal as refused:
            if refused.passing or refused.status == 401:
                raise
            trouble = refused.detail
    return {
        **frame,
        "models": versions,
        "measure": answer.get("measure"),
        "numbers": sorted((item["version"] for item in versions), reverse=True),
        "first": first,
        "second": second,
        "comparison": comparison,
        "compared": _compared(comparison),
        "trouble": trouble,
        "may_decide": view.may(frame["name"], "decide"),
    }


def _compared(comparison: dict[str, Any] | None) -> list[list[Any]]:
    """Rows of the comparison: measure, first, second, difference, its standard error."""
    if comparison is None:
        return []
    (first, second), differences = list(comparison["metrics"].values())[:2], comparison.get("differences") or {}
    names = [name for name in first if name != "n" and isinstance(first[name], int | float)]
    names.sort(key=lambda name: name != comparison.get("measure"))
    return [
        [name, first[name], second.get(name), *((differences.get(name) or {}).get(part) for part in ("value", "error"))]
        for name in names[: _MEASURES + 1]
    ]


async def model(view: PageView) -> dict[str, Any]:
    """What stands on the page of one version."""
    name, version = view.request.path_params["name"], view.request.path_params["version"]
    path = system_path(name, "models", version)
    frame, answer, card = await asyncio.gather(
        beside(view, "models"), view.api.get(path), view.api.get(f"{path}/card", {"format": "json"})
    )
    if curve := card.get("learning_curve"):
        curve["largest"] = max(point["error"] for point in curve["points"]) or 1.0
    importance = ((answer.get("importance") or {}).get("features") or [])[:30]
    return {
        **frame,
        "model": answer,
        "card": card,
        "importance": importance,
        "pins": [pin for pin in answer["pins"].items() if pin[0] != "made_from"],
        "may_decide": view.may(name, "decide"),
    }


async def promote(view: PageView, form: PostedForm) -> WriteOutcome:
    """Make a version the champion; of one that waits it is the approval."""
    return await _decided(view, form, "promote", "is the champion now")


async def reject(view: PageView, form: PostedForm) -> WriteOutcome:
    """Say that a version does not become the champion."""
    return await _decided(view, form, "reject", "was rejected")


async def _decided(view: PageView, form: PostedForm, verb: str, said: str) -> WriteOutcome:
    name, version = view.request.path_params["name"], view.request.path_params["version"]
    await view.api.post(system_path(name, "models", version, verb), _reason(form))
    return WriteOutcome(f"Version {version} of {name} {said}.", view.path("systems", name, "models"))


async def roll_back(view: PageView, form: PostedForm) -> WriteOutcome:
    """Make the champion before this one the champion again."""
    name = view.request.path_params["name"]
    decided = await view.api.post(system_path(name, "rollback"), _reason(form))
    return WriteOutcome(
        f"Version {decided['version']} of {name} is the champion again.", view.path("systems", name, "models")
    )


def _reason(form: PostedForm) -> dict[str, str]:
    reason = form.first("reason").strip()
    return {"reason": reason} if reason else {}
