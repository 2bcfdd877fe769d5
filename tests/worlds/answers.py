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
        f"{path}/predictions": PREDICTIONS,
        f"{path}/observations": {"observations": [{"time": "2026-03-02T00:00:00Z", "value": 2.5}]},
    }


@dataclass
class Answers:
    """The API.

    Attributes:
        answers: By path.
        token: The one that it knows; empty: it is open.
        trouble: What it does instead of answering, if anything.
        posted: Paths and bodies that were posted.
        asked: Paths that were asked for.
    """

    answers: dict[str, Any] = field(default_factory=_answers)
    token: str = "secret"
    trouble: Callable[[httpx.Request], httpx.Response] | None = None
    posted: list[tuple[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def clients(self) -> Clients:
        """What the dashboard asks it by."""
        return Clients("http://api", httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        if self.trouble is not None:
            return self.trouble(request)
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            return httpx.Response(401, json={"title": "Unauthorized", "detail": "a known bearer token is needed"})
        if request.method == "POST":
            self.posted.append((request.url.path, json.loads(request.content) if request.content else None))
            return httpx.Response(200, json={"version": 2})
        found = self.answers.get(request.url.path)
        if found is None:
            return httpx.Response(404, json={"title": "Not Found", "detail": "there is no such thing"})
        return httpx.Response(200, json=found)
