"""All systems: a verdict in words, freshness, runs and open alerts of each."""

from __future__ import annotations

from typing import Any

from headrace.dashboard.view import PageView
from headrace.dashboard.words import WORST_FIRST, state


async def overview(view: PageView) -> dict[str, Any]:
    """What stands on the page: the systems, worst first."""
    answer = await view.api.get("/v1/overview")
    systems = sorted(answer["systems"], key=lambda item: (WORST_FIRST.index(state(item["state"])), item["system"]))
    return {"overview": answer, "systems": systems}
