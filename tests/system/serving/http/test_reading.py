"""The routes that read: forecasts and their past, caches, traces, and what is refused."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.commands import headrace
from tests.servers import ENERGY, SMALL, Server, passengers, serving

BASE = "/v1/systems/energy"


@pytest.fixture(scope="module")
def series(energy: Server) -> dict[str, str]:
    found: dict[str, str] = energy.get(f"{BASE}/series").json()["series"][0]
    return found


def stored(home: Path, *arguments: object) -> list[dict[str, Any]]:
    done = headrace("predictions", ENERGY, "--home", home, "--json", *SMALL[ENERGY], *arguments)
    assert done.code == 0, done.err
    found: list[dict[str, Any]] = done.json
    return found


def test_what_is_served(energy: Server) -> None:
    (about,) = energy.get("/v1/systems").json()["systems"]
    assert about == energy.get(BASE).json()
    assert (about["kind"], about["horizon"], about["model_version"], about["ready"]) == ("forecast", "1d", 1, True)
    assert about["last_run"]["as_of"] == "2026-03-02T12:00:00Z"
    listed = energy.get(f"{BASE}/runs").json()["runs"]
    assert [each["as_of"][11:13] for each in listed] == ["12", "10"]
    assert listed[0] == about["last_run"]
    assert {each["status"] for each in listed} == {"done"}
    assert energy.get(f"{BASE}/runs", params={"status": "failed"}).json() == {"runs": [], "next": None}
    assert len(energy.get(f"{BASE}/runs", params={"limit": 1}).json()["runs"]) == 1
    assert energy.get(f"{BASE}/runs", params={"limit": 0}).status_code == 422
    assert about["contract"]["properties"]["area"]["enum"] == ["DK1", "DK2"]
    listed = energy.get(f"{BASE}/series").json()["series"]
    assert len(listed) == 3
    assert [list(each) for each in listed] == [["area", "industry"]] * 3
    for area in ("DK1", "DK2", "DK3"):
        some = energy.get(f"{BASE}/series", params={"area": area}).json()["series"]
        assert some == [each for each in listed if each["area"] == area]


def test_what_came_in_is_judged_rule_by_rule(energy: Server) -> None:
    said = energy.get(f"{BASE}/validation").json()
    assert said["rows"] == said["good"] + said["bad"] + said["pending"]
    assert {"type", "minimum", "gaps"} <= {rule["rule"] for rule in said["rules"]}
    assert len(said["history"]) >= 1
    run = energy.get(f"{BASE}/runs").json()["runs"][0]["run_id"]
    assert energy.get(f"{BASE}/validation", params={"run": run, "limit": 1}).json()["rows"] > 0
    apart = energy.get(f"{BASE}/quarantine").json()
    assert apart["apart"] == len(apart["rows"]) == said["bad"]
    none = energy.get(f"{BASE}/quarantine", params=[("column", "area"), ("column", "time"), ("released", "true")])
    assert none.json() == {"system": "energy", "apart": 0, "released": 0, "counts": [], "rows": [], "next": None}


def test_predictions_are_the_stored_ones(energy: Server, energy_home: Path, series: dict[str, str]) -> None:
    said = energy.get(f"{BASE}/predictions", params=series).json()
    assert (said["as_of"], said["model_version"]) == ("2026-03-02T12:00:00Z", 1)
    where = [word for name, value in series.items() for word in ("--where", f"{name}={value}")]
    newest: dict[str, dict[str, Any]] = {row["time"]: row for row in stored(energy_home, *where)}
    assert [each["time"] for each in said["predictions"]] == sorted(newest)
    for each in said["predictions"]:
        assert each == {
            name: newest[each["time"]][name] for name in ("time", "value", "lower", "upper", "served", "id")
        }


def test_predictions_as_of_a_time(energy: Server, energy_home: Path, series: dict[str, str]) -> None:
    then = "2026-03-02T11:00:00Z"
    said = energy.get(f"{BASE}/predictions", params=series | {"as_of": then}).json()
    where = [word for name, value in series.items() for word in ("--where", f"{name}={value}")]
    rows = stored(energy_home, "--as-of", then, *where)
    assert said["as_of"] == rows[0]["as_of"] == "2026-03-02T10:00:00Z"
    assert [each["id"] for each in said["predictions"]] == [row["id"] for row in rows]
    before = energy.get(f"{BASE}/predictions", params=series | {"as_of": "2020-01-01T00:00:00Z"}).json()
    assert before == {"predictions": [], "as_of": None, "model_version": None}


def test_observations_are_the_last_hours(energy: Server, series: dict[str, str]) -> None:
    week = energy.get(f"{BASE}/observations", params=series).json()["observations"]
    assert len(week) == 168
    assert week == sorted(week, key=lambda each: each["time"])
    day = energy.get(f"{BASE}/observations", params=series | {"hours": "24"}).json()["observations"]
    assert day == week[-24:]
    assert all(isinstance(each["value"], float) for each in day)


def test_metrics_over_time_and_of_one_series(energy: Server, series: dict[str, str]) -> None:
    overall = energy.get(f"{BASE}/metrics").json()
    one = energy.get(f"{BASE}/metrics", params=series).json()
    area = energy.get(f"{BASE}/metrics", params={"area": series["area"]}).json()
    assert overall.pop("beside") == []  # of the whole system alone
    for found in (overall, area, one):
        assert set(found) == {"metrics", "over_time"}
        assert all(datetime.fromisoformat(each["time"]).tzinfo for each in found["over_time"])
    assert one["metrics"].get("expected", 0) <= overall["metrics"].get("expected", 0)


def test_a_trace_leads_to_the_run(energy: Server, energy_home: Path, series: dict[str, str]) -> None:
    name = energy.get(f"{BASE}/predictions", params=series).json()["predictions"][0]["id"]
    said = energy.get(f"/v1/predictions/{name}").json()
    told = headrace("trace", name, "--home", energy_home, "--json").json
    assert (said["id"], said["system"], said["model"]["version"]) == (name, "energy", 1)
    assert said["run"]["run_id"] == told["run"]["run_id"]
    assert said["pins"]["model_digest"] == told["pins"]["model_digest"]


@pytest.mark.parametrize("route", ["series", "observations", "predictions", "metrics"])
def test_what_has_not_changed_is_not_sent_again(energy: Server, series: dict[str, str], route: str) -> None:
    first = energy.get(f"{BASE}/{route}", params=series)
    tag = first.headers["etag"]
    assert "private" in first.headers["cache-control"]
    for held in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = energy.get(f"{BASE}/{route}", params=series, headers={"if-none-match": held})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert energy.get(f"{BASE}/{route}", params=series, headers={"if-none-match": '"other"'}).status_code == 200


REFUSED = [
    ("/predictions", {}, 422, ["query", "area"]),
    ("/predictions", {"area": "DK1"}, 422, ["query", "industry"]),
    ("/observations", {"industry": "1"}, 422, ["query", "area"]),
    ("/metrics", {"area": "DK9"}, 404, None),
    ("/predictions", {"area": "DK9", "industry": "1"}, 404, None),
    ("/predictions", {"area": "DK9\x00\ud83d", "industry": "é" * 500}, 404, None),
    ("/observations", {"hours": "0"}, 422, ["query", "hours"]),
    ("/observations", {"hours": "745"}, 422, ["query", "hours"]),
    ("/observations", {"hours": "a day"}, 422, ["query", "hours"]),
    ("/observations", {"hours": "9" * 5000}, 422, ["query", "hours"]),
    ("/predictions", {"as_of": "yesterday"}, 422, ["query", "as_of"]),
    ("/predictions", {"as_of": "2026-03-02T12:00:00"}, 422, ["query", "as_of"]),
    ("/predictions", {"as_of": "0001-01-01T00:00:00+14:00"}, 422, ["query", "as_of"]),
    ("/predictions", {"as_of": "9999-12-31T23:59:59-14:00"}, 422, ["query", "as_of"]),
    ("/predictions", {"asof": "2026-03-02T12:00:00Z"}, 422, ["query", "asof"]),
    ("/observations", {"hour": "3"}, 422, ["query", "hour"]),
    ("/metrics", {"aera": "DK1"}, 422, ["query", "aera"]),
    ("/metrics", [("area", "DK1"), ("area", "DK2")], 422, ["query", "area"]),
    ("/series", {"aera": "DK1"}, 422, ["query", "aera"]),
    ("/runs", {"failed": "true"}, 422, ["query", "failed"]),
    ("/alerts", {"open": "true"}, 422, ["query", "open"]),
    ("/validation", {"run": "none"}, 404, None),
    ("/validation", {"limit": "0"}, 422, ["query", "limit"]),
    ("/quarantine", {"column": "watts"}, 404, None),
    ("/quarantine", {"reasons": "x"}, 422, ["query", "reasons"]),
]


@pytest.mark.parametrize(("route", "params", "status", "at"), REFUSED)
def test_a_wrong_parameter_is_named(
    energy: Server, series: dict[str, str], route: str, params: Any, status: int, at: list[str] | None
) -> None:
    pairs = params if isinstance(params, list) else list(params.items())
    full = [*series.items(), *pairs] if {name for name, _ in pairs} & {"hours", "hour", "as_of", "asof"} else pairs
    encoded = [(name, value.encode(errors="surrogatepass")) for name, value in full]
    answer = energy.get(f"{BASE}{route}", params=encoded)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    if at is not None:
        assert answer.json()["errors"][0]["loc"] == at


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/v1/systems/nothing", 404),
        ("GET", "/v1/systems/nothing/series", 404),
        ("POST", "/v1/systems/nothing/predict", 404),
        ("GET", f"{BASE}/predict", 405),
        ("GET", "/v1/predictions/nothing", 404),
        ("GET", "/v1/predictions/ffffffff-ffff-ffff-ffff-ffffffffffff", 404),
        ("GET", "/v1/predictions/00000000-0000-7000-8000-000000000000", 404),
        ("DELETE", BASE, 405),
        ("POST", "/health", 405),
        ("TRACE", "/v1/systems", 405),
    ],
)
def test_what_is_not_there_is_a_problem(energy: Server, method: str, path: str, status: int) -> None:
    with energy.client() as client:
        answer = client.request(method, path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["status"] == status
    assert answer.headers["x-request-id"]
    if status == 405:
        assert answer.headers["allow"] == {f"{BASE}/predict": "POST"}.get(path, "GET, HEAD")


def test_the_head_of_an_answer_may_be_asked_for(energy: Server, series: dict[str, str]) -> None:
    with energy.client() as client:
        for path in ("/health", "/ready", "/metrics", "/v1/systems", BASE, f"{BASE}/predictions", f"{BASE}/runs"):
            params = series if path.endswith("predictions") else {}
            whole, head = client.get(path, params=params), client.head(path, params=params)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-type"] == whole.headers["content-type"]
            assert head.headers.get("etag") == whole.headers.get("etag")
        assert client.head("/nothing").status_code == 404


def test_rows_have_no_series(titanic: Server) -> None:
    for route in ("series", "observations", "predictions"):
        assert titanic.get(f"/v1/systems/titanic/{route}").status_code == 404
    assert titanic.get("/v1/systems/titanic/alerts").json() == {"alerts": [], "next": None}
    assert titanic.get("/v1/systems/titanic/predict").headers["allow"] == "POST"
    about = titanic.get("/v1/systems/titanic").json()
    assert (about["kind"], about["horizon"]) == ("rows", None)
    assert "Survived" not in about["contract"]["required"]


def test_a_posted_row_is_traced_to_its_pins(titanic: Server) -> None:
    (row,) = passengers(1, first=77_000_000)
    said = titanic.post(row).json()
    trace = titanic.get(f"/v1/predictions/{said['id']}").json()
    assert trace["prediction"]["probability"] == said["probability"]
    assert trace["prediction"]["inputs"] == {k: v for k, v in row.items() if v not in (None, "")}
    assert (trace["prediction"]["door"], trace["run"]) == ("http", None)
    assert json.dumps(trace["pins"])
    assert trace["model"]["version"] == trace["pins"]["model_version"] == said["model_version"]


def test_metrics_of_rows(titanic: Server) -> None:
    said = titanic.get("/v1/systems/titanic/metrics")
    assert set(said.json()) == {"metrics", "over_time", "by_version", "beside"}
    assert [each["model_version"] for each in said.json()["by_version"]] in ([], [1])
    again = titanic.get("/v1/systems/titanic/metrics", headers={"if-none-match": said.headers["etag"]})
    assert again.status_code == 304


def test_drift_is_compared_with_what_the_champion_learnt_from(titanic: Server, energy: Server) -> None:
    answer = titanic.get("/v1/systems/titanic/drift")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    said = answer.json()
    assert (said["system"], said["reference"]["model_version"]) == ("titanic", 1)
    assert said["reference"]["rows"] > 0
    assert titanic.get("/v1/systems/titanic/drift", params={"as_of": said["as_of"]}).json() == said
    early = titanic.get("/v1/systems/titanic/drift", params={"as_of": "2020-01-01T00:00:00Z"})
    assert (early.status_code, early.headers["content-type"]) == (404, "application/problem+json")
    assert "there was no model then" in early.json()["detail"]
    assert titanic.get("/v1/systems/atlantis/drift").status_code == 404
    assert titanic.get("/v1/systems/titanic/drift", params={"as_of": "yesterday"}).status_code == 422
    assert titanic.get("/v1/systems/titanic/drift", params={"at": said["as_of"]}).status_code == 422
    series = energy.get(f"{BASE}/drift").json()
    assert (series["judged"], series["drifted"]) == (False, False)
    assert "fewer than 30" in series["reason"]


def test_without_a_champion_there_is_no_drift(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    with serving(tmp_path / "home", ready=False) as server:
        answer = server.get("/v1/systems/titanic/drift")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert "there is no model yet" in answer.json()["detail"]
