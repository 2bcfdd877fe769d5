"""An API that answers from memory, for pages: a system of series with a hostile name, and one of rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from headrace.dashboard.asking import Clients

HOSTILE = "<script>alert(1)</script>\"'{{7*7}}"
KEYS = {"place": HOSTILE, "kind": "=1+1"}
RUN = {
    "run_id": "r1",
    "as_of": "2026-03-02T00:00:00Z",
    "created_at": "2026-03-02T00:00:01Z",
    "ended_at": "2026-03-02T00:00:09Z",
    "status": "done",
    "error": HOSTILE,
    "model_version": 1,
    "data_version": 3,
    "predictions": 24,
}
STATUS = {
    "system": "load",
    "kind": "forecast",
    "state": "warning",
    "says": HOSTILE,
    "reasons": [{"state": "warning", "says": HOSTILE}, {"state": "good", "says": "fine"}],
    "champion": {"version": 1, "since": "2026-03-01T00:00:00Z", "because": HOSTILE},
    "pending": [2],
    "quality": {
        "measure": "wape",
        "value": 0.05,
        "baseline": "naive_7d",
        "baseline_value": 0.06,
        "coverage": 0.91,
        "nominal": 0.9,
    },
    "freshness": {"newest": "2026-03-02T00:00:00Z", "series": 3, "stale_series": 1, "says": HOSTILE},
    "last_run": RUN,
    "next_run": {"at": "2026-03-02T01:00:00Z", "late_seconds": 90},
    "alerts": {"open": 1, "alarms": 1, "warnings": 0, "newest": None},
    "ready": True,
    "reason": None,
}
SYSTEM = {
    "name": "load",
    "kind": "forecast",
    "keys": ["place", "kind"],
    "target": "load",
    "horizon": "1d",
    "step": "1h",
    "ready": False,
    "reason": HOSTILE,
    "contract": {"properties": {"load": {"type": "number", "description": HOSTILE}}, "required": ["load"]},
}
SCORES = {
    "by": "time",
    "measure": "wape",
    "baselines": ["naive_7d"],
    "nominal": 0.9,
    "unit": "MW",
    "rows": [
        {"time": f"2026-03-01T{h:02}:00:00Z", "n": 3, "wape": h / 100, "naive_7d_wape": 0.1, "coverage": 0.9}
        for h in range(24)
    ],
}
SERIES_ROW = {
    "keys": KEYS,
    "n": 5,
    "value": 0.07,
    "baseline": "naive_7d",
    "baseline_value": 0.08,
    "skill": 0.1,
    "coverage": 0.9,
    "newest": "2026-03-02T00:00:00Z",
    "stale": True,
}
LINK = {"time": "2026-03-01T05:00:00Z", "event": "raised", "text": HOSTILE, "alert": "a", "version": None}
ALERT = {"severity": "alarm", "rule": HOSTILE, "scope": HOSTILE, "value": 1.5, "threshold": 1.0, "raised_at": None}
PREDICTIONS = {
    "as_of": "2026-03-02T00:00:00Z",
    "model_version": 1,
    "predictions": [{"time": "2026-03-02T01:00:00Z", "value": 2.0, "lower": 1.0, "upper": 3.0, "id": "p1"}],
}
VERSION = {
    "version": 2,
    "rank": 1,
    "state": "pending",
    "as_of": "2026-03-01T00:00:00Z",
    "metrics": {"wape": 0.05},
    "because": HOSTILE,
    "reason": HOSTILE,
    "decided_by": HOSTILE,
    "decided_at": None,
}


AT = "2026-03-02T00:00:00Z"
CARD = {"version": 1, "title": "load", "subtitle": HOSTILE, "markdown": HOSTILE}
DETAIL = {**VERSION, "created_at": AT, "digest": "d", "pins": {"data_version": 3}, "params": {}, "history": []}
COUNT = {"column": "load", "reason": HOSTILE, "rows": 1, "released": 0}
APART_ROW = {"id": "q1", "known_at": AT, "row": HOSTILE, "reasons": [HOSTILE], "source": None, "state": "apart"}
APART = {"system": "load", "apart": 1, "released": 0, "counts": [COUNT], "rows": [APART_ROW], "next": None}
RULE = {
    "column": "load",
    "rule": "minimum",
    "severity": "warn",
    "passed": False,
    "failed": 1,
    "share": 0.1,
    "message": HOSTILE,
    "examples": [{"row": HOSTILE, "reason": HOSTILE}],
}
INGEST = {"created_at": AT, "rows": 9, "bad": 1, "good": 8, "pending": 0, "source": HOSTILE}
VALIDATION = {
    **INGEST,
    "invalid_fraction": 0.1,
    "max_invalid_fraction": 0.2,
    "broken": True,
    "why_broken": [HOSTILE],
    "findings": [RULE],
    "rules": [RULE],
    "history": [INGEST, {**INGEST, "created_at": "2026-03-01T00:00:00Z"}],
}
DRIFT = {
    "as_of": AT,
    "since": AT,
    "rows": 9,
    "judged": True,
    "drifted": True,
    "share": 0.5,
    "reason": HOSTILE,
    "reference": {"model_version": 1, "rows": 9, "as_of": AT},
    "features": [
        {
            "name": HOSTILE,
            "role": "feature",
            "statistic": "stability",
            "value": 1.5,
            "threshold": 0.2,
            "drifted": True,
            "importance": 0.5,
            "reference": {"mean": 1.0, "missing": 0.0},
            "current": {"mean": 2.0, "missing": 0.0},
        }
    ],
    "segments": [],
}
LETTER = {"partition": 0, "offset": 4, "at": AT, "reason": HOSTILE, "source": "t", "key": None, "value": HOSTILE}
STREAM = {
    "reachable": True,
    "says": "3 events wait",
    "lag": 3,
    "partitions": [{"partition": 0, "first": 0, "end": 9, "committed": 6, "lag": 3}],
    "findings": [{"what": "topic", "status": "ok", "said": HOSTILE}],
}
LETTERS = {"rows": [LETTER], "kinds": [{"count": 1, "reason": HOSTILE, "newest": AT}], "next": None}
TABLE = {"name": "raw", "rows": None, "ok": False, "problems": [HOSTILE]}
GRAPH = {
    "id": "p1",
    "system": "load",
    "role": "champion",
    "nodes": [{"id": "source", "kind": "source", "title": "Source", "says": HOSTILE, "facts": {"uri": HOSTILE}}],
    "edges": [],
}
EXPLAINED = {
    "value": 2.0,
    "target": "load",
    "label": None,
    "base": 1.0,
    "base_means": HOSTILE,
    "total": 2.0,
    "scale": "load",
    "mapping": "the total is the value",
    "contributions": [{"feature": HOSTILE, "value": HOSTILE, "contribution": 1.0}],
}
FULL_RUN = {**RUN, "status": "failed", "seconds": 9.0, "steps": [{"name": "train", "seconds": 8.0, "rows": None}]}
FAILURE = {"error": "StoreError", "message": HOSTILE, "where": HOSTILE, "hint": "read `it`"}
REPORT = {
    **FULL_RUN,
    "failure": {**FAILURE, "raised_when": "`x`", "what_to_do": HOSTILE},
    "pins": {"data_version": 3},
    "metrics": {},
    "ingested": 9,
    "quarantined": 1,
    "trained": False,
    "warnings": [HOSTILE],
}
NEWEST = {"id": "p1", "created_at": AT, "key": json.dumps(list(KEYS.values())), "load": 2.0, "model_version": 1}


SIMULATION = {
    "id": "s1",
    "system": "load",
    "by": HOSTILE,
    "state": "done",
    "created_at": "2026-03-02T00:00:00Z",
    "started_at": "2026-03-02T00:00:01Z",
    "ended_at": "2026-03-02T00:05:00Z",
    "reason": None,
    "start": "2026-02-01T00:00:00Z",
    "end": "2026-03-01T00:00:00Z",
    "every": "1d",
    "policies": {HOSTILE: {}},
    "beside": ["never"],
    "names": [HOSTILE, "never again"],
    "runs": 29,
    "progress": {"stage": "never again: monitor", "count": 29, "total": 29},
}


def _tried(policy: str, error: float) -> dict[str, Any]:
    """What one policy gave."""
    act = {"action": "retune", "outcome": "promoted", "reason": HOSTILE}
    alert = {"at": "2026-02-05T00:00:00Z", "severity": "alarm", "rule": HOSTILE, "scope": {"place": HOSTILE}}
    times = [f"2026-02-{day:02}T00:00:00Z" for day in range(1, 11)]
    training = {"at": times[4], "version": 2, "because": HOSTILE, "promoted": True, "reason": "=1+1", "cpu_seconds": 2}
    return {
        "policy": policy,
        "runs": 29,
        "failed": [],
        "alerts": [{**alert, "value": 0.4, "threshold": 0.3, "closed_at": None, "actions": [act]}],
        "retrainings": 1,
        "retunings": 1,
        "promotions": [{"at": times[4], "version": 2}],
        "hindsight": {"alarms": 1, "precision": 1.0, "recall": None},
        "trainings": [training],
        "metrics": {"wape": error, "coverage": 0.9},
        "baselines": {"naive_7d": {"wape": 0.04}, "naive_1d": {"wape": 0.09}},
        "over_time": [{"time": time, "wape": error, "naive_7d_wape": 0.04, "naive_1d_wape": 0.09} for time in times],
        "cpu_seconds": 12.5,
    }


def _answers() -> dict[str, Any]:
    names = ["read", "predict", "decide", "write"]
    path = "/v1/systems/load"
    return {
        "/v1/access": {"open": False, "name": "ann", "systems": {"load": names}},
        "/v1/overview": {"state": "warning", "says": HOSTILE, "systems": [STATUS]},
        path: SYSTEM,
        f"{path}/status": STATUS,
        f"{path}/scores": SCORES,
        f"{path}/series/search": {"measure": "wape", "total": 1, "rows": [SERIES_ROW], "next": None},
        f"{path}/why": {"links": [LINK]},
        f"{path}/alerts": {"alerts": [ALERT]},
        f"{path}/runs": {"runs": [RUN, {**RUN, "as_of": "2026-03-01T00:00:00Z"}], "next": None},
        f"{path}/models": {"models": [VERSION], "measure": "wape", "ranking": [2]},
        f"{path}/simulations": {"simulations": [SIMULATION], "next": None},
        f"{path}/simulations/s1": SIMULATION | {"result": [_tried(HOSTILE, 0.05), _tried("never again", 0.06)]},
        f"{path}/predictions": PREDICTIONS,
        f"{path}/models/1": DETAIL,
        f"{path}/models/1/card": CARD,
        f"{path}/runs/r1": REPORT,
        f"{path}/validation": VALIDATION,
        f"{path}/quarantine": APART,
        f"{path}/drift": DRIFT,
        f"{path}/stream": STREAM,
        f"{path}/dead-letters": LETTERS,
        f"{path}/verify": {"ok": False, "tables": [TABLE]},
        f"{path}/answers": {"rows": [NEWEST], "next": None},
        "/v1/doctor": {"ok": True, "findings": STREAM["findings"]},
        "/v1/predictions/p1/graph": GRAPH,
        "/v1/predictions/p1/explain": EXPLAINED,
        f"{path}/observations": {"observations": [{"time": "2026-03-02T00:00:00Z", "value": 2.5}]},
    }


@dataclass
class Answers:
    """The API.

    Attributes:
        answers: By path.
        token: The one that it knows; empty: it is open.
        trouble: What it does instead of answering; None where it answers.
        posted: Paths and bodies that were posted.
        asked: Paths that were asked for.
        keys: Those that posts had.
    """

    answers: dict[str, Any] = field(default_factory=_answers)
    token: str = "secret"
    trouble: Callable[[httpx.Request], httpx.Response | None] | None = None
    posted: list[tuple[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)

    def clients(self) -> Clients:
        """What the dashboard asks it by."""
        return Clients("http://api", httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        refused = None if self.trouble is None else self.trouble(request)
        if refused is not None:
            return refused
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            return httpx.Response(401, json={"title": "Unauthorized", "detail": "a known bearer token is needed"})
        if request.method == "POST":
            self.posted.append((request.url.path, json.loads(request.content) if request.content else None))
            self.keys.append(request.headers.get("idempotency-key"))
            return httpx.Response(200, json={"version": 2, "id": "s1", "names": ["declared"]})
        if request.method == "DELETE":
            self.posted.append((request.url.path, None))
            return httpx.Response(200, json={})
        found = self.answers.get(request.url.path)
        if found is None:
            return httpx.Response(404, json={"title": "Not Found", "detail": "there is no such thing"})
        return httpx.Response(200, json=found)
