"""Other projects' own clients against a running server: each must get what the server's JSON says, to the last bit.

    python clients.py http://localhost:8000

Run with the environment of `clients.lock`, as `scripts/protocols-check` makes it. The server serves titanic.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import requests
import tritonclient.http as triton
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse, MetadataModelResponse
from tritonclient.utils import InferenceServerException

SYSTEM = "titanic"
KINDS = {"i": "INT64", "f": "FP64"}


def passengers(first: int) -> pd.DataFrame:
    """Rows, some of whose values are missing."""
    count = 50
    return pd.DataFrame(
        {
            "PassengerId": range(first, first + count),
            "Pclass": [1 + place % 3 for place in range(count)],
            "Name": [f"Jämes {place}, {'Mr' if place % 2 else 'Miss'}. A" for place in range(count)],
            "Sex": ["male" if place % 2 else "female" for place in range(count)],
            "Age": [None if place % 5 == 0 else 20 + place / 3 for place in range(count)],
            "SibSp": [place % 2 for place in range(count)],
            "Parch": [0] * count,
            "Ticket": [f"T{place}" for place in range(count)],
            "Fare": [7.25 + place / 7 for place in range(count)],
            "Cabin": ["" if place % 3 else "C5" for place in range(count)],
        }
    )


def columns(frame: pd.DataFrame) -> Iterator[tuple[str, np.ndarray[Any, Any], str]]:
    """Name, values and datatype of each column."""
    for name in frame:
        kind = KINDS.get(frame[name].dtype.kind, "BYTES")
        yield str(name), frame[name].to_numpy() if kind != "BYTES" else frame[name].to_numpy(dtype=object), kind


def expected(url: str, frame: pd.DataFrame) -> list[dict[str, Any]]:
    """What the server's own JSON says."""
    rows = [{name: value for name, value in row.items() if value == value} for row in frame.to_dict(orient="records")]
    answer = requests.post(f"{url}/v1/systems/{SYSTEM}/predict", json=rows, timeout=60)
    answer.raise_for_status()
    found: list[dict[str, Any]] = answer.json()["predictions"]
    return found


def same(said: list[dict[str, Any]], name: str, values: list[Any]) -> None:
    """Whether a column is what was said."""
    wanted = [each[name] for each in said]
    assert values == wanted, (name, values[:3], wanted[:3])


def tritonclient(url: str) -> None:
    """tritonclient.http: metadata, tensors in bytes and in JSON, requested outputs, errors."""
    frame = passengers(1_000)
    said = expected(url, frame)
    client = triton.InferenceServerClient(url.removeprefix("http://"))
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(SYSTEM)
    assert not client.is_model_ready("nothing")
    version = client.get_model_metadata(SYSTEM)["versions"][0]
    assert client.get_model_repository_index()[0]["state"] == "READY"
    for binary in (True, False):
        inputs = []
        for name, values, kind in columns(frame):
            if kind == "FP64" and not binary:  # this client writes NaN as it is
                assert values.dtype == np.float64
            tensor = triton.InferInput(name, [len(values)], kind)
            tensor.set_data_from_numpy(values, binary_data=binary)
            inputs.append(tensor)
        for outputs in (None, [triton.InferRequestedOutput("probability", binary_data=binary)]):
            found = client.infer(SYSTEM, inputs, version, outputs=outputs, request_id="one")
            assert found.get_response()["id"] == "one"
            same(said, "probability", found.as_numpy("probability").tolist())
            if outputs is None:
                same(said, "key", found.as_numpy("key").tolist())
                same(said, "id", [each.decode() for each in found.as_numpy("id")])
    try:
        client.infer(SYSTEM, inputs[1:])
    except InferenceServerException as error:
        refused = str(error.message())
    else:
        refused = "nothing"
    assert "PassengerId" in refused, refused


def mlserver(url: str) -> None:
    """MLServer's types and codecs."""
    frame = passengers(2_000)
    said = expected(url, frame)
    inputs = [
        StringCodec.encode_input(name, list(values), use_bytes=False)
        if kind == "BYTES"
        else NumpyCodec.encode_input(name, values.reshape(-1, 1))
        for name, values, kind in columns(frame)
    ]
    body = InferenceRequest(inputs=inputs).model_dump_json()
    headers = {"content-type": "application/json"}
    answer = requests.post(f"{url}/v2/models/{SYSTEM}/infer", data=body, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    outputs = {each.name: each for each in InferenceResponse.model_validate_json(answer.text).outputs}
    same(said, "id", StringCodec.decode_output(outputs["id"]))
    same(said, "probability", NumpyCodec.decode_output(outputs["probability"]).tolist())
    MetadataModelResponse.model_validate_json(requests.get(f"{url}/v2/models/{SYSTEM}", timeout=60).text)


def mlflow(url: str) -> None:
    """MLflow's client of a model server."""
    frame = passengers(3_000)
    said = expected(url, frame)
    host, _, port = url.removeprefix("http://").partition(":")
    client = ScoringServerClient(host, int(port))
    client.ping()
    found = client.invoke(frame).get_predictions()
    for name in said[0]:
        same(said, name, found[name].tolist())


def main() -> int:
    """Try every client."""
    clients: tuple[Callable[[str], None], ...] = (tritonclient, mlserver, mlflow)
    for client in clients:
        client(sys.argv[1])
        print(f"{client.__name__}: the same predictions", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
