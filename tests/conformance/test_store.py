"""What every storage back end of the store must do: one suite, run over a folder and over an object store."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from tests.ports import free_port
from tests.waiting import until

from headrace.errors import HeadraceError, NotFoundError, StoreTooNewError
from headrace.store import FeatureGroup, FeatureView, Store, Table, Upkeep, Written, location
from headrace.store.verify import check, restore

START = datetime(2023, 1, 1, tzinfo=UTC)
TIME = pl.Datetime("us", "UTC")


def hourly(n: int, value: float | None = None, known_after: int = 1) -> pl.DataFrame:
    """Three series at hour `n`."""
    at = START + timedelta(hours=n)
    rows = [(f"s{i}", at, at + timedelta(hours=known_after), n + i / 10 if value is None else value) for i in range(3)]
    return pl.DataFrame(
        rows, schema={"key": pl.String, "time": TIME, "known_at": TIME, "value": pl.Float64}, orient="row"
    )


def append(table: Table, frame: pl.DataFrame) -> Written:
    """Append with the identity (key, time)."""
    return table.append(frame, identity=["key", "time"], compare=["value"], window="time")


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


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, str] | None]:
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


@pytest.fixture
def store(place: tuple[str, dict[str, str] | None]) -> Store:
    uri, options = place
    return Store(uri, options, upkeep=Upkeep(small_files=4, keep_files=timedelta(), keep_log=timedelta()))


def test_facts_are_appended_once_and_read_by_time_and_version(store: Store) -> None:
    table = store.table("energy", "raw")
    assert not table.exists()
    assert table.version() == 0
    with pytest.raises(NotFoundError):
        table.scan()
    for n in range(6):  # compacts on its way
        assert append(table, hourly(n)) == Written(n + 1, 3, 0)
        assert append(table, hourly(n)) == Written(n + 1, 0, 3)
    assert append(table, hourly(2, value=-1.0, known_after=9)) == Written(7, 3, 0)
    by = {"identity": ["key", "time"], "where": pl.col("time") == START + timedelta(hours=2)}
    assert table.read(**by)["value"].to_list() == [-1.0] * 3
    assert table.read(**by, version=6)["value"].to_list() == [2.0, 2.1, 2.2]
    assert table.read(**by, as_of=START + timedelta(hours=10))["value"].to_list() == [2.0, 2.1, 2.2]
    assert table.read(identity=["key", "time"], version=2).height == 6
    assert table.compact()
    assert table.read(identity=["key", "time"], version=2).height == 6
    assert table.versions()["rows"].to_list() == [3] * 7
    assert store.systems() == ["energy"]


def test_writers_at_once_lose_and_double_nothing(place: tuple[str, dict[str, str] | None]) -> None:
    # Compacts all the time, but keeps what it replaced for the others' reads, as the defaults do.
    store = Store(*place, upkeep=Upkeep(small_files=4))
    failures: list[HeadraceError] = []

    def write(start: int) -> None:
        try:
            for n in range(start, start + 5):
                append(store.table("energy", "raw"), hourly(n))
        except HeadraceError as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(start,)) for start in (0, 2, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    stored = store.table("energy", "raw").scan().collect()
    assert stored.height == 9 * 3
    assert stored.select("key", "time").is_unique().all()


def test_features_join_as_they_were_known(store: Store) -> None:
    lags = FeatureGroup(store, "energy", "lags", keys=["key"], time="time", columns={"value": pl.Float64()})
    for n in range(3):
        lags.write(hourly(n))
    spine = pl.DataFrame({"key": ["s1", "s0"], "time": [START + timedelta(hours=2), START + timedelta(hours=9)]})
    made = FeatureView("v", [(lags, ["value"])]).training_set(spine.cast({"time": TIME}))
    assert made.frame["value"].to_list() == [1.1, 2.0]
    assert made.pins == {"lags": 3}


def test_a_newer_store_is_refused(store: Store, place: tuple[str, dict[str, str] | None]) -> None:
    store.table("energy", "raw")
    store._objects().put("format.json", b'{"format": 99}')
    with pytest.raises(StoreTooNewError, match="99"):
        Store(*place).table("energy", "raw")


def change(place: tuple[str, dict[str, str] | None], name: str, how: str) -> None:
    """Flip a bit of a file of the store, shorten it, or take it away."""
    uri, options = place
    objects = location.objects(uri, options or {})
    content = bytearray(objects.get(name).bytes())
    content[len(content) // 2] ^= 1
    if how == "gone":
        objects.delete(name)
    else:
        objects.put(name, bytes(content if how == "flipped" else content[:-7]))


@pytest.mark.parametrize("how", ["flipped", "shortened", "gone"])
@pytest.mark.parametrize("what", ["data", "commit", "mark"])
def test_verify_finds_what_changed(place: tuple[str, dict[str, str] | None], what: str, how: str) -> None:
    table = Store(*place).table("energy", "raw")
    for n in range(5):
        append(table, hourly(n))
    for deep in (False, True):
        assert check(table, deep=deep).problems == ()
        assert check(table, deep=deep).rows == 15
    data = table.files()["path"][0]
    name = {"data": f"raw/{data}", "commit": f"raw/_delta_log/{5:020}.json", "mark": "_tables/raw.json"}[what]
    change(place, f"energy/{name}", how)
    problems = check(table, deep=True).problems
    assert name.removeprefix("raw/") in " ".join(problems) or "behind its records" in problems[0]
    if (what, how) != ("data", "flipped"):  # of which only the bytes tell
        assert check(table).problems
    if what != "data":
        restore(table)
        assert check(table, deep=True).problems == ()
        assert append(table, hourly(9)).added == 3
