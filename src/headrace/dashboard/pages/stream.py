"""The stream of a system: its cluster, what waits, and events that were set apart, which can be sent again."""

from __future__ import annotations

import asyncio
from typing import Any

from headrace.dashboard.forms import PostedForm
from headrace.dashboard.pages.of_system import beside
from headrace.dashboard.parts import WriteOutcome
from headrace.dashboard.reading import ApiRefusal
from headrace.dashboard.view import PageView, system_path

_ROWS = 50


async def stream(view: PageView) -> dict[str, Any]:
    """What stands on the page."""
    name = view.request.path_params["name"]
    chosen = {part: view.asked(part) or None for part in ("reason", "cursor")}
    late = view.asked("late") == "true"
    chosen["late"] = "true" if late else None
    frame, report, letters = await asyncio.gather(
        beside(view, "stream"),
        _answer(view, system_path(name, "stream")),
        _answer(view, system_path(name, "dead-letters"), limit=_ROWS, **chosen),
    )
    may_resend = view.may(name, "write")
    return {**frame, "report": report, "letters": letters, "chosen": chosen, "late": late, "may_resend": may_resend}


async def resend(view: PageView, form: PostedForm) -> WriteOutcome:
    """Send events that were set apart again: all of them, or those for a reason."""
    name = view.request.path_params["name"]
    body: dict[str, Any] = {"late": form.first("late") == "true"}
    if form.first("reason"):
        body["reason"] = form.first("reason")
    done = await view.api.post(system_path(name, "dead-letters", "resend"), body)
    notice = f"{done['resent']:,} sent again, {done['expired']:,} let go, {done['kept']:,} stay set apart."
    return WriteOutcome(notice, view.path("systems", name, "stream", late="true" if body["late"] else None))


async def _answer(view: PageView, path: str, **params: Any) -> dict[str, Any]:
    """An answer; or why there is none: the system answers no events, or its cluster is away."""
    try:
        answer: dict[str, Any] = await view.api.get(path, params)
    except ApiRefusal as refused:
        if refused.status not in (404, 503):
            raise
        return {"trouble": refused.detail}
    return answer
