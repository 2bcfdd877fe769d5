"""JSON Schemas of what the browsing routes answer: components of the OpenAPI document beside those of `schemas`."""

from __future__ import annotations

from collections.abc import Mapping

from headrace.tasks.schemas import ANYTHING, NUMBER, TEXT, TIME, WHOLE, Schema, maybe, record, rows

_TRUE: Schema = {"type": "boolean"}
_NEXT = maybe({"type": "string", "description": "`cursor` of the next page; null at the end."})
_STATE: Schema = {"enum": ["good", "warning", "bad", "unknown"]}
_LIST: Schema = rows({})


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


VERSION: Mapping[str, Schema] = {
    "version": WHOLE,
    "state": {"enum": ["champion", "challenger", "pending", "rejected", "archived"]},
    "as_of": TIME,
    "created_at": TIME,
    "metrics": ANYTHING,
    "cost": ANYTHING,
    "because": maybe(TEXT),
    "reason": maybe(TEXT),
    "decided_by": maybe(TEXT),
    "decided_at": maybe(TIME),
    "decision": maybe(TEXT),
}
"""What is told of a version."""
RUN: Mapping[str, Schema] = {
    "run_id": TEXT,
    "as_of": TIME,
    "created_at": TIME,
    "ended_at": maybe(TIME),
    "status": {"enum": ["done", "failed"]},
    "error": maybe(TEXT),
    "model_version": maybe(WHOLE),
    "data_version": maybe(WHOLE),
    "predictions": maybe(WHOLE),
}
"""What is told of a run."""
ALERT: Mapping[str, Schema] = {
    "id": TEXT,
    "severity": {"enum": ["warning", "alarm"]},
    "rule": TEXT,
    "scope": ANYTHING,
    "value": maybe(NUMBER),
    "threshold": maybe(NUMBER),
    "raised_at": TIME,
    "alarm_at": maybe(TIME),
    "closed_at": maybe(TIME),
    "last": maybe(NUMBER),
    "support": WHOLE,
    "evidence": ANYTHING,
    "actions": rows(ANYTHING),
    "says": TEXT,
}
"""What is told of an alert."""
SIMULATION: Mapping[str, Schema] = {
    "id": TEXT,
    "system": TEXT,
    "by": TEXT,
    "state": {"enum": ["queued", "running", "done", "failed", "cancelled"]},
    "created_at": TIME,
    "started_at": maybe(TIME),
    "ended_at": maybe(TIME),
    "reason": maybe({"type": "string", "description": "Why it failed, or who cancelled it."}),
    "start": TIME,
    "end": TIME,
    "every": TEXT,
    "policies": ANYTHING,
    "beside": rows(TEXT),
    "names": rows({"type": "string", "description": "Of a policy, in the order in which they are tried."}),
    "runs": WHOLE,
    "progress": record(stage=TEXT, count=WHOLE, total=WHOLE),
}
"""What is told of a simulation."""
_SKILL = maybe(
    {"type": "number", "description": "0.12 is 12 % better than the baseline on the same pairs; below 0 is worse."}
)
_AGAINST: Mapping[str, Schema] = {
    "value": maybe(NUMBER),
    "baseline": maybe(TEXT),
    "baseline_value": maybe(NUMBER),
    "skill": _SKILL,
}

READ_PARTS: dict[str, Schema] = {
    "Access": record(
        open={"type": "boolean", "description": "No token is asked for; then nothing can be changed."},
        name=maybe(TEXT),
        systems={
            "type": "object",
            "additionalProperties": rows({"enum": ["read", "predict", "decide", "write"]}),
        },
    ),
    "Quality": record(
        measure=TEXT,
        **_AGAINST,
        n=WHOLE,
        expected=WHOLE,
        since=maybe(TIME),
        until=maybe(TIME),
        coverage=maybe(NUMBER),
        nominal=maybe(NUMBER),
        says=TEXT,
    ),
    "Freshness": record(
        newest=TIME,
        known_at=TIME,
        age_seconds=WHOLE,
        series=maybe(WHOLE),
        stale_series=WHOLE,
        says=TEXT,
    )
    | {"description": "How new the facts are; a series is stale when it lags more than three steps behind the newest."},
    "Status": record(
        system=TEXT,
        kind=TEXT,
        state=_STATE,
        says=TEXT,
        reasons=rows(record(state=_STATE, says=TEXT)),
        champion=maybe(record(version=WHOLE, since=maybe(TIME), because=maybe(TEXT))),
        pending=rows(WHOLE),
        quality=maybe(_ref("Quality")),
        freshness=maybe(_ref("Freshness")),
        last_run=maybe(_ref("Run")),
        next_run=maybe(record(at=TIME, late_seconds=WHOLE, every_seconds={"type": "number"})),
        alerts=maybe(record(open=WHOLE, alarms=WHOLE, warnings=WHOLE, newest=maybe(_ref("Alert")))),
    )
    | {"description": "How a system is, in words; `state` is the worst of its `reasons`."},
    "Overview": record(state=_STATE, says=TEXT, counts=ANYTHING, systems=rows(_ref("Status"))),
    "Scores": record(
        by=TEXT,
        columns=rows(TEXT),
        measure=maybe(TEXT),
        measures=rows(TEXT),
        baselines=rows(TEXT),
        nominal=maybe(NUMBER),
        unit=TEXT,
        overall=maybe(ANYTHING),
        rows=rows(
            record(("expected",), n=WHOLE, expected=WHOLE, baseline=maybe(TEXT), skill=_SKILL)
            | {"description": "The `columns`, `measures`, and those of each baseline as `NAME_measure`."}
        ),
        next=_NEXT,
    ),
    "SeriesFound": record(
        measure=maybe(TEXT),
        total=WHOLE,
        stale=WHOLE,
        rows=rows(
            record(
                keys={"type": "object", "additionalProperties": TEXT},
                newest=maybe(TIME),
                stale=_TRUE,
                **_AGAINST,
                n=maybe(WHOLE),
                expected=maybe(WHOLE),
                coverage=maybe(NUMBER),
                bias=maybe(NUMBER),
            )
        ),
        next=_NEXT,
    ),
    "Answers": record(
        rows=rows(record(id=TEXT, created_at=TIME, as_of=TIME, model_version=maybe(WHOLE))),
        next=_NEXT,
    ),
    "Run": record(**RUN),
    "Runs": record(runs=rows(_ref("Run")), next=_NEXT),
    "RunDetail": record(
        ("ingested", "quarantined", "trained", "metrics", "warnings", "pins", "findings", "served", "resources"),
        system=TEXT,
        **RUN,
        seconds=maybe(NUMBER),
        steps=rows(record(name=TEXT, seconds={"type": "number"}, rows=maybe(WHOLE))),
        failure=maybe(
            record(
                error=TEXT,
                message=TEXT,
                where=maybe(TEXT),
                hint=maybe(TEXT),
                raised_when=maybe(TEXT),
                what_to_do=maybe(TEXT),
                docs=maybe(TEXT),
            )
        ),
        ingested=maybe(WHOLE),
        quarantined=maybe(WHOLE),
        trained={},
        metrics=ANYTHING,
        warnings=rows(TEXT),
        pins=maybe(ANYTHING),
        findings=rows(ANYTHING),
        served=maybe(ANYTHING),
        resources=maybe(ANYTHING),
    ),
    "Alert": record(**ALERT),
    "Alerts": record(alerts=rows(_ref("Alert")), next=_NEXT),
    "Why": record(
        links=rows(record(time=TIME, event=TEXT, text=TEXT, alert=maybe(TEXT), version=maybe(WHOLE))), next=_NEXT
    ),
    "ModelVersion": record(**VERSION),
    "ModelVersions": record(
        models=rows(record(("importance",), **VERSION, rank=maybe(WHOLE), importance=maybe(ANYTHING))),
        measure=maybe(TEXT),
        ranking=rows(WHOLE),
    ),
    "ModelDetail": record(
        **VERSION,
        digest=TEXT,
        pins=ANYTHING,
        params=ANYTHING,
        evidence=maybe(ANYTHING),
        history=rows(record(at=TIME, event=TEXT, by=maybe(TEXT), reason=maybe(TEXT))),
        importance=maybe(ANYTHING),
    ),
    "ModelCard": record(version=WHOLE, title=TEXT, subtitle=TEXT, markdown=TEXT, learning_curve=maybe(ANYTHING)),
    "Comparison": record(
        system=TEXT,
        versions=rows(WHOLE),
        pairs=WHOLE,
        rows=WHOLE,
        metrics=ANYTHING,
        baselines=ANYTHING,
        measure=maybe(TEXT),
        differences=ANYTHING,
        winner=maybe(WHOLE),
        line=TEXT,
        answers=ANYTHING,
        costs=ANYTHING,
    ),
    "TraceGraph": record(
        id=TEXT,
        system=TEXT,
        role=TEXT,
        nodes=rows(record(id=TEXT, kind=TEXT, title=TEXT, says=TEXT, facts=ANYTHING)),
        edges=rows(record(source=TEXT, target=TEXT, says=TEXT)),
    )
    | {"description": "What a prediction was made from; an edge leads to what was made of its source."},
    "Replay": record(id=TEXT, stored={}, replayed={}, identical=_TRUE),
    "Released": record(
        system=TEXT,
        as_of=TIME,
        **dict.fromkeys(("read", "released", "repeated", "superseded", "pending", "kept"), WHOLE),
        reasons={"type": "object", "additionalProperties": WHOLE},
        version=WHOLE,
    )
    | {"description": "What became of rows that were to be released: `read` is the sum of all others."},
    "Findings": record(
        ok=_TRUE,
        findings=rows(record(what=TEXT, status={"enum": ["ok", "absent", "warning", "failed"]}, said=TEXT)),
    ),
    "Verified": record(
        ok=_TRUE,
        tables=rows(
            record(
                ("system", "hint", "restored"),
                system=TEXT,
                name=TEXT,
                rows=maybe(WHOLE),
                ok=_TRUE,
                problems=rows(TEXT),
                restored=_LIST,
                hint=TEXT,
            )
        ),
    ),
    "StreamState": record(
        reachable=_TRUE,
        says=TEXT,
        lag=WHOLE,
        partitions=rows(record(**dict.fromkeys(("partition", "first", "end", "committed", "lag"), WHOLE))),
        findings=rows(record(what=TEXT, status=TEXT, said=TEXT)),
    ),
    "DeadLetters": record(
        rows=rows(
            record(
                partition=WHOLE,
                offset=WHOLE,
                at=TIME,
                reason=TEXT,
                source=TEXT,
                key=maybe(TEXT),
                bytes=maybe(WHOLE),
                value=maybe(TEXT),
            )
        ),
        kinds=rows(record(count=WHOLE, reason=TEXT, newest=TIME)),
        next=_NEXT,
    ),
    "SimulationAsked": record(
        ("policies", "beside"),
        start=TIME,
        end=TIME,
        every={"type": "string", "description": "From one run to the next, such as `12h`.", "examples": ["12h"]},
        policies={
            "type": "object",
            "description": "What each policy says by its name, as `config.yaml` does: `schedule`, `monitoring`. "
            "None: the declared one.",
            "additionalProperties": ANYTHING,
            "examples": [{"often": {"schedule": {"train": "1d"}}}],
        },
        beside=rows({"type": "string", "description": "A calendar to hold against them: `never`, `7d`."})
        | {"examples": [["never"]]},
    ),
    "SimulationBrief": record(**SIMULATION),
    "Simulations": record(simulations=rows(_ref("SimulationBrief")), next=_NEXT),
    "Simulation": record(
        **SIMULATION,
        result=maybe(
            rows(
                record(
                    system=TEXT,
                    policy=TEXT,
                    runs=WHOLE,
                    **dict.fromkeys(("retrainings", "retunings"), WHOLE),
                    alerts=rows(ANYTHING),
                    promotions=rows(ANYTHING),
                    metrics=ANYTHING,
                    baselines=ANYTHING,
                    cpu_seconds=NUMBER,
                )
            )
            | {"description": "A document for each policy, as of `headrace simulate --json`; null until it is done."}
        ),
    ),
    "Resent": record(resent=WHOLE, expired=WHOLE, kept=WHOLE),
    "AuditTrail": record(
        entries=rows(
            record(
                id=WHOLE,
                at=TIME,
                by=TEXT,
                action=TEXT,
                system=TEXT,
                target=maybe(TEXT),
                details=ANYTHING,
                outcome=TEXT,
                request_id=TEXT,
            )
        ),
        next=_NEXT,
    ),
}
