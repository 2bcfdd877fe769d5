"""One simulation: how far it is; then what each policy gave, beside the others and the baselines."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from headrace.dashboard.figures import Figure, FigureLine
from headrace.dashboard.pages.of_system import beside
from headrace.dashboard.pages.system import SHARES, unit_of
from headrace.dashboard.reading import ApiRefusal
from headrace.dashboard.view import PageView, system_path
from headrace.dashboard.words import number

UNDER_WAY = ("queued", "running")
_SHOWN, _BASELINES = 100, 3


async def simulated(view: PageView) -> dict[str, Any]:
    """What stands on the page."""
    name, simulation_id = view.request.path_params["name"], view.request.path_params["simulation_id"]
    frame, simulation = await asyncio.gather(
        beside(view, "simulate"), view.api.get(system_path(name, "simulations", simulation_id))
    )
    documents = simulation["result"] or []
    chosen = _chosen(view, documents)
    measure = measure_of(documents)
    ranking = rows_of(documents, measure)
    return {
        **frame,
        "simulation": simulation,
        "under_way": simulation["state"] in UNDER_WAY,
        "policies": _progress(simulation),
        "documents": documents,
        "ranking": ranking,
        "measure": measure,
        "share": measure in SHARES,
        "verdict": verdict(ranking, measure),
        "chosen": chosen,
        "alerts": [] if chosen is None else _alerts(chosen)[:_SHOWN],
        "failed": next((document["failed"][0] for document in documents if document["failed"]), None),
        "may_cancel": view.may(name, "write"),
    }


def _progress(simulation: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Each policy, how it is, and what is being done of it."""
    names, progress = simulation["names"], simulation["progress"]
    ended = simulation["state"] == "done"
    policy, colon, stage = progress["stage"].rpartition(": ")
    place = names.index(policy) if colon and policy in names else 0
    states = ["done" if ended or n < place else "running" if n == place else "queued" for n in range(len(names))]
    if simulation["state"] != "running" and not ended:
        states = ["queued"] * len(names)
    return [
        (name, state, (stage or "begins") if state == "running" else "")
        for name, state in zip(names, states, strict=True)
    ]


def measure_of(documents: Sequence[Mapping[str, Any]]) -> str:
    """The error that is shown: of series that are mostly zero there is no WAPE."""
    return "wape" if any(document["metrics"].get("wape") is not None for document in documents) else "rmsse"


def rows_of(documents: Sequence[Mapping[str, Any]], measure: str) -> list[dict[str, Any]]:
    """A row for each policy: errors beside the best baseline's, what it did, and what it took."""
    rows = []
    for document in documents:
        baselines = {
            name: values[measure] for name, values in document["baselines"].items() if values.get(measure) is not None
        }
        best = min(baselines, key=lambda name: baselines[name], default=None)
        hindsight = document["hindsight"]
        rows.append(
            {
                "policy": document["policy"],
                "error": document["metrics"].get(measure),
                "baseline": best,
                "baseline_error": None if best is None else baselines[best],
                "coverage": document["metrics"].get("coverage"),
                "retrainings": document["retrainings"],
                "retunings": document["retunings"],
                "promotions": len(document["promotions"]),
                "alerts": len(document["alerts"]),
                "alarms": hindsight["alarms"],
                "right": hindsight["precision"],
                "caught": hindsight["recall"],
                "cpu_seconds": document["cpu_seconds"],
            }
        )
    errors = [row["error"] for row in rows if row["error"] is not None]
    for row in rows:
        row["best"] = len(rows) > 1 and row["error"] is not None and row["error"] == min(errors)
    largest = max((row["cpu_seconds"] for row in rows), default=0) or 1
    return [{**row, "cpu_part": row["cpu_seconds"] / largest} for row in rows]


def verdict(rows: Sequence[Mapping[str, Any]], measure: str) -> str:
    """Which policy was best, in a sentence, and whether the baseline was better than all of them.

    >>> verdict([{"policy": "weekly", "error": 0.05, "baseline": "naive_7d", "baseline_error": 0.04}], "wape")
    'weekly has WAPE 5.0 %. The baseline naive 7d is better than it: 4.0 %.'
    """
    known = [row for row in rows if row["error"] is not None]
    if not known:
        return "No truth was known by the end, so nothing can be said about errors."
    is_share = measure in SHARES
    best = min(known, key=lambda row: row["error"])
    words = "has" if len(known) == 1 else "has the smallest error:"
    sentence = f"{best['policy']} {words} {measure.upper()} {number(best['error'], is_share)}."
    baselines = [row for row in known if row["baseline_error"] is not None]
    naive = min(baselines, key=lambda row: row["baseline_error"], default=None)
    if naive is None or naive["baseline_error"] >= best["error"]:
        return sentence
    called = str(naive["baseline"]).replace("_", " ")
    beaten = "it" if len(known) == 1 else "all of them"
    return f"{sentence} The baseline {called} is better than {beaten}: {number(naive['baseline_error'], is_share)}."


def _chosen(view: PageView, documents: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The policy whose details are shown."""
    name = view.asked("policy")
    chosen = next((document for document in documents if document["policy"] == name), None)
    return chosen or next(iter(documents), None)


def _alerts(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Alerts of a policy, each with what came of it."""
    return [
        {
            **{name: alert.get(name) for name in ("at", "severity", "rule", "value", "threshold", "closed_at")},
            "scope": ", ".join(map(str, (alert.get("scope") or {}).values())) or "the system",
            "outcome": "; ".join(f"{act['action']} {act['outcome']}" for act in alert.get("actions") or ()),
            "why": "; ".join(str(act["reason"]) for act in alert.get("actions") or ()),
        }
        for alert in document["alerts"]
    ]


async def _documents(view: PageView, name: str) -> list[dict[str, Any]]:
    """What came of the simulation that the address names.

    Raises:
        ApiRefusal: 404: nothing did yet, or there is none.
    """
    simulation = await view.api.get(system_path(name, "simulations", view.asked("simulation") or "none"))
    if not simulation["result"]:
        raise ApiRefusal(404, "no result", f"the simulation is {simulation['state']}")
    documents: list[dict[str, Any]] = simulation["result"]
    return documents


async def error(view: PageView, name: str) -> Figure:
    """Errors of all policies over time, beside the baselines on the pairs of the first one."""
    declared, documents = await asyncio.gather(view.api.get(system_path(name)), _documents(view, name))
    measure = measure_of(documents)
    points: dict[str, dict[str, Any]] = {}
    for place, document in enumerate(documents):
        for row in document["over_time"]:
            point = points.setdefault(row["time"], {"time": row["time"]})
            point[f"policy_{place}"] = row.get(measure)
            if place == 0:
                point |= {key: row.get(key) for key in _baselines(document, measure)}
    lines = [
        FigureLine(f"policy_{place}", document["policy"], "other" if place else "ours")
        for place, document in enumerate(documents)
    ]
    lines += [
        FigureLine(key, key.removesuffix(f"_{measure}").replace("_", " "), "naive")
        for key in _baselines(documents[0], measure)
    ]
    chosen = _chosen(view, documents)
    times = sorted(points)
    return Figure(
        title=f"{measure.upper()} of the policies, by the time of the truth",
        unit="per cent" if measure in SHARES else unit_of(declared, declared["target"]),
        x="time",
        lines=lines,
        rows=[points[time] for time in times],
        share=measure in SHARES,
        zero=True,
        marks=[] if chosen is None or not times else _marks(chosen, times[0], times[-1]),
    )


def _baselines(document: Mapping[str, Any], measure: str) -> list[str]:
    """Columns of the best baselines over time."""
    figures = {name: values.get(measure) for name, values in document["baselines"].items()}
    names = sorted((name for name, value in figures.items() if value is not None), key=lambda name: figures[name])
    return [f"{name}_{measure}" for name in names[:_BASELINES]]


def _marks(document: Mapping[str, Any], first: str, last: str) -> list[dict[str, Any]]:
    """When champions changed, of one policy."""
    return [
        {"x": row["at"], "text": f"version {row['version']}", "kind": "promoted"}
        for row in document["promotions"]
        if first <= row["at"] <= last
    ]


async def alerts(view: PageView, name: str) -> Figure:
    """Alerts of one policy, as a table and CSV."""
    document = _chosen(view, await _documents(view, name))
    assert document is not None, "there is a result"
    labels = {"closed_at": "closed", "outcome": "what came of it", "why": "because"}
    columns = ("severity", "rule", "scope", "value", "threshold", "closed_at", "outcome", "why")
    return _table(f"Alerts of {document['policy']}", "at", columns, labels, _alerts(document))


async def trainings(view: PageView, name: str) -> Figure:
    """Trainings of one policy, as a table and CSV."""
    document = _chosen(view, await _documents(view, name))
    assert document is not None, "there is a result"
    columns, labels = ("version", "because", "promoted", "reason", "cpu_seconds"), {"cpu_seconds": "CPU s"}
    return _table(f"Trainings of {document['policy']}", "at", columns, labels, document["trainings"])


def _table(
    title: str, first: str, columns: Sequence[str], labels: Mapping[str, str], rows: Sequence[Mapping[str, Any]]
) -> Figure:
    lines = [FigureLine(column, labels.get(column, column), "hidden") for column in columns]
    return Figure(title, f"rows by {first}", first, lines, rows)
