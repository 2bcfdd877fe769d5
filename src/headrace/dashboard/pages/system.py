"""One system: observed and forecast as of a time, errors beside baselines, coverage, champions, alerts, decisions."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from headrace.dashboard.figures import Figure, FigureLine
from headrace.dashboard.pages.of_system import beside, has_series, keys_of, optional
from headrace.dashboard.reading import ApiRefusal
from headrace.dashboard.view import PageView, system_path
from headrace.dashboard.words import clock, moment

_CUTS = {"time": "time", "run": "made", "step": "ahead", "series": "", "version": "model_version"}
"""How errors can be cut, and the column of each in the answer."""
_LABELS = {"time": "over time", "run": "by run", "step": "by step", "series": "by series", "version": "by version"}
_OF_ROWS = ("time", "version")
"""How errors of rows can be cut, beside columns of the contract."""
SHARES = ("wape", "mape", "coverage", "accuracy", "bias_share", "smape")
_LIKE_THE_TARGET = ("mae", "rmse", "bias")
_HOURS = 24 * 14
"""Observations that the chart of a forecast shows, back from the newest."""
_MOST_TIMES, _MOST_SERIES, _MOST_POINTS = 500, 100, 1000


async def system(view: PageView) -> dict[str, Any]:
    """What stands on the page."""
    frame = await beside(view, "")
    name, keys = frame["name"], frame["keys"]
    reading = (
        optional(view, system_path(name, "why"), limit=50),
        optional(view, system_path(name, "alerts"), open="true", limit=20),
        view.api.get(system_path(name, "runs"), {"limit": _MOST_TIMES}),
        optional(view, system_path(name, "series", "search"), order="worst", limit=_MOST_SERIES)
        if frame["is_series"]
        else _nothing(),
    )
    why, alerts, runs, found = await asyncio.gather(*reading)
    links = (why or {}).get("links", [])
    times = sorted({run["as_of"] for run in runs["runs"] if run["status"] == "done"})
    series_rows = (found or {}).get("rows", [])
    series = view.series(keys) or (series_rows[0]["keys"] if series_rows else None)
    as_of = view.asked("as_of")
    segments = (keys if len(keys) > 1 else []) if frame["is_series"] else segments_of(frame["declared"])
    cut = view.asked("by", [*(_LABELS if frame["is_series"] else _OF_ROWS), *segments], "time")
    scores = await _segment_scores(view, name, cut) if cut in ("series", *segments) else None
    return {
        **frame,
        "alerts": (alerts or {}).get("alerts", []),
        "history": [link for link in links if link["event"] in ("trained", "promoted", "rejected", "raised", "closed")],
        "decisions": [link for link in links if link["event"] == "acted"],
        "times": times,
        "as_of": as_of if moment(as_of) else "",
        "series": series,
        "series_rows": series_rows,
        "series_total": (found or {}).get("total", 0),
        "cut": cut,
        "cuts": _cuts(segments) if frame["is_series"] else {name: _LABELS[name] for name in _OF_ROWS},
        "segments": segments,
        "scores": scores,
        "columns": _columns(scores, cut, keys),
    }


async def _nothing() -> None:
    return None


def _cuts(keys: list[str]) -> dict[str, str]:
    """How errors of series can be cut, and what each is called."""
    return {**_LABELS, **{key: f"by {key}" for key in keys}}


def segments_of(declared: Mapping[str, Any]) -> list[str]:
    """Columns of rows by which errors can be cut: all of the contract but the keys and the target."""
    left_out = {*keys_of(dict(declared)), declared["target"]}
    return [name for name in declared["contract"].get("properties") or {} if name not in left_out]


async def _segment_scores(view: PageView, name: str, cut: str) -> dict[str, Any]:
    """Errors by segment; or why there are none by this one."""
    try:
        return await _scores(view, name, cut)
    except ApiRefusal as refused:
        if refused.status != 422:
            raise
        return {"measure": "error", "baselines": [], "rows": [], "nominal": None, "unit": None} | {
            "trouble": f"{refused.detail}; {refused.hint}" if refused.hint else refused.detail
        }


async def _scores(view: PageView, name: str, cut: str) -> dict[str, Any]:
    """Errors, cut in one way; without rows where nothing was scored yet."""
    query = {"by": cut, "as_of": view.asked("as_of") or None, "limit": _MOST_POINTS}
    answer: dict[str, Any] | None = await optional(view, system_path(name, "scores"), **query)
    if answer is None or answer["measure"] is None:
        return {"measure": "error", "baselines": [], "rows": [], "nominal": None, "unit": None}
    return answer


def _columns(scores: Mapping[str, Any] | None, cut: str, keys: list[str]) -> list[tuple[str, str, bool]]:
    """Columns of the table of scores: name, label, whether it is a share."""
    if scores is None:
        return []
    heads = keys if cut == "series" else [_CUTS.get(cut) or cut]
    measure = scores["measure"]
    columns = [(head, head.replace("_", " "), False) for head in heads]
    columns += [("n", "pairs", False), (measure, measure.upper(), measure in SHARES)]
    columns += [
        (f"{baseline}_{measure}", baseline.replace("_", " "), measure in SHARES) for baseline in scores["baselines"]
    ]
    if any(row.get("coverage") is not None for row in scores["rows"]):
        columns.append(("coverage", "coverage", True))
    if any(row.get("skill") is not None for row in scores["rows"]):
        columns.append(("skill", "beside the best", True))
    return columns


async def forecast(view: PageView, name: str) -> Figure:
    """Observed values, the newest forecast or that of a time, and its interval, of one series."""
    declared = await view.api.get(system_path(name))
    if not has_series(declared):
        raise ApiRefusal(404, "no series", f"{name} has no series")
    keys = keys_of(declared)
    series = view.series(keys)
    if series is None:
        raise ApiRefusal(422, "no series", "name the series")
    as_of = view.asked("as_of") or None
    made, observed = await asyncio.gather(
        view.api.get(system_path(name, "predictions"), {**series, "as_of": as_of}),
        view.api.get(system_path(name, "observations"), {**series, "hours": _HOURS}),
    )
    points: dict[str, dict[str, Any]] = {}
    begin = made["predictions"][0]["time"] if made["predictions"] else ""
    for row in observed["observations"]:
        if row["time"] >= begin or as_of is None:
            points[row["time"]] = {"time": row["time"], "observed": row["value"]}
    for row in made["predictions"]:
        points.setdefault(row["time"], {"time": row["time"]}).update(
            {"forecast": row["value"], "lower": row["lower"], "upper": row["upper"], "id": row["id"]}
        )
    known = made["as_of"]
    marks = [] if known is None else [{"x": known, "text": "known until here", "kind": "now"}]
    return Figure(
        title=f"{declared['target']} of {', '.join(series.values()) or name}",
        unit=unit_of(declared, declared["target"]),
        x="time",
        lines=(
            FigureLine("lower", "interval, lower", "lower"),
            FigureLine("upper", "interval, upper", "upper"),
            FigureLine("observed", "observed", "truth"),
            FigureLine("forecast", "forecast", "ours"),
            FigureLine("id", "prediction", "hidden"),
        ),
        rows=[points[time] for time in sorted(points)],
        marks=marks,
        note=f"Forecast as of {clock(known)} UTC." if known else "No forecast was known then.",
    )


def unit_of(declared: Mapping[str, Any], column: str) -> str:
    """What a column is counted in, as far as its declaration says: else its own name."""
    described = str(declared["contract"].get("properties", {}).get(column, {}).get("description", ""))
    return described.replace("`", "") if 0 < len(described) <= 60 else column


def measured_in(measure: str, declared: Mapping[str, Any]) -> str:
    """The unit of a measure; empty where it has none, such as log loss.

    >>> declared = {"target": "load", "contract": {"properties": {"load": {"description": "in MW"}}}}
    >>> measured_in("wape", declared), measured_in("rmse", declared), measured_in("log_loss", declared)
    ('per cent', 'in MW', '')
    """
    if measure in SHARES:
        return "per cent"
    return unit_of(declared, declared["target"]) if measure.endswith(_LIKE_THE_TARGET) else ""


async def error(view: PageView, name: str) -> Figure:
    """The measure of a system over time, by run, by step or by version, beside its baselines on the same pairs."""
    cut = view.asked("by", list(_CUTS), "time")
    cut = "time" if cut == "series" else cut
    declared, scores, why = await asyncio.gather(
        view.api.get(system_path(name)),
        _scores(view, name, cut),
        optional(view, system_path(name, "why"), limit=100),
    )
    x = _CUTS[cut]
    measure = scores["measure"]
    is_share = measure in SHARES
    lines = [FigureLine(measure, name, "ours")]
    lines += [
        FigureLine(f"{baseline}_{measure}", baseline.replace("_", " "), "naive") for baseline in scores["baselines"][:3]
    ]
    lines.append(FigureLine("n", "pairs", "hidden"))
    is_time = cut in ("time", "run")
    rows = sorted(scores["rows"], key=lambda row: row[x])
    marks = _marks((why or {}).get("links", []), rows, x) if is_time else []
    return Figure(
        title=f"{measure.upper().replace('_', ' ') if rows else 'Error'} {_LABELS[cut]}",
        unit=measured_in(measure, declared),
        x=x,
        lines=lines,
        rows=rows,
        over="time" if is_time else "number",
        share=is_share,
        zero=True,
        marks=marks,
    )


def _marks(links: list[dict[str, Any]], rows: list[dict[str, Any]], x: str) -> list[dict[str, Any]]:
    """Events within the chart: retunes, alerts, promotions."""
    times = [time for time in (moment(row[x]) for row in rows) if time is not None]
    if not times:
        return []
    return [
        {"x": link["time"], "text": link["text"], "kind": link["event"]}
        for link in links
        if (time := moment(link["time"])) is not None and times[0] <= time <= times[-1]
    ]


async def coverage(view: PageView, name: str) -> Figure:
    """How often the truth lay in the interval, beside how often it should."""
    scores = await _scores(view, name, "time")
    rows = sorted((row for row in scores["rows"] if row.get("coverage") is not None), key=lambda row: row["time"])
    nominal = scores.get("nominal")
    return Figure(
        title="Coverage of the intervals",
        unit="per cent of the observed values",
        x="time",
        lines=(FigureLine("coverage", "coverage", "ours"), FigureLine("n", "pairs", "hidden")),
        rows=rows,
        share=True,
        nominal=None if nominal is None else (nominal, f"nominal {nominal:.0%}"),
    )
