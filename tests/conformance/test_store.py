"""What every storage back end of the store must do: one suite, run over a folder and over an object store."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ports import free_port
from tests.waiting import until

from headrace.errors import StoreTooNewError
from headrace.store import Store
from headrace.testing import StoreSuite
from headrace.testing.store import Place


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of an S3 server, in a process of its own: some calls of the libraries hold the GIL."""
    pytest.importorskip("moto.server")
    port = str(free_port())
    command = [
        sys.executable,
        "-c",
        "import moto.server as m, sys; m.main(sys.argv[1:])",
        "-H",
        "127.0.0.1",
        "-p",
        port,
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            until(lambda: listens(int(port)), server)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.kill()


def listens(port: int) -> bool:
    """Whether something takes connections at a port of this machine."""
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0


class TestStore(StoreSuite):
    @pytest.fixture(params=["folder", "s3"])
    def place(self, request: pytest.FixtureRequest, tmp_path: Path) -> Place:
        """A URI that nothing is at yet, and its storage options."""
        if request.param == "folder":
            return str(tmp_path / "store"), None
        import boto3

        endpoint = request.getfixturevalue("s3")
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys).create_bucket(Bucket="store")
        name = tmp_path.name.replace("_", "-").replace("[", "-").strip("]-")
        options = {**keys, "aws_region": "us-east-1", "aws_endpoint_url": endpoint, "aws_allow_http": "true"}
        return f"s3://store/{name}", options

    def test_a_newer_store_is_refused(self, store: Store, place: Place) -> None:
        store.table("energy", "raw")
        store._objects().put("format.json", b'{"format": 99}')
        with pytest.raises(StoreTooNewError, match="99"):
            Store(*place).table("energy", "raw")
