"""The hot route: predictions once, in order, and equal to what the other doors say."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests import kafka
from tests.commands import headrace
from tests.servers import PREDICT, SMALL, TITANIC, Server, endless_passengers, passengers, ran, serving
from tests.waiting import until

from headrace.home import Home
from headrace.settings import Settings
from headrace.tasks.rows.predictor import RowPredictor

ROWS = passengers(400)
GAPS = ("Age", "Fare", "Cabin", "Embarked")


def home_of(server: Server) -> Home:
    return Home(Settings(home=server.log.parent))


def logged(server: Server) -> int:
    return len(home_of(server).ledger.read("titanic", limit=1_000_000))


def test_one_row_has_one_prediction(titanic: Server) -> None:
    row = {"PassengerId": 1, "Pclass": 3, "Name": "Ek, Mr. Bo", "Sex": "male", "SibSp": 0, "Parch": 0, "Ticket": "7"}
    before = logged(titanic)
    first = titanic.post(row)
    assert first.status_code == 200
    said = first.json()
    assert list(said) == ["id", "key", "Survived", "probability", "model_version"]
    assert (said["key"], said["Survived"], said["model_version"]) == (1, 0, 1)
    assert 0 < said["probability"] < 0.5
    assert titanic.post(row).content == first.content
    # Null is missing, and 3.0 is 3: it is the same row.
    assert titanic.post(row | {"Pclass": 3.0, "Age": None, "Embarked": " "}).content == first.content
    assert logged(titanic) == before + 1


def test_a_key_stands_for_one_row(titanic: Server) -> None:
    row = ROWS[0]
    first = titanic.post(row).json()
    taken = titanic.post(row | {"Age": 71.5})
    assert taken.status_code == 409
    assert taken.headers["content-type"] == "application/problem+json"
    assert taken.json()["errors"] == [{"loc": ["body"], "msg": "another row has this key"}]
    assert titanic.post(row).json() == first


def test_the_header_is_a_key_too(titanic: Server) -> None:
    one, other = ROWS[1], ROWS[2]
    first = titanic.post(one, idempotency_key="order-1")
    assert titanic.post(one, idempotency_key="order-1").content == first.content
    assert titanic.post(other, idempotency_key="order-1").status_code == 409
    assert titanic.post(one).json()["id"] != first.json()["id"]
    several = titanic.post([one, other], idempotency_key="batch")
    assert titanic.post([one, other], idempotency_key="batch").content == several.content
    turned = titanic.post([other, one], idempotency_key="batch")
    assert [error["loc"] for error in turned.json()["errors"]] == [["body", 0], ["body", 1]]
    # The second place of an array is no key that a header could name.
    assert titanic.post(other | {"Age": 3}, idempotency_key="batch/1").status_code == 200
    for bad in ("", "two words", "ä".encode(), "x" * 256):
        refused = titanic.post(one, idempotency_key=bad)
        assert (refused.status_code, refused.json()["errors"][0]["loc"]) == (400, ["header", "idempotency-key"])


def test_an_array_with_one_conflict_stores_nothing(titanic: Server) -> None:
    titanic.post(ROWS[10])
    before = logged(titanic)
    refused = titanic.post([ROWS[11], ROWS[10] | {"Age": 1.5}, ROWS[12]])
    assert (refused.status_code, refused.json()["errors"][0]["loc"]) == (409, ["body", 1])
    alone = titanic.post([ROWS[10] | {"Age": 1.5}])
    assert (alone.status_code, alone.json()["errors"][0]["loc"]) == (409, ["body", 0])
    within = titanic.post([ROWS[11], ROWS[11] | {"Age": 1.5}])
    assert (within.status_code, within.json()["errors"][0]["loc"]) == (409, ["body", 1])
    assert logged(titanic) == before


def test_rows_are_answered_in_their_order(titanic: Server) -> None:
    rows = ROWS[20:60][::-1]
    said = titanic.post([*rows, rows[0]]).json()
    assert said["model_version"] == 1
    assert [each["key"] for each in said["predictions"]] == [row["PassengerId"] for row in [*rows, rows[0]]]
    assert said["predictions"][0] == said["predictions"][-1]
    assert titanic.post([]).json() == {"predictions": [], "model_version": 1}


def test_http_batch_and_replay_say_the_same(home: Path) -> None:
    """Bit for bit, with every column missing somewhere."""
    rows = [*ROWS[100:160], *(ROWS[160] | {"PassengerId": 9_000_000 + n, name: None} for n, name in enumerate(GAPS))]
    file = home.parent / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with serving(home) as server, server.client() as client:
        alone = {row["PassengerId"]: client.post(PREDICT, json=row).json() for row in rows[::2]}
        together = client.post(PREDICT, json=rows[1::2]).json()["predictions"]
        assert server.stop() == 0
    http = {each["key"]: each for each in [*alone.values(), *together]}
    ran("predict", TITANIC, home, "--source", f"file:{file}")
    found = ran("predictions", TITANIC, home).json
    batch = {row["PassengerId"]: row for row in found if row["door"] == "batch"}
    assert len(http) == len(rows)
    for key, said in http.items():
        assert (said["probability"], said["Survived"]) == (batch[key]["probability"], batch[key]["Survived"])
    assert {row["id"] for row in found if row["door"] == "http"} == {each["id"] for each in http.values()}
    for each in list(http.values())[::9]:
        again = headrace("replay", each["id"], "--home", home, "--json").json
        assert (again["identical"], again["replayed"]) == (True, each["probability"])
        chain = headrace("trace", each["id"], "--home", home, "--json").json
        assert (chain["system"], chain["pins"]["model_version"]) == ("titanic", 1)
        assert chain["prediction"]["inputs"]["Name"]


def test_ten_thousand_rows_are_as_offline(titanic: Server, titanic_home: Path) -> None:
    rows = passengers(10_000, seed=3, first=1_000_000)
    home = Home(Settings(home=titanic_home))
    model = RowPredictor.load(home.registry.fetch(home.registry.get("titanic", 1))).model
    full = [dict.fromkeys(model.types) | row | {"Embarked": row.get("Embarked") or None} for row in rows]
    offline = {row["PassengerId"]: model.answer(row)["probability"] for row in full}
    parts = [rows[:8000], *(rows[at : at + 475] for at in range(8000, 9900, 475)), *rows[9900:]]
    said = []
    with ThreadPoolExecutor(4) as pool, titanic.client() as client:
        for answer in pool.map(lambda part: client.post(PREDICT, json=part), parts):
            assert answer.status_code == 200, answer.text
            said += answer.json().get("predictions", [answer.json()])
    assert [each["key"] for each in said] == [row["PassengerId"] for row in rows]
    assert [each for each in said if each["probability"] != offline[each["key"]]] == []


def apart(command: str, home: Path, *arguments: str) -> None:
    """A command in a process of its own: it changes the environment, which threads of this one may be reading."""
    kafka.finish(kafka.headrace(command, TITANIC, "--home", home, *SMALL[TITANIC], *arguments, "--json"))


def test_a_new_champion_is_taken_up_without_a_failed_request(home: Path) -> None:
    with serving(home) as server, ThreadPoolExecutor(2) as pool:
        versions: list[int] = []
        done = False

        def load(start: int) -> None:
            with server.client() as client:
                for row in endless_passengers(start):
                    if done:
                        return
                    answer = client.post(PREDICT, json=row)
                    assert answer.status_code == 200, answer.text
                    versions.append(answer.json()["model_version"])

        loads = [pool.submit(load, start) for start in (2_000_000, 3_000_000)]

        def failed() -> bool:
            return any(each.done() for each in loads)

        try:
            until(lambda: 1 in versions or failed())
            apart("train", home, "--set", "model.calibrate=false")
            apart("promote", home, "2")
            until(lambda: versions[-1] == 2 or failed())
        finally:
            done = True
        for each in loads:
            each.result()
        assert sorted(set(versions)) == [1, 2]
        assert server.get("/v1/systems/titanic").json()["model_version"] == 2


def counted(text: str) -> float:
    """All predictions that Prometheus' text tells of."""
    lines = (line for line in text.splitlines() if line.startswith("headrace_predictions_total"))
    return sum(float(line.split()[-1]) for line in lines)


def test_several_processes_serve_together(home: Path) -> None:
    began = datetime.now(UTC) - timedelta(minutes=10)
    with serving(home, "--workers", "2") as server:
        rows = passengers(60, first=4_000_000)
        with ThreadPoolExecutor(8) as pool:
            said = list(pool.map(lambda row: server.post(row).json(), [*rows, *rows]))
        assert said[:60] == said[60:]
        assert logged(server) == 60
        # Each process counts what it answered a few times a second.
        until(lambda: counted(server.get("/metrics").text) == 120)
        assert server.stop() == 0
    windows = Home(Settings(home=home)).ledger.latencies.read("titanic", began, datetime.now(UTC))
    assert sum(sum(window.counts.values()) for window in windows) == 120, "each keeps how long its answers took"
    assert {len(window.server) for window in windows} == {32}
