"""The Open Inference Protocol says of rows what the hot route says, and refuses what it cannot read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.servers import PREDICT, Server, passengers, serving
from tests.system.serving.http.protocols.tensors import (
    INFER,
    LENGTH,
    binary,
    columns,
    document,
    outputs,
    post_binary,
    tensor,
    tensors,
)

ROWS = passengers(300, first=700_000)


def test_tensors_are_rows(titanic: Server) -> None:
    said = titanic.post(ROWS).json()["predictions"]
    answer = titanic.post(document(ROWS, id="mine"), INFER)
    found = answer.json()
    assert (found["model_name"], found["model_version"], found["id"]) == ("titanic", "1", "mine")
    shown = [(each["name"], each["datatype"], each["shape"]) for each in found["outputs"]]
    assert shown == [
        ("id", "BYTES", [300]),
        ("key", "INT64", [300]),
        ("Survived", "INT64", [300]),
        ("probability", "FP64", [300]),
        ("model_version", "INT64", [300]),
    ]
    assert outputs(answer) == columns(said)
    assert outputs(post_binary(titanic, ROWS, parameters={"binary_data_output": True})) == columns(said)
    assert outputs(post_binary(titanic, ROWS)) == columns(said)


def test_outputs_come_as_they_are_asked_for(titanic: Server) -> None:
    said = columns(titanic.post(ROWS[:3]).json()["predictions"])
    asked = [{"name": "probability", "parameters": {"binary_data": True}}, {"name": "key"}]
    answer = titanic.post(document(ROWS[:3], outputs=asked), INFER)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert outputs(answer) == {name: said[name] for name in ("probability", "key")}
    nothing = {"name": "nothing"}
    refused = titanic.post(document(ROWS[:3], outputs=[nothing]), INFER)
    assert (refused.status_code, refused.json()["errors"][0]["loc"]) == (400, ["body", "outputs", "nothing"])


@pytest.mark.parametrize(
    "write",
    [
        lambda rows: [{**each, "shape": [len(rows), 1]} for each in tensors(rows)],
        lambda rows: [
            {**each, "shape": [len(rows), 1], "data": [[value] for value in each["data"]]} for each in tensors(rows)
        ],
        lambda rows: [each for each in tensors(rows) if any(value is not None for value in each["data"])],
        lambda rows: [{**each, "parameters": None} for each in tensors(rows)],
        lambda rows: [
            {**each, "datatype": "INT8" if each["name"] in ("Pclass", "SibSp") else each["datatype"]}
            for each in tensors(rows)
        ],
        lambda rows: [*tensors(rows), {"name": "Survived", "datatype": "INT64", "shape": [2], "data": [1, None]}],
    ],
    ids=["n by 1", "lists of lists", "without what is missing", "null parameters", "small numbers", "the outcome"],
)
def test_one_thing_may_be_written_in_several_ways(
    titanic: Server, write: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
) -> None:
    rows = [{name: each.get(name) for name in (*each, "Cabin")} | {"Cabin": None} for each in ROWS[:2]]
    rows = [row | {"PassengerId": 790_000 + place} for place, row in enumerate(rows)]
    said = columns(titanic.post(rows).json()["predictions"])
    assert outputs(titanic.post({"inputs": write(rows)}, INFER)) == said


def test_a_key_stands_for_one_row(titanic: Server) -> None:
    rows = [row | {"PassengerId": 791_000 + place} for place, row in enumerate(ROWS[:2])]
    first = outputs(titanic.post(document(rows), INFER))
    assert outputs(titanic.post(document(rows), INFER)) == first
    other = titanic.post(document([rows[0], rows[1] | {"Age": 77.0}]), INFER)
    assert (other.status_code, other.json()["errors"]) == (
        409,
        [{"loc": ["body", 1], "msg": "another row has this key"}],
    )
    assert other.json()["error"] == other.json()["detail"]
    given = outputs(titanic.post(document(rows), INFER, idempotency_key="tensor-1"))
    assert given["id"] != first["id"]
    assert outputs(post_binary(titanic, rows)) == first
    assert titanic.post(rows, idempotency_key="tensor-1").json()["predictions"][0]["id"] == given["id"][0]


def test_no_rows_have_no_outputs(titanic: Server) -> None:
    assert all(values == [] for values in outputs(titanic.post(document([]), INFER)).values())
    assert len(outputs(post_binary(titanic, []))) == 5


ONE = ROWS[:1]
NAME = tensors(ONE)[4]


def changed(**changes: Any) -> dict[str, Any]:
    """A request in which one tensor is another."""
    return {"inputs": [each | changes if each["name"] == "Age" else each for each in tensors(ONE)]}


BAD: list[tuple[str, Any, int]] = [
    ("no JSON", b"{", 400),
    ("an array", b"[]", 400),
    ("no inputs", {}, 400),
    ("no tensors", {"inputs": []}, 422),
    ("twice", b'{"inputs": [], "inputs": []}', 400),
    ("deep", b"[" * 100_000, 400),
    ("a shape of two columns", changed(shape=[1, 2]), 400),
    ("a negative shape", changed(shape=[-1]), 400),
    ("a shape without rows", changed(shape=[]), 400),
    ("a shape of text", changed(shape=["1"]), 400),
    ("a vast shape", changed(shape=[10**30]), 400),
    ("other rows", changed(shape=[2], data=[1.0, 2.0]), 400),
    ("fewer values than rows", changed(data=[]), 400),
    ("no data", changed(data=None), 400),
    ("text for a number", changed(data=["1"]), 400),
    ("a truth for a number", changed(data=[True]), 400),
    ("a fraction for a whole number", changed(datatype="INT64", data=[1.5]), 400),
    ("beyond its bits", changed(datatype="INT8", data=[128]), 400),
    ("an unknown datatype", changed(datatype="FP8"), 400),
    ("another content type", changed(parameters={"content_type": "base64"}), 400),
    ("shared memory", changed(parameters={"shared_memory_region": "a"}), 400),
    ("bytes that are not there", changed(parameters={"binary_data_size": 8}), 400),
    ("a negative size", changed(parameters={"binary_data_size": -8}), 400),
    ("Infinity", json.dumps(changed(data=[float("inf")])).encode(), 422),
    ("1e999", json.dumps(changed(data=[0])).replace("[0]", "[1e999]", 1).encode(), 400),
    ("an unknown tensor", {"inputs": [*tensors(ONE), NAME | {"name": "Nam"}]}, 422),
    ("a tensor twice", {"inputs": [*tensors(ONE), NAME]}, 422),
    ("a tensor missing", {"inputs": tensors(ONE)[1:]}, 422),
    ("a value missing", {"inputs": [tensor("PassengerId", [None]), *tensors(ONE)[1:]]}, 422),
    ("out of bounds", changed(data=[-1.0]), 422),
    ("beyond 64 bits", {"inputs": [tensor("PassengerId", [2**70]), *tensors(ONE)[1:]]}, 400),
    ("a sequence", document(ONE, parameters={"sequence_id": 5}), 400),
    ("a classification", document(ONE, outputs=[{"name": "probability", "parameters": {"classification": 2}}]), 400),
    ("half a pair", json.dumps(document([ONE[0] | {"Name": "\ud800"}])).encode(), 400),
    ("half a pair and NaN", json.dumps(document([ONE[0] | {"Name": "\ud800", "Age": float("nan")}])).encode(), 422),
    ("10,001 rows", document([{}] * 10_001), 413),
]


@pytest.mark.parametrize(("body", "status"), [each[1:] for each in BAD], ids=[each[0] for each in BAD])
def test_a_bad_request_is_refused(titanic: Server, body: Any, status: int) -> None:
    answer = titanic.post(body, INFER)
    assert answer.status_code == status, answer.text[:500]
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (problem["status"], problem["error"]) == (status, problem["detail"])


def test_bad_bytes_are_refused(titanic: Server) -> None:
    body, length = binary(ONE)
    for sent, told in (
        (body[:-1], str(length)),
        (body + b"x", str(length)),
        (body, str(len(body) + 1)),
        (body, "-1"),
        (body, "one"),
        (body, "9" * 40),
        (body, str(length - 1)),
        (body.replace(b"male", b"mal\xff"), str(length)),
        (body, ""),
    ):
        headers = {LENGTH: told} if told else {}
        assert titanic.post(sent, INFER, content_type="application/octet-stream", **headers).status_code == 400
    assert titanic.post(body, INFER, content_type="text/plain").status_code == 415
    nan = post_binary(titanic, [ONE[0] | {"PassengerId": 792_000, "Age": None}])
    json_null = titanic.post(document([ONE[0] | {"PassengerId": 792_000, "Age": None}]), INFER)
    assert outputs(nan) == outputs(json_null)
    infinite = post_binary(titanic, [ONE[0] | {"Age": float("-inf")}])
    assert (infinite.status_code, infinite.json()["errors"][0]["loc"]) == (422, ["body", 0, "Age"])


def test_the_server_and_its_models_tell_of_themselves(titanic: Server) -> None:
    server = titanic.get("/v2").json()
    assert (server["name"], server["extensions"]) == ("headrace", ["binary_tensor_data", "model_repository"])
    for path in ("health/live", "health/ready", "models/titanic/ready", "models/titanic/versions/1/ready"):
        assert titanic.get(f"/v2/{path}").status_code == 200
    model = titanic.get("/v2/models/titanic").json()
    assert titanic.get("/v2/models/titanic/versions/1").json() == model
    assert {each["name"]: each["datatype"] for each in model["inputs"]} == DATA
    assert [each["name"] for each in model["inputs"] if each.get("parameters")] == ["Age", "Fare", "Cabin", "Embarked"]
    assert (model["versions"], model["outputs"][3]) == (
        ["1"],
        {"name": "probability", "datatype": "FP64", "shape": [-1]},
    )
    index = titanic.post({}, "/v2/repository/index").json()
    assert index == [{"name": "titanic", "version": "1", "state": "READY", "reason": ""}]
    for path in ("models/other", "models/titanic/versions/2", "models/other/ready", "nothing"):
        missing = titanic.get(f"/v2/{path}")
        assert (missing.status_code, missing.json()["error"]) == (404, missing.json()["detail"])
    for path in ("/v2/models/other/infer", "/v2/models/titanic/versions/2/infer"):
        assert titanic.post(document(ONE), path).status_code == 404
    assert titanic.get(INFER).status_code == 405
    assert outputs(titanic.post(document(ONE), "/v2/models/titanic/versions/1/infer"))["key"] == [700_000]


DATA = {each["name"]: each["datatype"] for each in tensors(ONE)}


def test_requests_are_counted_by_their_route(titanic: Server) -> None:
    titanic.post(document(ONE), INFER, x_request_id="counted-v2")
    assert titanic.line("counted-v2")["url.path"] == INFER
    text = titanic.get("/metrics").text
    assert 'headrace_http_requests_total{method="POST",route="/v2/models/{system}/infer",status="200"}' in text
    assert PREDICT not in text


def test_tokens_and_unreadiness(home: Path, tmp_path: Path) -> None:
    tokens = {"reader": ["*:read"], "shop": ["titanic:predict"], "other": ["energy:predict"]}
    with serving(home, HEADRACE_TOKENS=json.dumps(tokens)) as server:

        def status(path: str, token: str | None, body: Any = None) -> int:
            given = {} if token is None else {"authorization": f"Bearer {token}"}
            if body is None:
                return server.get(path, headers=given).status_code
            return server.post(body, path, **given).status_code

        invocation = {"instances": ONE}
        for path, body in ((INFER, document(ONE)), ("/invocations", invocation)):
            assert [status(path, each, body) for each in (None, "wrong", "other", "shop")] == [401, 401, 403, 200]
        for path in ("/v2/models/titanic", "/v2/models/titanic/ready"):
            assert [status(path, each) for each in (None, "shop", "reader")] == [401, 403, 200]
        assert [status("/v2/repository/index", each, {}) for each in (None, "reader")] == [401, 200]
        assert [status(path, None) for path in ("/v2", "/v2/health/live", "/v2/health/ready", "/ping")] == [200] * 4
        assert server.post({}, "/v2/repository/index", authorization="Bearer shop").json() == []
    empty = tmp_path / "empty"
    empty.mkdir()
    with serving(empty, ready=False, HEADRACE_TOKENS=json.dumps(tokens)) as server:
        for path in ("/v2/health/ready", "/ping"):
            waiting = server.get(path)
            assert waiting.status_code == 503
            assert "errors" not in waiting.json()
            assert server.get(path, headers={"authorization": "Bearer reader"}).json()["errors"]
        reader = {"authorization": "Bearer reader"}
        assert server.get("/v2/models/titanic/ready", headers=reader).status_code == 503
        assert server.post({}, "/v2/repository/index", **reader).json()[0]["state"] == "UNAVAILABLE"
