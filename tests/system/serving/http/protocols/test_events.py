"""A system that forecasts answers events by any protocol as it does by JSON."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from tests.servers import EVENTS, LIVE, Server, event, serving
from tests.system.serving.http.protocols.tensors import outputs

from headrace.serving.http.protocols.tables import ARROW

INFER = "/v2/models/live_metrics/infer"
NAMED = ("id", "key", "as_of", "origin", "model_version")


@pytest.fixture(scope="module")
def live(live_template_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that the tests share: each takes hours of its own."""
    home = Path(shutil.copytree(live_template_home, tmp_path_factory.mktemp("spoken") / "home"))
    with serving(home, systems=(LIVE,)) as server:
        yield server


def tensors(events: list[dict[str, Any]]) -> dict[str, Any]:
    datatypes = {"metric": "BYTES", "time": "BYTES", "value": "FP64"}
    return {
        "inputs": [
            {"name": name, "datatype": kind, "shape": [len(events)], "data": [each[name] for each in events]}
            for name, kind in datatypes.items()
        ]
    }


def flat(predictions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A line a step."""
    return [{name: each[name] for name in NAMED} | step for each in predictions for step in each["predictions"]]


def lines(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    if answer.headers["content-type"] == ARROW.media:
        return pl.read_ipc_stream(io.BytesIO(answer.content)).drop("reason").to_dicts()
    return pl.read_csv(answer.content).drop("reason").to_dicts()


def test_events_are_answered_by_every_protocol(live: Server) -> None:
    events = [event(2, 7.5), event(2, 3.25, "revenue")]
    said = live.post(events, EVENTS)
    predictions = said.json()["predictions"]
    assert live.post({"instances": events}, "/invocations").content == said.content
    found = outputs(live.post(tensors(events), INFER))
    for name in NAMED:
        assert found[name] == [each[name] for each in predictions]
    assert found["value"] == [step["value"] for each in predictions for step in each["predictions"]]
    assert found["time"] == [step["time"] for each in predictions for step in each["predictions"]]
    shapes = {each["name"]: each["shape"] for each in live.post(tensors(events), INFER).json()["outputs"]}
    assert (shapes["id"], shapes["upper"]) == ([2], [2, 3])
    assert {each["name"] for each in live.get("/v2/models/live_metrics").json()["outputs"]} == set(shapes)
    body = pl.DataFrame(events).write_csv().encode()
    assert lines(live.post(body, EVENTS, content_type="text/csv", accept="text/csv")) == flat(predictions)
    file = io.BytesIO()
    pl.DataFrame(events).with_columns(pl.col("time").str.to_datetime(time_zone="UTC")).write_ipc_stream(file)
    answer = live.post(file.getvalue(), EVENTS, content_type=ARROW.media, accept=ARROW.media)
    moments = {"as_of", "origin", "time"}
    assert lines(answer) == [
        {n: datetime.fromisoformat(v).astimezone(UTC) if n in moments else v for n, v in each.items()}
        for each in flat(predictions)
    ]


def test_what_events_are_refused_for(live: Server) -> None:
    early, unknown = event(24 * 365 * 30), event(3, 5.0, "nothing")
    for bad, status in ((early, 409), (unknown, 422), (event(3) | {"value": None}, 422)):
        assert live.post(bad, EVENTS).status_code == status
        assert live.post(tensors([bad]), INFER).status_code == status
        assert live.post({"instances": [bad]}, "/invocations").status_code == status
        body = pl.DataFrame([bad], schema_overrides={"value": pl.Float64}).write_csv().encode()
        assert live.post(body, EVENTS, content_type="text/csv").status_code == status
    text = live.post(b"metric,time,value\norders,2020-03-02T03:00:00Z,much\n", EVENTS, content_type="text/csv")
    assert text.json()["errors"] == [{"loc": ["body", 0, "value"], "msg": "is not a number"}]


def test_a_key_of_its_own_is_a_correction(live: Server) -> None:
    live.post(event(5), EVENTS)
    assert live.post(tensors([event(5, 9.0)]), INFER).status_code == 409
    corrected = live.post(tensors([event(5, 9.0)]), INFER, idempotency_key="spoken")
    again = live.post(json.loads(json.dumps({"instances": [event(5, 9.0)]})), "/invocations", idempotency_key="spoken")
    assert outputs(corrected)["id"] == [each["id"] for each in again.json()["predictions"]]


def test_reading_in_a_table(energy: Server) -> None:
    series = energy.get("/v1/systems/energy/series").json()["series"][0]
    for route, name in (("predictions", "predictions"), ("observations", "observations")):
        path = f"/v1/systems/energy/{route}"
        said = energy.get(path, params=series)
        rows = said.json()[name]
        assert rows
        table = energy.get(path, params=series, headers={"accept": "text/csv"})
        assert table.headers["content-type"].startswith("text/csv")
        assert pl.read_csv(table.content).to_dicts() == rows
        arrow = energy.get(path, params=series, headers={"accept": ARROW.media})
        found = pl.read_ipc_stream(io.BytesIO(arrow.content)).to_dicts()
        assert [each | {"time": each["time"].strftime("%Y-%m-%dT%H:%M:%SZ")} for each in found] == rows
        assert len({each.headers["etag"] for each in (said, table, arrow)}) == 3
        assert said.headers["vary"] == "Accept"
        held = {"accept": "text/csv", "if-none-match": table.headers["etag"]}
        assert energy.get(path, params=series, headers=held).status_code == 304
        assert energy.get(path, params=series, headers={"accept": "image/png"}).status_code == 406
    missing = energy.get("/v1/systems/energy/predictions", params={"area": "x"}, headers={"accept": "text/csv"})
    assert missing.headers["content-type"] == "application/problem+json"
