"""The client against a real server: every route has a method, and both kinds of client say the same."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.servers import ENERGY, TITANIC, Server, energy_template, passengers, serving, titanic_template

from headrace.client import AsyncClient, Client, ClientOptions, Retry
from headrace.client.asking import failed, posting, reading
from headrace.client.calls import ClientCalls
from headrace.errors import (
    AccessDeniedError,
    ConflictError,
    HeadraceError,
    NotFoundError,
    RefusedRequestError,
    ServiceError,
    ServiceUnavailableError,
    ThrottledError,
)

READ, WRITE = "reads-all", "writes-all"
TOKENS = {
    READ: {"may": ["*:read", "*:predict"], "name": "viewer"},
    WRITE: {"may": ["*:read", "*:predict", "*:write", "*:metrics"], "name": "anna"},
}
OTHERS = re.compile(r"^/(v2|invocations|ping|version)|/invocations$")
"""Routes of other protocols, which have clients of their own."""
SERIES = {"area": "DK1", "industry": "111"}
SPAN = ("2026-03-02T00:00:00Z", "2026-03-02T12:00:00Z", "12h")
ROW = passengers(1, first=700_000)[0]
CHANGING = frozenset(
    ("overview", "status", "metrics_text", "doctor", "audit", "rollback", "promote", "reject", "release")
)
"""What says another thing each time."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Both kinds of system in one home, read by a process of its own."""
    base = tmp_path_factory.getbasetemp()
    home = Path(shutil.copytree(titanic_template(base), tmp_path_factory.mktemp("served") / "home"))
    for part in ("store/energy", "models"):
        shutil.copytree(energy_template(base) / part, home / part, dirs_exist_ok=True)
    tokens = {"HEADRACE_TOKENS": json.dumps(TOKENS)}
    with serving(home, "--readers", "1", systems=(TITANIC, ENERGY), **tokens) as server:
        yield server


@pytest.fixture(scope="module")
def known(served: Server) -> dict[str, str]:
    """Ids of a prediction, of a run, and of a simulation that was cancelled."""
    with Client(served.url, token=WRITE) as client:
        simulation = client.simulate("energy", *SPAN, key="a").id
        client.cancel_simulation("energy", simulation)
        prediction, run = client.answers("energy").rows[0]["id"], client.runs("energy").runs[0].run_id
    return {"prediction": prediction, "run": run, "simulation": simulation}


def calls(ids: dict[str, str]) -> dict[str, Callable[[Any], Any]]:
    """A call of every method, by its name."""
    prediction = ids["prediction"]
    return {
        "get": lambda c: c.get("/v1/systems/energy/series", area="DK1"),
        "post": lambda c: c.post("/v1/systems/titanic/predict", ROW),
        "delete": lambda c: c.delete("/v1/systems/energy/simulations/none"),
        "health": lambda c: c.health(),
        "ready": lambda c: c.ready(),
        "metrics_text": lambda c: c.metrics_text(),
        "rights": lambda c: c.rights(),
        "overview": lambda c: c.overview(),
        "systems": lambda c: c.systems(),
        "system": lambda c: c.system("energy"),
        "status": lambda c: c.status("energy"),
        "predict": lambda c: c.predict("titanic", ROW),
        "predict_rows": lambda c: c.predict_rows("titanic", passengers(5, first=710_000), batch=2),
        "predict_frame": lambda c: c.predict_frame("titanic", frame()),
        "series": lambda c: c.series("energy", area="DK1"),
        "search_series": lambda c: c.search_series("energy", "dk1", limit=1),
        "iter_series": lambda c: c.iter_series("energy", limit=1),
        "forecast": lambda c: c.forecast("energy", truth=True, **SERIES),
        "forecast_frame": lambda c: c.forecast_frame("energy", **SERIES),
        "observations": lambda c: c.observations("energy", hours=24, **SERIES),
        "answers": lambda c: c.answers("energy", limit=2, truth=True),
        "iter_answers": lambda c: c.iter_answers("energy", limit=100),
        "trace": lambda c: c.trace(prediction),
        "graph": lambda c: c.graph(prediction),
        "replay": lambda c: c.replay(prediction),
        "explain": lambda c: c.explain(prediction, top=3),
        "explain_rows": lambda c: c.explain_rows("titanic", ROW, top=3),
        "metrics": lambda c: c.metrics("energy"),
        "scores": lambda c: c.scores("energy", "step"),
        "drift": lambda c: c.drift("energy"),
        "alerts": lambda c: c.alerts("energy", open_only=True),
        "why": lambda c: c.why("energy"),
        "runs": lambda c: c.runs("energy", limit=1),
        "iter_runs": lambda c: c.iter_runs("energy", limit=1),
        "run": lambda c: c.run("energy", ids["run"]),
        "validation": lambda c: c.validation("energy"),
        "quarantine": lambda c: c.quarantine("energy", column=["area", "time"]),
        "models": lambda c: c.models("energy", importance=True),
        "model": lambda c: c.model("energy", 1),
        "card": lambda c: c.card("energy", 1),
        "card_html": lambda c: c.card_html("energy", 1),
        "compare": lambda c: c.compare("energy", 1, 2),
        "promote": lambda c: c.promote("energy", 1, by="Anna", reason="still the best"),
        "reject": lambda c: c.reject("energy", 1),
        "rollback": lambda c: c.rollback("energy", reason="try"),
        "release": lambda c: c.release("energy", why="the contract is mended"),
        "simulate": lambda c: c.simulate("energy", *SPAN, key="a"),
        "simulations": lambda c: c.simulations("energy"),
        "simulation": lambda c: c.simulation("energy", ids["simulation"]),
        "cancel_simulation": lambda c: c.cancel_simulation("energy", ids["simulation"]),
        "doctor": lambda c: c.doctor(),
        "verify": lambda c: c.verify("energy"),
        "stream": lambda c: c.stream("energy"),
        "dead_letters": lambda c: c.dead_letters("energy"),
        "resend": lambda c: c.resend("energy", places=[(0, 1)]),
        "audit": lambda c: c.audit(limit=1),
    }


FAILING: dict[str, type[HeadraceError]] = {
    "delete": NotFoundError,
    "compare": NotFoundError,  # there is one version
    "reject": ConflictError,  # it is the champion
    "rollback": NotFoundError,
    "stream": NotFoundError,  # there is no cluster
    "dead_letters": NotFoundError,
    "resend": NotFoundError,
}


def frame() -> Any:
    import polars as pl

    return pl.DataFrame(passengers(3, first=720_000), infer_schema_length=None)


class Noting(httpx.HTTPTransport):
    """The network, which notes what is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, str]] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.method, request.url.path))
        return super().handle_request(request)


def outcome(call: Callable[[Any], Any], client: Client) -> Any:
    try:
        value = call(client)
        return list(value) if isinstance(value, Iterator) else value
    except HeadraceError as error:
        return type(error), error.message


async def awaited(call: Callable[[Any], Any], client: AsyncClient) -> Any:
    try:
        value = call(client)
        return [item async for item in value] if isinstance(value, AsyncIterator) else await value
    except HeadraceError as error:
        return type(error), error.message


def test_every_route_has_a_method_and_both_clients_say_the_same(served: Server, known: dict[str, str]) -> None:
    table = calls(known)
    assert set(table) == {name for name, _ in inspect.getmembers(ClientCalls, inspect.isfunction) if name[0] != "_"}
    noting = Noting()
    with Client(served.url, token=WRITE, transport=noting) as client:
        one = {name: outcome(call, client) for name, call in table.items()}

    async def all_of_them() -> dict[str, Any]:
        async with AsyncClient(served.url, token=WRITE) as client:
            return {name: await awaited(call, client) for name, call in table.items()}

    other = asyncio.run(all_of_them())
    for name, said in one.items():
        assert (said[0] if isinstance(said, tuple) else None) is FAILING.get(name), (name, said)
        assert type(said) is type(other[name]), name
        if name not in CHANGING:
            same = said.equals(other[name]) if hasattr(said, "equals") else said == other[name]
            assert same, (name, said, other[name])
    document = httpx.get(f"{served.url}/openapi.json", headers={"authorization": f"Bearer {WRITE}"}).json()
    routes = {
        (method.upper(), re.sub(r"(?<=^/v1/systems/)(titanic|energy)(?=/)", "{name}", path))
        for path, item in document["paths"].items()
        if not OTHERS.search(path)
        for method in item
    }
    missing = {route for route in routes if not any(fits(route, each) for each in noting.asked)}
    assert missing == set()
    unknown = {each for each in noting.asked if not any(fits(route, each) for route in routes)}
    assert unknown == set()


def fits(route: tuple[str, str], asked: tuple[str, str]) -> bool:
    pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(route[1]))
    return route[0] == asked[0] and re.fullmatch(pattern, asked[1]) is not None


def test_pages_are_whole_and_in_order(served: Server) -> None:
    with Client(served.url, token=READ) as client:
        steps = list(client.iter_answers("energy", limit=50))
        assert len({step["id"] for step in steps}) == len(steps) == 144
        made = [(step["created_at"], step["id"]) for step in steps]
        assert made == sorted(made, reverse=True)
        listed = [row.keys for row in client.search_series("energy", order="name").rows]
        assert [row.keys for row in client.iter_series("energy", limit=1)] == listed
        worst = [row.value for row in client.iter_series("energy", order="worst", limit=1)]
        assert worst == sorted(worst, reverse=True)
        with pytest.raises(NotFoundError, match="cursor"):
            client.runs("energy", cursor="nonsense")


def test_what_did_not_change_is_not_sent_again(served: Server) -> None:
    with Client(served.url, token=READ) as client:
        first = client.models("energy")
        stored = client._held.stored(reading("/v1/systems/energy/models"))
        assert stored is not None
        answer = client._http.get("/v1/systems/energy/models", headers={"if-none-match": stored.tag})
        assert (answer.status_code, answer.content) == (304, b"")
        assert client.models("energy") == first


def test_a_change_is_kept_with_who_asked_for_it(served: Server) -> None:
    with Client(served.url, token=WRITE) as client, Client(served.url, token=READ) as viewer:
        assert viewer.rights().systems["energy"] == ["read", "predict"]
        with pytest.raises(AccessDeniedError, match="write") as refused:
            viewer.release("energy")
        assert refused.value.status == 403
        client.promote("energy", 1, by="Anna", reason="for the record")
        entry = viewer.audit(limit=1).entries[0]
        assert (entry.by, entry.action, entry.system, entry.target, entry.outcome) == (
            *("anna", "promote", "energy", "1", "done"),
        )
        assert entry.details == {"by": "Anna", "reason": "for the record"}
        with pytest.raises(ConflictError):
            client.reject("energy", 1)
        assert viewer.audit(limit=1).entries[0].outcome.startswith("409: ")
    with Client(served.url, token="nobody") as stranger, pytest.raises(AccessDeniedError) as denied:
        stranger.overview()
    assert denied.value.status == 401


def test_a_read_that_hangs_is_ended_and_the_next_one_answers(served: Server) -> None:
    with Client(served.url, token=READ) as client:
        client.status("energy")
        readers = readers_of(served.process.pid)
        assert len(readers) == 1
        subprocess.run(["kill", "-9", readers[0]], check=True)
        assert client.scores("energy", "series").rows  # not held from before
        assert readers_of(served.process.pid) != readers


def readers_of(server: int) -> list[str]:
    listed = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(server)], capture_output=True, text=True, check=True
    )
    return [line.split()[0] for line in listed.stdout.splitlines() if "spawn_main" in line]


def test_only_what_does_no_harm_twice_is_tried_again() -> None:
    asked: list[str] = []

    def away(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(503, json={"detail": "busy"}, headers={"retry-after": "0"})

    options = ClientOptions(retry=Retry(tries=3, first=0.001))
    with Client("http://nowhere", token="t", options=options, transport=httpx.MockTransport(away)) as client:
        for call, tries in ((lambda: client.status("s"), 3), (lambda: client.promote("s", 1), 1)):
            asked.clear()
            with pytest.raises(ServiceUnavailableError, match="busy"):
                call()
            assert len(asked) == tries
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with Client(url, options=options) as client, pytest.raises(ServiceUnavailableError, match="cannot be reached"):
        client.health()


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, {}, AccessDeniedError),
        (404, {"detail": "no"}, NotFoundError),
        (409, {"detail": "no"}, ConflictError),
        (422, {"detail": "no", "errors": [{"loc": ["body", "a"], "msg": "bad"}]}, RefusedRequestError),
        (429, {}, ThrottledError),
        (500, "<html>", ServiceUnavailableError),
        (503, {"error": "StoreError", "detail": "gone"}, ServiceError),
    ],
)
def test_every_problem_is_an_error_of_the_one_tree(status: int, body: Any, kind: type[HeadraceError]) -> None:
    content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    error = failed(posting("/v1/x"), httpx.Response(status, content=content, headers={"x-request-id": "r"}))
    if kind is ServiceError:
        assert type(error).__name__ == "StoreError"
        return
    assert type(error) is kind
    if isinstance(error, ServiceError):
        assert (error.status, error.request_id) == (status, "r")


def test_the_calls_of_an_event_loop_are_made_from_the_others() -> None:
    script = Path(__file__).resolve().parents[2] / "scripts" / "client_calls.py"
    assert subprocess.run([sys.executable, str(script), "--check"], check=False).returncode == 0
