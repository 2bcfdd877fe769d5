"""MLflow's scoring format says of rows what the hot route says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.servers import Server, passengers

PATH = "/invocations"
ROWS = passengers(40, first=720_000)
NAMES = list(dict.fromkeys(name for row in ROWS for name in row))


def split(rows: list[dict[str, Any]]) -> dict[str, Any]:
    data = [[row.get(name) for name in NAMES] for row in rows]
    return {"columns": NAMES, "index": list(range(len(rows))), "data": data}


WAYS: dict[str, Any] = {
    "dataframe_split": split(ROWS),
    "dataframe_records": ROWS,
    "instances": ROWS,
    "inputs": {name: [row.get(name) for row in ROWS] for name in NAMES},
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_write_rows(titanic: Server, way: str) -> None:
    said = titanic.post(ROWS)
    assert titanic.post({way: WAYS[way]}, PATH).content == said.content
    assert titanic.post({way: WAYS[way]}, "/v1/systems/titanic/invocations").content == said.content


def test_what_pandas_calls_missing(titanic: Server) -> None:
    row = ROWS[0] | {"PassengerId": 721_000, "Age": None}
    said = titanic.post([row]).json()
    nan = json.dumps({"dataframe_split": split([row | {"Age": float("nan"), "Pclass": float(row["Pclass"])}])})
    assert titanic.post(nan.encode(), PATH).json() == said


def test_csv(titanic: Server) -> None:
    head, fields = ",".join(NAMES), [[row.get(name) for name in NAMES] for row in ROWS]
    lines = [",".join("" if each is None else json.dumps(each) for each in row) for row in fields]
    answer = titanic.post("\n".join([head, *lines]).encode(), PATH, content_type="text/csv")
    assert answer.json() == titanic.post(ROWS).json()


def test_keys(titanic: Server) -> None:
    row = ROWS[0] | {"PassengerId": 722_000}
    first = titanic.post({"instances": [row]}, PATH, idempotency_key="invoked-1")
    assert titanic.post({"inputs": [row]}, PATH, idempotency_key="invoked-1").content == first.content
    other = titanic.post({"instances": [row | {"Age": 3.5}]}, PATH, idempotency_key="invoked-1")
    assert (other.status_code, other.json()["error_code"]) == (409, "RESOURCE_CONFLICT")


BAD: list[tuple[str, Any, int]] = [
    ("no JSON", b"{", 400),
    ("an array", ROWS, 400),
    ("nothing", {}, 400),
    ("two ways", {"instances": ROWS, "inputs": ROWS}, 400),
    ("params", {"instances": ROWS, "params": {"top": 3}}, 400),
    ("a number", {"inputs": 5}, 400),
    ("columns of two lengths", {"inputs": {"Age": [1.0], "Fare": []}}, 400),
    ("scalars", {"inputs": {"Age": 1.0}}, 400),
    ("a row of other length", {"dataframe_split": {"columns": ["Age"], "data": [[1, 2]]}}, 400),
    ("a column twice", {"dataframe_split": {"columns": ["Age", "Age"], "data": [[1, 2]]}}, 400),
    ("a name twice", b'{"instances": [{"Age": 1, "Age": 2}]}', 400),
    ("a name twice, and NaN", b'{"instances": [{"Age": NaN, "Age": 2}]}', 400),
    ("tensors without names", {"instances": [[1, 2]]}, 400),
    ("a bad row", {"instances": [ROWS[0], ROWS[1] | {"Pclass": 7}]}, 422),
    ("an unknown name", {"instances": [ROWS[0] | {"Agee": 7}]}, 422),
    ("Infinity", b'{"instances": [{"Age": Infinity}]}', 422),
    ("10,001 rows", {"instances": [{}] * 10_001}, 413),
]


@pytest.mark.parametrize(("body", "status"), [each[1:] for each in BAD], ids=[each[0] for each in BAD])
def test_a_bad_body_is_refused(titanic: Server, body: Any, status: int) -> None:
    answer = titanic.post(body, PATH)
    assert answer.status_code == status, answer.text[:500]
    assert (answer.json()["message"], answer.json()["error_code"]) == (answer.json()["detail"], "BAD_REQUEST")


def test_the_rest_of_the_format(titanic: Server) -> None:
    assert titanic.get("/ping").status_code == 200
    assert titanic.get("/version").text == titanic.get("/v2").json()["version"]
    assert titanic.get(PATH).status_code == 405
    assert titanic.post({"instances": ROWS}, PATH, content_type="text/html").status_code == 415
    assert titanic.post({"instances": ROWS}, "/v1/systems/other/invocations").status_code == 404
