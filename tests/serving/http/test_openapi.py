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

import pytest
from tests.serving.http.helpers import ENERGY, PREDICT, TITANIC, Server, serving

from headrace.serving.http.docs import page


@pytest.fixture(scope="module")
def both(titanic_home: Path, energy_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Both systems from one home."""
    home = Path(shutil.copytree(titanic_home, tmp_path_factory.mktemp("both") / "home"))
    for part in ("store/energy", "models"):
        shutil.copytree(energy_home / part, home / part, dirs_exist_ok=True)
    with serving(home, systems=(TITANIC, ENERGY)) as server:
        yield server


def test_schemathesis_finds_nothing(both: Server, tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("schemathesis")
    if not program.exists():
        pytest.skip("needs schemathesis, which is in the group dev")
    options = ["--checks", "all", "--phases", "examples,coverage,fuzzing", "--max-examples", "30", "--no-color"]
    done = subprocess.run(
        [program, "run", f"{both.url}/openapi.json", *options, "--generation-deterministic", "--continue-on-failure"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "Operations:       27 selected / 27 total" in done.stdout
    assert [line["message"] for line in both.lines() if line["log.level"] == "error"] == []


def test_every_route_is_described_with_its_answers(both: Server) -> None:
    document = both.get("/openapi.json").json()
    paths = document["paths"]
    assert {path for path in paths if "energy" in path} == {
        f"/v1/systems/energy/{route}"
        for route in ("series", "observations", "predictions", "metrics", "runs", "alerts", "predict")
    }
    assert {path for path in paths if "titanic" in path} == {
        PREDICT,
        *(f"/v1/systems/titanic/{route}" for route in ("metrics", "runs", "alerts")),
    }
    for path, item in paths.items():
        for operation in item.values():
            for status, answer in operation["responses"].items():
                kinds = answer.get("content", {})
                assert all(kind["schema"] for kind in kinds.values()), (path, status)
                assert int(status) < 400 or list(kinds) == ["application/problem+json"], (path, status)
    row = paths[PREDICT]["post"]["requestBody"]["content"]["application/json"]["schema"]["anyOf"][0]
    assert row["properties"]["PassengerId"] == {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}
    assert (row["additionalProperties"], "Survived" in row["required"]) == (False, False)
    assert both.get("/openapi.json").json() == document


def test_the_page_for_people_needs_nothing_from_elsewhere(both: Server) -> None:
    answer = both.get("/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    text, paths = answer.text, both.get("/openapi.json").json()["paths"]
    assert all(f"<code>{path}</code>" in text for path in paths)
    assert "<script" not in text
    assert {link for link in re.findall(r"(?:href|src)=[\"']?([^\"'> ]+)", text) if link[0] not in "#/"} == {"data:,"}
    example = html.unescape(text).split(f"curl '{both.url}{PREDICT}'")[1].split("</pre>")[0]
    row = json.loads(example.partition("-d '")[2].rstrip("'"))
    assert both.post(row | {"PassengerId": 2**40}).status_code == 200  # others may have posted the example's key
    hostile = page({"info": {"title": "<script>", "version": "1"}, "paths": {"/<b>": {"get": {"responses": {}}}}}, "h")
    assert "<script" not in hostile
    assert "<b>" not in hostile
