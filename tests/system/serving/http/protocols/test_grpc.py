"""The Open Inference Protocol over gRPC says what its REST form says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.ports import free_port
from tests.servers import TITANIC, Server, passengers, serving
from tests.system.serving.http.protocols.tensors import DATATYPES, columns, packed, texts, unpacked
from tests.waiting import until

from headrace.serving.http.grpc.messages import SERVICE, classes

grpc = pytest.importorskip("grpc", reason="needs headrace[grpc]")
ROWS = passengers(60, first=760_000)
TOKENS = {"reader": ["*:read"], "shop": ["titanic:predict"]}
OF = classes()


@pytest.fixture(scope="module")
def spoken(titanic_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Any]]:
    """A server that asks for tokens, and a channel to it."""
    import shutil

    home, port = Path(shutil.copytree(titanic_home, tmp_path_factory.mktemp("grpc") / "home")), free_port()
    with (
        serving(home, "--grpc-port", str(port), "--max-body", "300000", HEADRACE_TOKENS=json.dumps(TOKENS)) as server,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield server, channel


def call(channel: Any, name: str, request: Any = None, token: str | None = "shop", **metadata: str) -> Any:
    method = channel.unary_unary(
        f"/{SERVICE}/{name}",
        request_serializer=OF[f"{name}Request"].SerializeToString,
        response_deserializer=OF[f"{name}Response"].FromString,
    )
    given = [(key.replace("_", "-"), value) for key, value in metadata.items()]
    given += [("authorization", f"Bearer {token}")] if token else []
    return method(request if request is not None else OF[f"{name}Request"](), metadata=given, timeout=60)


def refused(channel: Any, name: str, request: Any, token: str | None = "shop", **metadata: str) -> str:
    with pytest.raises(grpc.RpcError) as error:
        call(channel, name, request, token, **metadata)
    return str(error.value.code().name)


def asked(rows: list[dict[str, Any]], *, raw: bool = True, **more: Any) -> Any:
    request = OF["ModelInferRequest"](model_name="titanic", **more)
    for name, datatype in DATATYPES.items():
        values = [row.get(name) for row in rows]
        tensor = request.inputs.add(name=name, datatype=datatype, shape=[len(rows)])
        if raw:
            request.raw_input_contents.append(packed(values, datatype))
        elif datatype == "BYTES":
            tensor.contents.bytes_contents.extend([(value or "").encode() for value in values])
        elif datatype == "FP64":
            tensor.contents.fp64_contents.extend([np.nan if value is None else value for value in values])
        else:
            tensor.contents.int64_contents.extend(values)
    return request


def outputs(response: Any) -> dict[str, list[Any]]:
    pairs = zip(response.outputs, response.raw_output_contents, strict=True)
    return {o.name: texts(data) if o.datatype == "BYTES" else unpacked(data, o.datatype) for o, data in pairs}


def test_the_same_predictions(spoken: tuple[Server, Any]) -> None:
    server, channel = spoken
    said = columns(server.post(ROWS, authorization="Bearer shop").json()["predictions"])
    response = call(channel, "ModelInfer", asked(ROWS, id="mine"))
    assert (response.model_name, response.model_version, response.id) == ("titanic", "1", "mine")
    assert outputs(response) == said
    assert outputs(call(channel, "ModelInfer", asked(ROWS, raw=False, model_version="1"))) == said
    request = asked(ROWS)
    request.outputs.add(name="probability")
    assert outputs(call(channel, "ModelInfer", request)) == {"probability": said["probability"]}
    own = outputs(call(channel, "ModelInfer", asked(ROWS), idempotency_key="called"))
    assert own["id"] != said["id"]
    again = server.post(ROWS, authorization="Bearer shop", idempotency_key="called").json()["predictions"]
    assert own["id"] == [each["id"] for each in again]


def test_what_is_told(spoken: tuple[Server, Any]) -> None:
    _, channel = spoken
    assert call(channel, "ServerLive", token=None).live
    assert call(channel, "ServerReady", token=None).ready
    assert call(channel, "ServerMetadata", token=None).name == "headrace"
    named = OF["ModelReadyRequest"](name="titanic")
    assert call(channel, "ModelReady", named, "reader").ready
    model = call(channel, "ModelMetadata", OF["ModelMetadataRequest"](name="titanic"), "reader")
    assert {each.name: each.datatype for each in model.inputs} == DATATYPES
    assert refused(channel, "ModelReady", named) == "PERMISSION_DENIED"
    assert refused(channel, "ModelMetadata", OF["ModelMetadataRequest"](name="x"), "reader") == "NOT_FOUND"
    assert refused(channel, "ModelReady", OF["ModelReadyRequest"](name="titanic", version="9"), "reader") == "NOT_FOUND"


def test_what_is_refused(spoken: tuple[Server, Any]) -> None:
    server, channel = spoken
    taken = [ROWS[0] | {"Age": 77.5}]
    infinite, lost, small, large = asked(ROWS[:1]), asked(ROWS[:1]), asked(ROWS[:1], raw=False), asked(ROWS[:1])
    infinite.raw_input_contents[list(DATATYPES).index("Age")] = packed([float("inf")], "FP64")
    del lost.raw_input_contents[3:]
    small.inputs[1].datatype = "INT8"
    small.inputs[1].contents.int_contents.append(300)
    large.raw_input_contents[list(DATATYPES).index("Name")] = packed(["x" * 400_000], "BYTES")
    call(channel, "ModelInfer", asked(ROWS[:1]))
    assert refused(channel, "ModelInfer", asked(ROWS[:1]), None) == "UNAUTHENTICATED"
    assert refused(channel, "ModelInfer", asked(ROWS[:1]), "reader") == "PERMISSION_DENIED"
    assert refused(channel, "ModelInfer", asked(taken)) == "ALREADY_EXISTS"
    assert refused(channel, "ModelInfer", asked(ROWS[:1], model_version="9")) == "NOT_FOUND"
    for bad in (infinite, lost, small, asked([]), asked([ROWS[0] | {"Pclass": 9}])):
        if bad.inputs and bad.inputs[0].shape[0]:
            assert refused(channel, "ModelInfer", bad) == "INVALID_ARGUMENT"
    assert refused(channel, "ModelInfer", large) == "RESOURCE_EXHAUSTED"
    assert refused(channel, "ModelInfer", asked(ROWS[:1]), idempotency_key="a b") == "INVALID_ARGUMENT"
    call(channel, "ModelInfer", asked(ROWS[:1]), x_request_id="called-1")
    line = server.line("called-1")
    assert (line["url.path"], line["client.ip"]) == (f"/{SERVICE}/ModelInfer", "127.0.0.1")


def test_a_port_that_is_taken(spoken: tuple[Server, Any], tmp_path: Path) -> None:
    server, _ = spoken
    taken = server.url.rpartition(":")[2]
    command = [sys.executable, "-m", "headrace", "serve", TITANIC, "--home", str(tmp_path), "--grpc-port", taken]
    done = subprocess.run(
        [*command, "--port", str(free_port())], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "--grpc-port" in done.stderr


def test_several_workers_with_tls_and_tokens_outlive_a_killed_one(home: Path, certificates: Path) -> None:
    """Calls fail for as long as the killed worker's connections do, and what was answered stands."""
    port = free_port()
    words = ["--workers", "2", "--grpc-port", str(port), "--access-log", "off", "--port", str(free_port())]
    for option, file in (("--tls-cert", "server.pem"), ("--tls-key", "server.key"), ("--tls-ca", "ca.pem")):
        words += [option, str(certificates / file)]
    command = [sys.executable, "-m", "headrace", "serve", TITANIC, "--home", str(home), *words]
    environment = os.environ | {"HEADRACE_TOKENS": json.dumps(TOKENS)}
    with (home / "serve.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        with secured(port, certificates) as channel:
            until(lambda: ready(channel), process)
            assert refused(channel, "ModelInfer", asked(ROWS[:1]), None) == "UNAUTHENTICATED"
            first = outputs(call(channel, "ModelInfer", asked(ROWS[:20])))
        until(lambda: len(listening(process.pid)) == 2)
        killed = listening(process.pid)
        os.kill(killed[0], signal.SIGKILL)
        assert inferred(port, certificates) == first, "by the other one"
        until(lambda: len(listening(process.pid)) == 2 and killed[0] not in listening(process.pid))
        os.kill(killed[1], signal.SIGKILL)
        assert inferred(port, certificates) == first, "by the one that was started in its place"
        with grpc.insecure_channel(f"127.0.0.1:{port}") as plain:
            assert refused(plain, "ServerLive", OF["ServerLiveRequest"]()) == "UNAVAILABLE"
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


def secured(port: int, certificates: Path) -> Any:
    """A channel of its own, whose client has a certificate."""
    ca, key, own = ((certificates / name).read_bytes() for name in ("ca.pem", "client.key", "client.pem"))
    alone = [("grpc.use_local_subchannel_pool", 1)]
    return grpc.secure_channel(f"127.0.0.1:{port}", grpc.ssl_channel_credentials(ca, key, own), options=alone)


def ready(channel: Any) -> bool:
    try:
        return bool(call(channel, "ServerReady", token=None).ready)
    except grpc.RpcError:
        return False


def inferred(port: int, certificates: Path) -> dict[str, list[Any]]:
    """The same rows by a new connection, once one is answered."""
    found: list[dict[str, list[Any]]] = []

    def answered() -> bool:
        try:
            with secured(port, certificates) as channel:
                found.append(outputs(call(channel, "ModelInfer", asked(ROWS[:20]))))
        except grpc.RpcError as error:
            if error.code().name != "UNAVAILABLE":
                raise
        return bool(found)

    until(answered)
    return found[0]


def listening(parent: int) -> list[int]:
    """The processes that speak gRPC for a server: those of its children that have the library."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(each) for each in children if "/cygrpc" in Path(f"/proc/{each}/maps").read_text()]
