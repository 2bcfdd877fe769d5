"""What an operator relies on: tokens, CORS, request ids, logs, metrics, limits of time, and the export."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest
from tests.commands import headrace
from tests.servers import PREDICT, ROOT, TITANIC, Server, passengers, ran, serving
from tests.waiting import until

from headrace.errors import ConfigError
from headrace.home import Home
from headrace.serving.http.access import Access
from headrace.serving.http.problem import Problem, outward
from headrace.serving.http.telemetry import AccessLog, LogLines
from headrace.settings import Settings

TOKENS = {"reader": ["*:read"], "shop": ["titanic:predict", "titanic:read"], "other": ["energy:predict", "energy:read"]}


@pytest.fixture(scope="module")
def guarded(titanic_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = Path(shutil.copytree(titanic_home, tmp_path_factory.mktemp("guarded") / "home"))
    with serving(home, "--access-log", "inputs", HEADRACE_TOKENS=json.dumps(TOKENS)) as server:
        yield server


NUMBERS = count()


def bearer(token: str | None) -> dict[str, str]:
    if token is None or token in TOKENS:
        return {} if token is None else {"authorization": f"Bearer {token}"}
    number = next(NUMBERS)  # from elsewhere each time: an address may not try many wrong ones
    return {"authorization": f"Bearer {token}", "x-forwarded-for": f"10.0.{number // 250}.{number % 250}"}


@pytest.mark.parametrize(
    ("token", "predict", "read", "one"),
    [
        (None, 401, 401, 401),
        ("wrong", 401, 401, 401),
        ("reader2", 401, 401, 401),
        ("reader", 403, 200, 200),
        ("shop", 200, 200, 200),
        ("other", 403, 200, 403),
    ],
)
def test_tokens_allow_what_they_name(guarded: Server, token: str | None, predict: int, read: int, one: int) -> None:
    (row,) = passengers(1)
    answer = guarded.post(row, **bearer(token))
    assert answer.status_code == predict
    listed = guarded.get("/v1/systems", headers=bearer(token))
    assert listed.status_code == read
    if listed.status_code == 200:
        assert [each["name"] for each in listed.json()["systems"]] == (["titanic"] if one == 200 else [])
    assert guarded.get("/v1/systems/titanic", headers=bearer(token)).status_code == one
    assert guarded.get("/v1/systems/titanic/alerts", headers=bearer(token)).status_code == one
    known = guarded.post(row, **bearer("shop")).json()["id"]
    assert guarded.get(f"/v1/predictions/{known}", headers=bearer(token)).status_code == one
    if predict == 401:
        assert answer.headers["www-authenticate"] == "Bearer"
        assert guarded.get("/v1/predictions/nothing", headers=bearer(token)).status_code == 401
        assert guarded.post(row, authorization="Basic shop").status_code == 401
    for path in ("/health", "/ready", "/v2/health/live", "/v2/health/ready"):
        assert guarded.get(path).status_code == 200
    told = guarded.get("/ready", headers=bearer(token)).json()
    assert told == {"ready": True, **({"systems": {"titanic": "ready"}} if one == 200 else {})}
    known = read == 200
    for path in ("/openapi.json", "/docs"):
        shown = guarded.get(path, headers=bearer(token))
        assert shown.status_code == (200 if known else 401)
        assert ("Embarked" in shown.text) == (one == 200)
    assert guarded.get("/metrics", headers=bearer(token)).status_code == (
        401 if not known else 200 if token == "reader" else 403
    )


def test_who_has_no_token_learns_of_no_parameter(guarded: Server) -> None:
    paths = guarded.get("/openapi.json", headers=bearer("shop")).json()["paths"]
    routes = [(method, path) for path, methods in paths.items() if path.startswith("/v1/") for method in methods]
    assert len(routes) >= 40
    with guarded.client() as client:
        answers = {
            (method, path): client.request(method, path, params={"limit": "x", "as_of": "never", "nothing": "1"})
            for method, path in routes
        }
    assert {route: answer.status_code for route, answer in answers.items() if answer.status_code != 401} == {}
    assert {answer.headers["www-authenticate"] for answer in answers.values()} == {"Bearer"}


def test_the_document_asks_for_the_token(guarded: Server, titanic: Server) -> None:
    document = guarded.get("/openapi.json", headers=bearer("shop")).json()
    assert document["paths"][PREDICT]["post"]["security"] == [{"token": []}]
    assert "security" not in document["paths"]["/health"]["get"]
    assert "security" not in titanic.get("/openapi.json").json()["paths"][PREDICT]["post"]


def test_what_is_public_needs_no_token() -> None:
    seen = Access(Settings(tokens={"a": ("titanic:predict",), "b": ("*:metrics",)}).tokens)
    assert seen.sees(b"Bearer a", "titanic")
    assert not seen.sees(b"Bearer a", "energy")
    assert not seen.sees(b"Bearer b", "titanic")
    seen.check_metrics(b"Bearer b")
    for given, status in ((b"Bearer a", 403), (b"", 401)):
        with pytest.raises(Problem) as caught:
            seen.check_metrics(given)
        assert caught.value.status == status


@pytest.mark.parametrize("tokens", [{}, {"a": ["*:read"]}])
def test_nothing_of_the_inside_is_told_outside(home: Path, tokens: dict[str, list[str]]) -> None:
    """Where the database is, and by whose name it is asked, is for the log."""
    away = {"HEADRACE_LEDGER_URI": "postgresql://keeper:hush@127.0.0.1:9/secret", "HEADRACE_TOKENS": json.dumps(tokens)}
    words = ("--public", "docs,metrics,ready")
    with serving(home, *words, ready=False, **away) as server:
        until(lambda: "127.0.0.1" in server.log.read_text())
        answers = [server.get("/ready"), server.get("/v2/health/ready"), server.get("/ping")]
        assert [each.status_code for each in answers] == [503] * 3
        assert answers[0].json()["errors"]
        for path in ("/docs", "/openapi.json", "/metrics"):
            assert server.get(path).status_code == 200
        if not tokens:
            answers += [server.post(passengers(1)[0]), server.get("/v1/systems/titanic")]
            assert answers[-2].status_code == 503
        for each in answers:
            assert not [said for said in ("127.0.0.1", "port", "secret", "keeper", "hush") if said in each.text], (
                each.text
            )


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            'connection to server at "db.inner" (10.0.0.7), port 5432 failed: FATAL: no role for user "x"',
            "connection to server failed: FATAL: no role for user",
        ),
        (
            'connection to server on socket "/run/pg/.s.PGSQL.5432" failed: No such file',
            "connection to server failed: No such file",
        ),
        ("Error opening /var/lib/headrace/ledger.db: disk full", "Error opening: disk full"),
        ("Generic S3 error at https://s3.inner:9000/bucket/x?y: timed out", "Generic S3 error at timed out"),
        ("there is no model; headrace run titanic", "there is no model; headrace run titanic"),
        ("20,000 predictions wait for the ledger", "20,000 predictions wait for the ledger"),
    ],
)
def test_outward(said: str, told: str) -> None:
    assert outward(said) == told


@pytest.mark.parametrize(
    "path",
    [
        *("/health", "/ready", "/metrics", "/", "/docs", "/openapi.json", "/v1/systems", "/v1/systems/titanic"),
        *("/v1/predictions/x", "/v1/systems/titanic/alerts", "/v1/systems/titanic/runs"),
        *("/v2", "/v2/models/titanic", "/ping"),
    ],
)
def test_a_parameter_that_no_route_knows_is_refused(titanic: Server, path: str) -> None:
    answer = titanic.get(path + "?a=b")
    assert answer.status_code == 422
    assert "a" in answer.text


def test_one_that_the_hot_route_does_not_know_is_too(titanic: Server) -> None:
    answer = titanic.post(passengers(1)[0], PREDICT + "?verb%6Fse=&b=1")
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["query", "verbose"])


def test_a_grant_that_is_none_is_refused() -> None:
    for tokens in ({"a": ("titanic",)}, {"a": ("titanic:writes",)}, {" ": ("*:read",)}, {"a": ("titanic:metrics",)}):
        with pytest.raises(ConfigError, match="HEADRACE_TOKENS"):
            Access(Settings(tokens=tokens).tokens)


def test_browsers_may_call_from_named_origins(titanic: Server) -> None:
    asked = {"origin": "https://shop.example", "access-control-request-method": "POST"}
    with titanic.client() as client:
        good = client.options(
            PREDICT, headers=asked | {"access-control-request-headers": "content-type,idempotency-key"}
        )
        bad = client.options(PREDICT, headers=asked | {"origin": "https://evil.example"})
    assert good.status_code == 200
    assert good.headers["access-control-allow-origin"] == "https://shop.example"
    assert (bad.status_code, bad.json()["title"]) == (400, "Bad Request")
    assert bad.headers["content-type"] == "application/problem+json"
    assert bad.headers["x-request-id"] in {each.get("http.request.id") for each in titanic.lines()} or titanic.line(
        bad.headers["x-request-id"]
    )
    assert "access-control-allow-origin" not in bad.headers
    answer = titanic.post(passengers(1)[0], origin="https://shop.example")
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"
    assert "X-Request-Id" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize("path", ["/health", "/v1/systems", PREDICT])
def test_every_answer_has_a_request_id(titanic: Server, path: str) -> None:
    for given in ("order.7:a_b-c", "x" * 128):
        assert titanic.get(path, headers={"x-request-id": given}).headers["x-request-id"] == given
    for given in ("", "a b", "x" * 129, "<script>", b"\xe9"):
        made = titanic.get(path, headers={"x-request-id": given}).headers["x-request-id"]
        assert len(made) == 24
        assert made != given


def test_the_access_log_is_ecs_without_inputs(titanic: Server, guarded: Server) -> None:
    (row,) = passengers(1, first=88_000_000)
    titanic.post(row | {"Name": "Secret, Mr. Very"}, x_request_id="of-this-test")
    line = titanic.line("of-this-test")
    assert line["log.level"] == "info"
    assert line["ecs.version"]
    assert (line["http.request.method"], line["http.response.status_code"]) == ("POST", 200)
    assert (line["url.path"], line["client.ip"]) == (PREDICT, "127.0.0.1")
    assert 0 < line["event.duration"] < 30e9
    assert "Secret" not in titanic.log.read_text()
    guarded.post(row | {"Name": "Secret, Mr. Very"}, x_request_id="told", **bearer("shop"))
    assert json.loads(guarded.line("told")["http.request.body.content"])["Name"] == "Secret, Mr. Very"
    assert "Bearer" not in guarded.log.read_text()


def test_prometheus_counts(titanic: Server) -> None:
    def values() -> dict[str, float]:
        lines = titanic.get("/metrics").text.splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line[:1] not in ("#", "")}

    before = values()
    titanic.post(passengers(5, first=89_000_000))
    titanic.post(b"{")
    titanic.post([{"PassengerId": -1}] * 70)
    titanic.get("/v1/systems/titanic")
    titanic.get("/openapi.json")
    after = values()
    route = 'route="/v1/systems/{system}/predict"'
    for name, change in (
        ('headrace_predictions_total{model_version="1",system="titanic"}', 5),
        ('headrace_refused_rows_total{reason="not_json",system="titanic"}', 1),
        ('headrace_refused_rows_total{reason="bad_row",system="titanic"}', 70),
        (f'headrace_http_requests_total{{method="POST",{route},status="200"}}', 1),
        (f"headrace_http_request_seconds_count{{{route}}}", 3),
        ('headrace_http_requests_total{method="GET",route="/v1/systems/{system}",status="200"}', 1),
        ('headrace_http_requests_total{method="GET",route="/openapi.json",status="200"}', 1),
    ):
        assert after[name] - before.get(name, 0) == change, name
    assert after['headrace_model_version{system="titanic"}'] == 1
    assert after["headrace_ledger_waiting"] >= 0
    assert {f'headrace_http_request_seconds_bucket{{le="{le}",{route}}}' for le in ("5e-05", "0.0001")} <= set(after)
    assert after["process_cpu_seconds_total"] > 0
    assert titanic.get("/metrics").headers["content-type"].startswith("text/plain; version=0.0.4")


def test_the_dashboard_asks_for_metrics_that_there_are(titanic: Server) -> None:
    titanic.post(b"{")
    titanic.post(passengers(1)[0])
    there = {line.partition("{")[0].partition(" ")[0] for line in titanic.get("/metrics").text.splitlines()}
    board = json.loads((ROOT / "deploy" / "grafana" / "headrace-serving.json").read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    names = {name for each in asked for name in re.findall(r"\b(?:headrace|process)_\w+", each)}
    assert len(names) > 6
    assert names <= there


def test_the_export_copies_each_prediction_once(home: Path) -> None:
    rows = passengers(300)
    with serving(home) as server:
        assert server.post(rows[:200]).status_code == 200
    first = ran("export", TITANIC, home)
    assert first.json["exported"] == 200
    assert ran("export", TITANIC, home).json["exported"] == 0
    with serving(home) as server:
        assert server.post(rows).status_code == 200
    # Killed at any moment and repeated, or twice at once: each is there once.
    command = [sys.executable, "-m", "headrace", "export", TITANIC, "--home", str(home)]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.9)
    killed.kill()
    killed.wait()
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(2)]
    assert [each.wait() for each in both] == [0, 0], [each.stderr.read() for each in both if each.stderr]
    table = Home(Settings(home=home)).table("titanic", "predictions")
    frame = table.collect(table.scan())
    exported = frame.filter(frame["door"] == "http")
    assert (exported.height, exported["id"].n_unique(), exported["PassengerId"].n_unique()) == (300, 300, 300)
    assert len(ran("predictions", TITANIC, home, "--where", "door=http").json) == 300


def test_a_new_ledger_is_exported_whole(home: Path) -> None:
    """Its numbers begin anew, but its predictions are others."""
    rows = passengers(6)
    for name, part in (("ledger.db", rows[:4]), ("other.db", rows[4:])):
        os.environ["HEADRACE_LEDGER_URI"] = f"sqlite:///{home}/{name}"
        try:
            with serving(home) as server:
                assert server.post(part).status_code == 200
            assert ran("export", TITANIC, home).json["exported"] == len(part)
            assert ran("export", TITANIC, home).json["exported"] == 0
        finally:
            del os.environ["HEADRACE_LEDGER_URI"]


def test_holdout_scores_the_champion(home: Path, tmp_path: Path) -> None:
    done = headrace("evaluate", TITANIC, "--home", home, "--json", "--data", "simulated:?rows=300&unknown=0&seed=5")
    assert done.code == 0, done.err
    found = done.json
    assert (found["rows"], found["model_version"]) == (300, 1)
    assert found["metrics"]["log_loss"] < found["baselines"]["share_of_training"]["log_loss"]
    assert headrace("evaluate", TITANIC, "--home", home, "--json").code == 2


def test_a_taken_port_is_told(titanic: Server, home: Path) -> None:
    port = titanic.url.rpartition(":")[2]
    done = headrace("serve", TITANIC, "--home", home, "--port", port)
    assert (done.code, "choose another --port" in done.err) == (2, True)


def test_a_slow_body_does_not_hold_others(titanic: Server) -> None:
    host, port = titanic.url.removeprefix("http://").split(":")
    head = f"POST {PREDICT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n"
    with socket.create_connection((host, int(port))) as slow:
        slow.sendall(head.encode() + b'{"PassengerId"')
        assert titanic.post(passengers(1)[0]).elapsed.total_seconds() < 20  # a body may take 30
        slow.shutdown(socket.SHUT_WR)
    assert titanic.get("/health").status_code == 200


class Torn(io.StringIO):
    """A stream that takes nothing while it is torn."""

    torn = False

    def write(self, text: str) -> int:
        if self.torn:
            raise BrokenPipeError(32, "Broken pipe")
        return super().write(text)


def test_the_access_log_outlives_a_stderr_that_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("headrace.serving.http.telemetry._log.warning", lambda text, *about: said.append(text % about))
    stream, log = Torn(), AccessLog()
    monkeypatch.setattr(sys, "stderr", stream)
    for stream.torn in (False, True, True, False, False):
        log.write("POST", PREDICT, ("10.0.0.1", 5), 200, 0.001, b"r1")
        log.flush()
    assert len(stream.getvalue().splitlines()) == 3
    assert said == [
        "the access log cannot be written: [Errno 32] Broken pipe",
        "2 lines of the access log were lost",
    ]
    monkeypatch.setattr(sys, "stderr", None)
    log.write("GET", '/\x7f"', None, 404, 0.001, b"r2")
    log.flush()
    assert "cannot be written" in said[-1]


def test_a_line_of_the_access_log_is_json_whatever_was_asked(capsys: pytest.CaptureFixture[str]) -> None:
    log = AccessLog(inputs=True)
    before = datetime.now(UTC)
    log.write("GET", '/"\\\n\x00é' + "x" * 300, None, 500, 1.5, b"r3", b'"\xff')
    log.flush()
    line = json.loads(capsys.readouterr().err)
    assert line["url.path"] == '/"\\\n\x00é' + "x" * 300
    assert (line["log.level"], line["client.ip"], line["event.duration"]) == ("error", None, 1_500_000_000)
    assert line["http.request.body.content"] == '"\ufffd'
    assert before <= datetime.fromisoformat(line["@timestamp"]) <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("given", "told"), [("10.0.0.1", "10.0.0.1"), ("::1", "::1"), ('1.2.3.4"\x00', None), ("x", None), ("", None)]
)
def test_who_calls_is_an_address_or_nothing(capsys: pytest.CaptureFixture[str], given: str, told: str | None) -> None:
    log = AccessLog()
    log.write("GET", "/", (given, 5), 200, 1.5, b"r4")
    log.flush()
    assert json.loads(capsys.readouterr().err)["client.ip"] == told


def test_every_line_has_one_schema() -> None:
    record = logging.LogRecord("uvicorn.error", logging.WARNING, __file__, 1, "what %s", ("came",), None)
    line = json.loads(LogLines(exclude_fields=["process", "log.original"]).format(record))
    assert (line["ecs.version"], line["service.name"], line["message"]) == ("8.11.0", "headrace", "what came")


def test_what_is_refused_before_it_is_a_request_is_logged_and_counted(titanic: Server) -> None:
    host, port = titanic.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nx-request-id: homeless\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
    line = titanic.line("homeless")
    assert (line["client.ip"], line["http.response.status_code"], line["url.path"]) == ("127.0.0.1", 400, "/health")
    assert 'headrace_http_requests_total{method="GET",route="unknown",status="400"}' in titanic.get("/metrics").text
