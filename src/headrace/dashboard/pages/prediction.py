"""One prediction: from its source to the number, what contributed to it, and the number computed again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from headrace.dashboard.reading import ApiRefusal
from headrace.dashboard.view import PageView

_WIDE, _HIGH, _GAP, _ROW = 256, 56, 60, 22
"""Of the drawing: a box, and the room between two."""
_LETTERS = 34
_SHOWN = 25


async def prediction(view: PageView) -> dict[str, Any]:
    """What stands on the page."""
    name = view.request.path_params["prediction_id"]
    path = f"/v1/predictions/{quote(name, safe='')}"
    graph, explanation = await asyncio.gather(view.api.get(f"{path}/graph"), _explained(view, path))
    replayed = await _replayed(view, path) if view.asked("replay") else None
    contributions = explanation.get("contributions") or []
    largest = max((abs(part["contribution"]) for part in contributions), default=0) or 1
    ordered = sorted(contributions, key=lambda part: -abs(part["contribution"]))
    return {
        "prediction_id": name,
        "graph": graph,
        "drawing": drawn(graph["nodes"], graph["edges"]),
        "explanation": explanation,
        "contributions": [{**part, "part": abs(part["contribution"]) / largest} for part in ordered[:_SHOWN]],
        "more": len(ordered) - _SHOWN,
        "replayed": replayed,
    }


async def _explained(view: PageView, path: str) -> dict[str, Any]:
    """The contributions; or why there are none."""
    try:
        answer: dict[str, Any] = await view.api.get(f"{path}/explain")
    except ApiRefusal as refused:
        if refused.passing or refused.status in (401, 403):
            raise
        return {"trouble": refused.detail}
    return answer


async def _replayed(view: PageView, path: str) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = await view.api.get(f"{path}/replay")
    except ApiRefusal as refused:
        if refused.passing or refused.status in (401, 403):
            raise
        return {"trouble": f"{refused.detail}{f' ({refused.hint})' if refused.hint else ''}"}
    return answer


def drawn(nodes: Sequence[Mapping[str, Any]], edges: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Places of boxes and lines: each node stands one column after the last one that it was made from.

    >>> two = drawn([{"id": "a", "title": "A", "says": ""}, {"id": "b", "title": "B", "says": ""}],
    ...             [{"source": "a", "target": "b", "says": ""}])
    >>> [box["x"] for box in two["boxes"]]
    [4, 320]
    """
    column = {node["id"]: 0 for node in nodes}
    for _ in nodes:
        for edge in edges:
            if edge["source"] in column and edge["target"] in column:
                column[edge["target"]] = max(column[edge["target"]], min(column[edge["source"]] + 1, len(nodes)))
    outgoing = {edge["source"]: column[edge["target"]] for edge in reversed(edges) if edge["target"] in column}
    for node in nodes:  # what nothing was made into a source stands next to what was made of it
        if not any(edge["target"] == node["id"] for edge in edges) and node["id"] != nodes[0]["id"]:
            column[node["id"]] = max(0, outgoing.get(node["id"], 1) - 1)
    filled: dict[int, int] = {}
    boxes = {}
    for node in nodes:
        at = column[node["id"]]
        row = filled.get(at, 0)
        filled[at] = row + 1
        boxes[node["id"]] = {
            "x": 4 + at * (_WIDE + _GAP),
            "y": 4 + row * (_HIGH + _ROW),
            "title": node["title"],
            "says": _cut(str(node["says"])),
        }
    lines = [_line(boxes[edge["source"]], boxes[edge["target"]]) for edge in edges if edge["source"] in boxes]
    return {
        "boxes": list(boxes.values()),
        "lines": lines,
        "wide": 8 + max((box["x"] for box in boxes.values()), default=0) + _WIDE,
        "high": 8 + max((box["y"] for box in boxes.values()), default=0) + _HIGH,
        "box_wide": _WIDE,
        "box_high": _HIGH,
    }


def _line(source: Mapping[str, Any], target: Mapping[str, Any]) -> str:
    begin, end = (source["x"] + _WIDE, source["y"] + _HIGH / 2), (target["x"], target["y"] + _HIGH / 2)
    middle = (begin[0] + end[0]) / 2
    return f"M{begin[0]} {begin[1]}C{middle} {begin[1]} {middle} {end[1]} {end[0]} {end[1]}"


def _cut(text: str) -> str:
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}…"
