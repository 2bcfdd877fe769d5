"""The routes that say why: they add up to what was answered, and are bounded."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.commands import headrace
from tests.servers import PREDICT, TITANIC, Server, passengers, ran, serving
from tests.waiting import until

WHY = "/v1/systems/titanic/explain"
BASE = "/v1/systems/energy"
FOREST = (
    "{kind: estimator, class_path: sklearn.ensemble.RandomForestClassifier, params: {n_estimators: 100, n_jobs: 1}}"
)


def post(server: Server, path: str, body: Any, **headers: str) -> Any:
    return server.post(body, path, **headers)


def total(item: dict[str, Any]) -> float:
    return float(item["base"] + sum(part["contribution"] for part in item["contributions"]))


def test_a_row_is_explained_as_it_would_be_answered_and_nothing_is_stored(titanic: Server) -> None:
    row = passengers(1, first=71_000_001)[0]
    item = post(titanic, WHY, row).json()
    answer = post(titanic, PREDICT, row).json()
    assert item["id"] is None
    assert item["keys"] == {"PassengerId": row["PassengerId"]}
    assert (item["value"], item["label"], item["scale"]) == (answer["probability"], 1, "log odds")
    assert 1 / (1 + math.exp(-total(item))) == pytest.approx(answer["probability"], abs=1e-9)
    stored = titanic.get(f"/v1/predictions/{answer['id']}/explain").json()
    assert stored["id"] == answer["id"]
    assert {**stored, "id": None, "keys": item["keys"]} == item

    head = titanic.client().head(f"/v1/predictions/{answer['id']}/explain")
    assert (head.status_code, head.content) == (200, b"")


def test_several_rows_the_other_class_and_the_largest_features(titanic: Server) -> None:
    rows = passengers(3, first=71_000_011)
    several = post(titanic, f"{WHY}?class=0&top=2", rows).json()["explanations"]
    assert [item["keys"]["PassengerId"] for item in several] == [row["PassengerId"] for row in rows]
    for row, item in zip(rows, several, strict=True):
        assert [part["kind"] for part in item["contributions"]][:3] == ["feature", "feature", "rest"]
        second = post(titanic, WHY, row).json()
        assert item["value"] == pytest.approx(1 - second["value"])
        assert total(item) == pytest.approx(-total(second))


def test_the_newest_forecasts_of_a_series_are_explained_step_by_step(energy: Server) -> None:
    key = energy.get(f"{BASE}/series").json()["series"][0]
    newest = energy.get(f"{BASE}/predictions", params=key).json()["predictions"][-24:]
    items = post(energy, f"{BASE}/explain", key).json()["explanations"]
    assert [item["id"] for item in items] == [row["id"] for row in newest]
    for item, row in zip(items, newest, strict=True):
        assert total(item) == pytest.approx(row["value"], rel=1e-6)
    one = energy.get(f"/v1/predictions/{newest[3]['id']}/explain").json()
    assert one["contributions"] == items[3]["contributions"]


def test_a_row_is_answered_and_explained_at_once_and_that_answer_is_stored(titanic: Server) -> None:
    rows = passengers(3, first=71_000_061)
    one = post(titanic, f"{PREDICT}?explain=true&top=2", rows[0]).json()
    why = one.pop("explanation")
    assert post(titanic, PREDICT, rows[0]).json() == one, "the same key has the same answer"
    assert titanic.get(f"/v1/predictions/{one['id']}/explain?top=2").json() == why | {
        "keys": {"key": f"[{one['key']}]"}
    }
    assert why["value"] == one["probability"]
    several = post(titanic, f"{PREDICT}?explain=true&class=0", rows).json()
    for row, told in zip(rows, several["predictions"], strict=True):
        assert told["explanation"]["keys"] == {"PassengerId": row["PassengerId"]}
        assert told["explanation"]["value"] == pytest.approx(1 - told["probability"])
    assert post(titanic, f"{PREDICT}?explain=false", rows).json()["predictions"] == [
        {name: value for name, value in told.items() if name != "explanation"} for told in several["predictions"]
    ]


def test_what_is_not_explained_is_not_answered(titanic: Server, energy: Server) -> None:
    row = passengers(1, first=71_000_071)[0]
    both = f"{PREDICT}?explain=true"
    cases: list[tuple[Any, int, str]] = [
        (post(titanic, both, [row] * 101), 413, "101 rows are more than 100"),
        (post(titanic, both, row | {"Name": "x" * 2**18}), 413, "larger than 262,144 bytes"),
        (post(titanic, f"{both}&class=7", row), 422, "there is no class"),
        (post(titanic, f"{both}&top=0", row), 422, "top is not a number from 1 to 10,000"),
        (post(titanic, f"{PREDICT}?explain=yes", row), 422, "explain is neither true nor false"),
        (post(titanic, f"{PREDICT}?top=x", row), 422, "top is not a number from 1 to 10,000"),
        (post(titanic, f"{both}&explain=true", row), 422, "parameter"),
        (post(titanic, both, b"a\n1\n", content_type="text/csv"), 422, "parameter"),
        (post(energy, f"{BASE}/predict?explain=true", {}), 422, "post its keys to /v1/systems/energy/explain"),
    ]
    for answer, status, detail in cases:
        assert answer.status_code == status, answer.text
        assert detail in answer.json()["detail"]
    other = post(titanic, PREDICT, row | {"Age": 3.0})
    assert other.status_code == 200, "the key was not taken by a refused request"


def test_what_cannot_be_explained_is_refused_with_its_place(titanic: Server, energy: Server) -> None:
    row = passengers(1, first=71_000_021)[0]
    unknown = "/v1/predictions/0185cfa3-2c00-7000-8000-000000000000/explain"
    key = energy.get(f"{BASE}/series").json()["series"][0]
    cases: list[tuple[Any, int, str]] = [
        (titanic.get(unknown), 404, "no prediction"),
        (titanic.get("/v1/predictions/abc/explain"), 404, "is not the id"),
        (post(titanic, WHY, [row] * 101), 413, "101 rows are more than 100"),
        (post(titanic, WHY, row | {"Name": "x" * 2**18}), 413, "larger than 262,144 bytes"),
        (post(titanic, WHY, row | {"Sex": "?"}), 422, "Sex"),
        (post(titanic, f"{WHY}?class=7", row), 422, "there is no class"),
        (post(titanic, f"{WHY}?best=7", row), 422, "parameter"),
        (post(titanic, f"{WHY}?words=true", row), 422, "no feature is a text"),
        (post(energy, f"{BASE}/explain?words=true", key), 422, "parameter"),
        (post(titanic, WHY, b"x", content_type="text/plain"), 415, "JSON"),
        (post(titanic, WHY, b"{"), 400, "not JSON"),
        (post(titanic, "/v1/systems/none/explain", row), 404, "is served here"),
        (post(energy, f"{BASE}/explain", {}), 422, "area, industry"),
        (post(energy, f"{BASE}/explain", key | {"x": "1"}), 422, "area, industry"),
        (post(energy, f"{BASE}/explain", key | {"area": "DK9"}), 404, "DK9"),
        (post(energy, f"{BASE}/explain", [key]), 422, "by its keys"),
    ]
    for answer, status, detail in cases:
        assert answer.status_code == status, answer.text
        assert detail in answer.json()["detail"]


def test_words_are_no_parameter_where_no_feature_is_a_text(titanic: Server) -> None:
    described = titanic.get("/openapi.json").json()["paths"][WHY]["post"]["parameters"]
    assert [each["name"] for each in described] == ["top", "class"]


def test_words_of_texts_are_told_and_the_most_only(tmp_path: Path) -> None:
    home = tmp_path / "home"
    ridge = "model.members=[{kind: linear}]"
    system = str(Path(TITANIC).with_name("price_alchemy"))
    assert headrace("run", system, "--home", home, "--source", "simulated:?rows=300&seed=1", "--set", ridge).code == 0
    row = {"train_id": 1, "name": "red bag", "item_condition_id": 1, "category_name": None, "brand_name": None}
    row |= {"shipping": 1, "item_description": "  ".join(f"word{number}" for number in range(1_500))}
    why = "/v1/systems/price_alchemy/explain"
    with serving(home, systems=(system,)) as server:
        plain, told = post(server, why, row).json(), post(server, f"{why}?words=true", row).json()
        assert total(told) == pytest.approx(total(plain))
        described = server.get("/openapi.json").json()["paths"][why]["post"]["parameters"]
        assert [each["name"] for each in described] == ["top", "words"]
        assert "bag" in {
            part["value"]
            for part in post(server, f"{why}?words=true", row | {"item_description": "x"}).json()["contributions"]
        }
        assert len([part for part in told["contributions"] if part["kind"] == "feature"]) == 1_000
        assert told["contributions"][1_000]["kind"] == "rest"


@pytest.fixture(scope="module")
def forest_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a model that cannot tell its contributions."""
    home = tmp_path_factory.mktemp("forest") / "home"
    ran("run", TITANIC, home, "--source", "simulated:?rows=100&unknown=10&seed=1", "--set", f"model.members=[{FOREST}]")
    return home


def test_a_model_that_cannot_tell_is_asked_about_few_rows_and_not_on_when_the_server_ends(forest_home: Path) -> None:
    rows = passengers(11, first=71_000_031)
    with serving(forest_home) as server, ThreadPoolExecutor(12) as pool:
        refusal = post(server, WHY, rows)
        assert (refusal.status_code, "11 rows are more than 10" in refusal.json()["detail"]) == (413, True)
        assert post(server, WHY, rows[:2]).json()["explanations"][1]["method"] == "permutation"
        large = rows[0] | {"Fare": 1e300}
        answer, why = post(server, PREDICT, large), post(server, WHY, large)
        assert (why.status_code, why.json()["detail"]) == (422, answer.json()["detail"])
        asked = [pool.submit(post, server, WHY, rows[:10]) for _ in range(12)]
        # Beyond those that wait two are refused at once; then all others have come.
        until(lambda: sum(done.done() and done.result().status_code == 503 for done in asked) == 2)
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 15
        answers = [done.result() for done in asked]
        assert {answer.status_code for answer in answers} <= {200, 503}
        assert all("retry-after" in answer.headers for answer in answers if answer.status_code == 503)
        assert any("wait to be explained" in answer.text for answer in answers)
        assert "Traceback" not in server.log.read_text()
