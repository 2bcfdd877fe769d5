"""Several versions of a model at the door: each answers what asks for it, and a key is one prediction."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.commands import headrace
from tests.servers import PREDICT, TITANIC, Server, passengers, ran, serving
from tests.system.serving.http.protocols.tensors import document, outputs

ROWS = passengers(60, first=900_000)
SECOND = PREDICT + "?version=2"


@pytest.fixture(scope="module")
def home(titanic_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of version 1, the champion, and version 2."""
    home = Path(shutil.copytree(titanic_home, tmp_path_factory.mktemp("versions") / "home"))
    ran("train", TITANIC, home, "--set", "model.calibrate=false")
    ran("promote", TITANIC, home, "1")
    return home


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Server]:
    with serving(home) as server:
        yield server


def test_a_version_answers_when_it_is_asked_for(server: Server) -> None:
    row, other = ROWS[0], ROWS[1]
    said = server.post(row, SECOND)
    assert said.status_code == 200, said.text
    assert said.json()["model_version"] == 2
    assert server.post(row, SECOND).content == said.content
    trace = server.get(f"/v1/predictions/{said.json()['id']}").json()
    assert (trace["pins"]["model_version"], trace["role"]) == (2, "answered")
    many = server.post(ROWS[2:12], SECOND).json()
    assert many["model_version"] == 2
    assert {each["model_version"] for each in many["predictions"]} == {2}
    first, second = server.post(other), server.post(other, SECOND, idempotency_key="beside")
    assert first.json()["model_version"] == 1
    assert first.json()["probability"] != second.json()["probability"]


def test_a_key_is_one_prediction_whatever_the_version(server: Server) -> None:
    row = ROWS[20]
    first = server.post(row)
    taken = server.post(row, SECOND)
    assert taken.status_code == 409
    assert taken.json()["errors"] == [{"loc": ["body"], "msg": "version 1 has answered this key"}]
    assert server.post(row, PREDICT + "?version=1").content == first.content
    # Nothing of a body is kept that has one such row.
    mixed = server.post([ROWS[21], row], SECOND)
    assert mixed.status_code == 409
    assert mixed.json()["errors"] == [{"loc": ["body", 1], "msg": "version 1 has answered this key"}]
    assert server.post(ROWS[21]).json()["model_version"] == 1
    # Who asks for no version has what stands.
    kept = server.post(ROWS[22], SECOND)
    assert server.post(ROWS[22]).content == kept.content
    assert server.post(ROWS[22] | {"Age": 3}, SECOND).json()["errors"][0]["msg"] == "another row has this key"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        *[("version=9", 404), ("version=0", 422), ("version=-1", 422), ("version=x", 422), ("version=", 422)],
        *[("version=2&version=2", 422), ("version=2&b=1", 422), ("version=" + "9" * 40, 422), ("version=1", 200)],
    ],
)
def test_what_is_no_version_is_refused(server: Server, query: str, status: int) -> None:
    said = server.post(ROWS[30], f"{PREDICT}?{query}")
    assert said.status_code == status, said.text
    if status == 404:
        assert "there are: 1, 2" in said.json()["detail"]


def test_other_protocols_ask_for_versions_too(server: Server) -> None:

    body = document([ROWS[40]])
    said = server.post(body, "/v2/models/titanic/versions/2/infer")
    assert said.status_code == 200, said.text
    assert said.json()["model_version"] == "2"
    assert outputs(said)["model_version"] == [2]
    assert server.post(body, "/v2/models/titanic/versions/1/infer").status_code == 409
    assert server.post(body, "/v2/models/titanic/versions/7/infer").status_code == 404
    assert server.post(body, "/v2/models/titanic/versions/x/infer").status_code == 404
    assert server.get("/v2/models/titanic/versions/2").status_code == 200
    assert server.get("/v2/models/titanic/versions/2/ready").json()["ready"]
    assert server.get("/v2/models/titanic/versions/7").status_code == 404
    assert server.get("/v2/models/titanic").json()["versions"] == ["1", "2"]


def test_a_canary_answers_a_share_of_the_keys(home: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(home, tmp_path / "home"))
    rows = passengers(400, first=920_000)
    with serving(home, "--canary", "2=25%", "--workers", "2") as server:
        alone = [server.post(row).json() for row in rows[:60]]
        many = server.post(rows).json()["predictions"]
        assert many[:60] == alone
        assert server.get("/v1/systems/titanic").json()["canary"] == {"model_version": 2, "share": 0.25}
        counts = [line for line in server.get("/metrics").text.splitlines() if "headrace_predictions_total{" in line]
        assert any('model_version="2"' in line for line in counts)
        by = {each["key"]: each["model_version"] for each in many}
        taken = [each for each in many if each["model_version"] == 2]
        assert 60 < len(taken) < 140
        roles = [server.get(f"/v1/predictions/{each['id']}").json()["role"] for each in (taken[0], many[0])]
        assert roles == ["canary", "answered"] if many[0]["model_version"] == 1 else ["canary", "canary"]
        # Who asks for a version has it, whatever the share says.
        others = [row | {"PassengerId": row["PassengerId"] + 500} for row in rows[:60]]
        asked = server.post(others, PREDICT + "?version=1")
        assert {each["model_version"] for each in asked.json()["predictions"]} == {1}
    # A larger share has all keys of a smaller one; what was answered stands.
    fresh = Path(shutil.copytree(home, tmp_path / "fresh"))
    for name in ("ledger.db", "ledger.db-wal", "ledger.db-shm"):
        (fresh / name).unlink(missing_ok=True)
    with serving(fresh, "--canary", "titanic=2=0.5") as server:
        larger = {each["key"]: each["model_version"] for each in server.post(rows).json()["predictions"]}
        assert all(larger[key] == 2 for key, version in by.items() if version == 2)
        assert sum(version == 2 for version in larger.values()) > len(taken)
    ran("promote", TITANIC, home, "2")
    with serving(home, "--canary", "2=25%") as server:
        said = server.post(rows[0] | {"PassengerId": 990_000}).json()
        assert said["model_version"] == 2
        assert server.get(f"/v1/predictions/{said['id']}").json()["role"] == "answered"
        assert server.post(rows).json()["predictions"] == many
    ran("export", TITANIC, home)
    exported = headrace("trace", taken[0]["id"], "--home", home, "--json")
    assert '"role": "canary"' in exported.out
    replayed = headrace("replay", taken[0]["id"], "--home", home, "--json")
    assert '"identical": true' in replayed.out


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (("--canary", "9=0.5"), "there is no model version 9"),
        (("--canary", "2"), "is not VERSION=SHARE"),
        (("--canary", "2=2"), "is no share from 0 to 1"),
        (("--canary", "2=nan"), "is no share from 0 to 1"),
        (("--canary", "x=0.1"), "is not the number of a version"),
        (("--canary", "2=0.1,1=0.1"), "has two canaries"),
        (("--canary", "other=2=0.1"), "is not served here"),
        (("--shadow", "9"), "there is no model version 9"),
        (("--shadow", "2", "--unlogged"), "nothing is logged"),
        (("--shadow", "titanic=x"), "is not the number of a version"),
    ],
)
def test_versions_that_cannot_be_had_are_refused_at_the_start(home: Path, option: tuple[str, ...], said: str) -> None:
    done = headrace("serve", TITANIC, "--home", home, "--port", "1", *option)
    assert done.code in (1, 2)
    assert said in done.err
