"""Where a server listens, and the options that it is told by words and by variables."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.commands import headrace
from tests.ports import free_port
from tests.servers import PREDICT, SMALL, TITANIC, passengers
from tests.services import missing
from tests.waiting import PATIENCE, until

from headrace.cli.flags import ADDRESS, LIMITS, read
from headrace.errors import ConfigError, UsageError
from headrace.serving.http.binding import Binding
from headrace.serving.http.options import Options
from headrace.settings import OF_SERVE

FLAGS = [flag for groups in (ADDRESS, LIMITS) for flags in groups.values() for flag in flags]


def started(home: Path, *words: str, **environment: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "headrace", "serve", TITANIC, "--home", str(home), *SMALL[TITANIC], *words]
    with (home / "serve.log").open("wb") as log:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log, env=os.environ | environment)


def is_ready(client: httpx.Client, path: str = "/ready") -> bool:
    try:
        return client.get(path).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def stopped() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Servers, ended after the test."""
    made: list[subprocess.Popen[bytes]] = []
    yield made
    for each in made:
        each.kill()
        each.wait()


def test_tls_asks_for_a_certificate_and_a_proxy_takes_off_a_path(
    home: Path, certificates: Path, stopped: list[subprocess.Popen[bytes]]
) -> None:
    if not socket.has_ipv6:
        missing("needs IPv6")
    port = free_port()
    tls = [f"--tls-{name}={certificates / file}" for name, file in (("cert", "server.pem"), ("key", "server.key"))]
    words = ["--host", "::1", "--port", str(port), *tls, f"--tls-ca={certificates / 'ca.pem'}", "--root-path", "/ml"]
    stopped.append(started(home, *words))
    trusted = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    trusted.load_cert_chain(certificates / "client.pem", certificates / "client.key")
    (row,) = passengers(1)
    with httpx.Client(base_url=f"https://[::1]:{port}", verify=trusted, timeout=PATIENCE) as client:
        until(lambda: is_ready(client), stopped[0])
        assert client.post(PREDICT, json=row).status_code == 200
        assert (
            client.post(PREDICT, content=b"[1" * 30_000, headers={"content-type": "application/json"}).status_code
            == 400
        )
        assert client.get("/").json()["docs"] == "/ml/docs"
        assert f"https://[::1]:{port}/ml/v1/systems" in client.get("/docs").text
    nobody = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    with httpx.Client(base_url=f"https://[::1]:{port}", verify=nobody) as client, pytest.raises(httpx.TransportError):
        client.get("/health")
    with httpx.Client(base_url=f"http://[::1]:{port}") as client, pytest.raises(httpx.TransportError):
        client.get("/health")


def test_a_unix_socket_is_taken_and_given_back(
    home: Path, tmp_path: Path, stopped: list[subprocess.Popen[bytes]]
) -> None:
    path = tmp_path / "door.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))  # by a server that was killed
    stopped.append(started(home, "--workers", "2", HEADRACE_UDS=str(path), HEADRACE_MAX_ROWS="3"))
    (row,) = passengers(1)
    with httpx.Client(base_url="http://x", transport=httpx.HTTPTransport(uds=str(path)), timeout=PATIENCE) as client:
        until(lambda: is_ready(client), stopped[0])
        assert client.post(PREDICT, json=row).status_code == 200
        assert client.post(PREDICT, json=[row] * 4).status_code == 413
    done = headrace("serve", TITANIC, "--home", home, "--uds", path)
    assert (done.code, "choose another --uds" in done.err) == (2, True)
    stopped[0].terminate()
    assert stopped[0].wait(PATIENCE) == 0
    assert not path.exists()


def test_every_option_is_a_word_and_a_variable() -> None:
    fields = {*Options.model_fields, *Binding.model_fields} - {"tokens", "logged"}
    assert {flag.name for flag in FLAGS} == fields == set(OF_SERVE)
    shown = headrace("serve", "--help")
    assert shown.code == 0
    for heading in (*ADDRESS, *LIMITS):
        assert f"\n{heading}:\n" in shown.out
    for flag in FLAGS:
        assert f"  {flag.option} {flag.metavar} " in shown.out
    assert max(map(len, shown.out.splitlines())) <= 80
    assert "Bytes" not in shown.out.split("--max-body", 1)[1][:5]
    assert "[4194304]" in shown.out


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("max_body", "2048", 2048),
        ("head_timeout", "1.5", 1.5),
        ("cors", "https://a, https://b", ("https://a", "https://b")),
        ("public", "docs,metrics", ("docs", "metrics")),
        ("rate", "0.5", 0.5),
        ("access_log", "inputs", "inputs"),
        ("uds", "/run/x.sock", Path("/run/x.sock")),
    ],
)
def test_a_word_wins_over_a_variable(monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: object) -> None:
    model = Options if name in Options.model_fields else Binding
    assert getattr(read(model, {name: text}, {}), name) == value
    monkeypatch.setenv(f"HEADRACE_{name.upper()}", text)
    assert getattr(read(model, {name: None}, {}), name) == value
    monkeypatch.setenv(f"HEADRACE_{name.upper()}", "-1" if name != "cors" else "http://c")
    assert getattr(read(model, {name: text}, {}), name) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("max_body", each) for each in ("0", "x", "1e3", "-5")),
        *(("port", each) for each in ("0", "65536", "http")),
        *(("access_log", "yes"), ("public", "all"), ("rate", "0"), ("root_path", "ml"), ("root_path", "/ml/")),
    ],
)
def test_what_does_not_fit_is_named(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    model = Options if name in Options.model_fields else Binding
    with pytest.raises(UsageError, match="--" + name.replace("_", "-")):
        read(model, {name: text}, {})
    monkeypatch.setenv(f"HEADRACE_{name.upper()}", text)
    with pytest.raises(ConfigError, match=f"HEADRACE_{name.upper()}"):
        read(model, {}, {})


def test_the_variables_of_a_cluster_are_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_PORT", "tcp://10.0.0.1:80")
    assert read(Binding, {}, {}).port == 8000


@pytest.mark.parametrize(
    "words",
    [
        ("--tls-cert", "nothing.pem"),
        ("--tls-cert", "nothing.pem", "--tls-key", "nothing.key"),
        ("--tls-cert", "README.md", "--tls-key", "README.md"),
        ("--host", "no.such.host.invalid"),
        ("--host", "203.0.113.7"),
        ("--uds", "/nothing/there.sock"),
        ("--max-body", "5"),
    ],
    ids=" ".join,
)
def test_an_address_that_cannot_be_is_told_without_a_traceback(home: Path, words: tuple[str, ...]) -> None:
    done = headrace("serve", TITANIC, "--home", home, *words)
    assert done.code == 2, done.err
    assert "Traceback" not in done.err
