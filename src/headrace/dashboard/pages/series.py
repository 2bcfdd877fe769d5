"""Series of a system: search, worst first, compare several."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlencode

from headrace.dashboard.figures import Figure, FigureLine
from headrace.dashboard.pages.of_system import beside, keys_of
from headrace.dashboard.pages.system import SHARES, measured_in
from headrace.dashboard.reading import ApiRefusal
from headrace.dashboard.view import PageView, series_of, series_text, system_path

_ORDERS = {"worst": "worst first", "best": "best first", "stale": "stale first", "name": "by name"}
_LIMIT, _COMPARED, _POINTS = 50, 5, 1000


async def series(view: PageView) -> dict[str, Any]:
    """What stands on the page."""
    name = view.request.path_params["name"]
    order, text = view.asked("order", list(_ORDERS), "worst"), view.asked("q")
    query = {"q": text or None, "order": order, "limit": _LIMIT, "cursor": view.asked("cursor") or None}
    frame, answer = await asyncio.gather(
        beside(view, "series"), view.api.get(system_path(name, "series", "search"), query)
    )
    compared = _compared(view, frame["keys"])
    return {
        **frame,
        "answer": answer,
        "share": answer["measure"] in SHARES,
        "measure": answer["measure"] or "error",
        "orders": _ORDERS,
        "order": order,
        "text": text,
        "compared": compared,
        "compared_texts": [series_text(keys) for keys in compared],
        "compared_query": urlencode([("with", series_text(keys)) for keys in compared]),
    }


def _compared(view: PageView, keys: list[str]) -> list[dict[str, str]]:
    """The series that the address names to be compared."""
    named = (series_of(text, keys) for text in view.request.query_params.getlist("with")[:_COMPARED])
    return [series for series in named if series is not None]


async def compared(view: PageView, name: str) -> Figure:
    """Errors over time of several series."""
    declared = await view.api.get(system_path(name))
    chosen = _compared(view, keys_of(declared))
    if not chosen:
        raise ApiRefusal(422, "no series", "name at least one series")
    path = system_path(name, "scores")
    answers = await asyncio.gather(*(view.api.get(path, {"by": "time", "limit": _POINTS, **keys}) for keys in chosen))
    measure = answers[0]["measure"] or "error"
    points: dict[str, dict[str, Any]] = {}
    for place, answer in enumerate(answers):
        for row in answer["rows"]:
            points.setdefault(row["time"], {"time": row["time"]})[f"series_{place}"] = row.get(measure)
    roles = ("ours", "naive", "naive", "naive", "truth")
    return Figure(
        title=f"{measure.upper().replace('_', ' ')} over time",
        unit=measured_in(measure, declared),
        x="time",
        lines=[
            FigureLine(f"series_{place}", ", ".join(keys.values()), role)
            for place, (keys, role) in enumerate(zip(chosen, roles, strict=False))
        ],
        rows=[points[time] for time in sorted(points)],
        share=measure in SHARES,
        zero=True,
    )
