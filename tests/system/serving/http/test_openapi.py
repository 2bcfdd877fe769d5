"""The OpenAPI document is right: whatever it allows is answered as it says, whatever it does not is refused."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.servers import ENERGY, PREDICT, TITANIC, Server, serving

from headrace.serving.http.docs import page
from headrace.serving.http.openapi_names import prefixes


@pytest.fixture(scope="module")
def both(titanic_home: Path, energy_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Both systems from one home."""
    home = Path(shutil.copytree(titanic_home, tmp_path_factory.mktemp("both") / "home"))
    for part in ("store/energy", "models"):
        shutil.copytree(energy_home / part, home / part, dirs_exist_ok=True)
    with serving(home, systems=(TITANIC, ENERGY)) as server:
        yield server


ROUTES = (
    *("models", "models/{version}", "models/{version}/card", "models/{version}/promote", "models/{version}/reject"),
    *("rollback", "quarantine/release", "verify", "stream", "dead-letters", "dead-letters/resend"),
    *("comparison", "runs", "runs/{run_id}", "alerts", "why", "status", "scores", "answers"),
    *("drift", "quarantine", "validation", "simulations", "simulations/{simulation_id}"),
)


def test_schemathesis_finds_nothing(both: Server, tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("schemathesis")
    if not program.exists():
        pytest.skip("needs schemathesis, which is in the group dev")
    # What other protocols take no schema says whole; `protocols.fuzzing` makes bodies for them.
    config = tmp_path / "schemathesis.toml"
    # Who may change nothing is refused before the body is read.
    refused = "[checks.negative_data_rejection]\nexpected-statuses = [400, 403, 404, 406, 409, 413, 415, 422]\n"
    # Rows that are explained with their answer fill a smaller body than rows that are only answered.
    accepted = (
        '[checks.positive_data_acceptance]\nexpected-statuses = ["2xx", "3xx", 401, 403, 404, 409, 413, 429, "5xx"]\n'
    )
    config.write_text(refused + accepted)
    # Those of an installation as a whole take seconds each; the conformance suite of the client asks them.
    others = ["--exclude-path-regex", "/(infer|invocations|doctor|verify|stream|dead-letters)$"]
    options = ["--checks", "all", "--phases", "examples,coverage,fuzzing", "--max-examples", "12", "--no-color"]
    done = subprocess.run(
        [
            program,
            f"--config-file={config}",
            "run",
            f"{both.url}/openapi.json",
            *others,
            *options,
            "--generation-deterministic",
            "--continue-on-failure",
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "Operations:       78 selected / 89 total" in done.stdout
    assert [line for line in both.lines() if line["log.level"] == "error"] == []


def test_every_route_is_described_with_its_answers(both: Server) -> None:
    document = both.get("/openapi.json").json()
    paths = document["paths"]
    assert {path for path in paths if path.startswith("/v1/systems/energy")} == {
        f"/v1/systems/energy/{route}"
        for route in (
            *("series", "series/search", "observations", "predictions", "metrics"),
            *("predict", "explain", "invocations", *ROUTES),
        )
    }
    assert {path for path in paths if path.startswith("/v1/systems/titanic")} == {
        PREDICT,
        *(f"/v1/systems/titanic/{route}" for route in (*ROUTES, "metrics", "explain", "invocations")),
    }
    for path, item in paths.items():
        for operation in item.values():
            for status, answer in operation["responses"].items():
                kinds = answer.get("content", {})
                assert all(kind["schema"] for kind in kinds.values()), (path, status)
                assert int(status) < 400 or list(kinds) == ["application/problem+json"], (path, status)
    one, several = paths[PREDICT]["post"]["requestBody"]["content"]["application/json"]["schema"]["anyOf"]
    assert several == {"type": "array", "items": one, "maxItems": 10_000}
    assert one == {"$ref": "#/components/schemas/TitanicRow"}
    row = document["components"]["schemas"]["TitanicRow"]
    assert row["properties"]["Pclass"] == {"type": "integer", "enum": [1, 2, 3]}
    assert row["properties"]["PassengerId"] == {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}
    assert (row["additionalProperties"], "Survived" in row["required"]) == (False, False)
    assert both.get("/openapi.json").json() == document


def test_names_are_for_generated_clients(both: Server) -> None:
    document = both.get("/openapi.json").json()
    parts, paths = document["components"]["schemas"], document["paths"]
    named = {"Row", "Prediction", "Predictions"}, {"Event", "Forecast", "Forecasts"}
    for system, names in zip(("Titanic", "Energy"), named, strict=True):
        assert {part.removeprefix(system) for part in parts if part.startswith(system)} == names
    operations = [operation for item in paths.values() for operation in item.values()]
    ids = [each["operationId"] for each in operations]
    assert len(set(ids)) == len(ids)
    assert {"get_health", "get_system", "get_prediction", "get_v2_model_version_ready", "predict_titanic"} <= set(ids)
    tags = {each["name"] for each in document["tags"]}
    assert all(set(each["tags"]) <= tags for each in operations)
    assert tags == {"server", "systems", "inference", "mlflow", "titanic", "energy"}
    assert document["servers"]
    row = paths[PREDICT]["post"]["requestBody"]["content"]["application/json"]["examples"]["one"]["value"]
    assert both.post(row | {"PassengerId": 2**41}).status_code == 200
    references = {each["$ref"] for each in found(document, "$ref")}
    assert references <= {f"#/components/schemas/{name}" for name in parts}
    assert all("enum" not in each for each in found(document, "minimum"))


def found(node: Any, name: str) -> Iterator[dict[str, Any]]:
    """Every object in a document that has a name."""
    if isinstance(node, dict):
        if name in node and not isinstance(node[name], dict):
            yield node
        for each in node.values():
            yield from found(each, name)
    elif isinstance(node, list):
        for each in node:
            yield from found(each, name)


def test_systems_of_like_names_have_components_apart() -> None:
    assert prefixes(("live_metrics", "live-metrics", "inference"), {"InferenceModel": {}}) == {
        "live_metrics": "LiveMetrics",
        "live-metrics": "LiveMetrics2",
        "inference": "Inference2",
    }


def test_the_page_for_people_needs_nothing_from_elsewhere(both: Server) -> None:
    answer = both.get("/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    text, paths = answer.text, both.get("/openapi.json").json()["paths"]
    assert all(f"<code>{path}</code>" in text for path in paths)
    assert "<script" not in text
    links = {link for link in re.findall(r"(?:href|src)=[\"']?([^\"'> ]+)", text) if link[0] != "#"}
    assert links == {"data:,", "openapi.json"}  # a proxy may have taken something off the path
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    for path in ("/docs", "/v1/systems", "/v1/x"):
        assert both.get(path).headers["x-content-type-options"] == "nosniff"
    example = html.unescape(text).split(f"curl '{both.url}{PREDICT}'")[1].split("</pre>")[0]
    row = json.loads(example.partition("-d '")[2].rstrip("'"))
    assert both.post(row | {"PassengerId": 2**40}).status_code == 200  # others may have posted the example's key
    hostile = page({"info": {"title": "<script>", "version": "1"}, "paths": {"/<b>": {"get": {"responses": {}}}}}, "h")
    assert "<script" not in hostile
    assert "<b>" not in hostile
