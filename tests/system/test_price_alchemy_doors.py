"""Listings as they come: what is odd is priced, what cannot be is refused, with the same words at every door."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient
from tests.commands import headrace
from tests.servers import PRICES, PRICES_SMALL, prices_template

from headrace.home import PREDICTIONS, QUARANTINE, Home
from headrace.loading import load_system
from headrace.serving.http.app import Application
from headrace.serving.http.options import Options
from headrace.settings import Settings
from headrace.sources import simulated

AS_OF = datetime(2026, 3, 2, tzinfo=UTC)
BAG = {
    "name": "leather bag new",
    "item_condition_id": 1,
    "category_name": "Women/Dresses/Tote",
    "brand_name": "Dafi",
    "shipping": 1,
    "item_description": "Never used, with tags.",
}
PRICED: dict[str, dict[str, Any]] = {
    "as usual": {},
    "an unseen brand": {"brand_name": "Zzyzx & Sons"},
    "no brand": {"brand_name": None},
    "an unseen category": {"category_name": "Boats/Sails/Spinnaker"},
    "no category": {"category_name": None},
    "one level of a category": {"category_name": "Women"},
    "five levels": {"category_name": "Women/Dresses/Tote/Red/Small"},
    "no description": {"item_description": None},
    "a description of 1 MB": {"item_description": "a very long story " * 58_000},
    "emoji": {"name": "👜 bag 🔥", "item_description": "❤" * 40},
    "control characters": {"name": "bag\x07\x01", "item_description": "one\x1b[31mtwo\x7f"},
    "NUL": {"name": "bag\x00bag", "item_description": "\x00"},
    "right to left": {"name": "حقيبة يد", "item_description": "תיק \u202eabc"},
    "separators of lines": {"item_description": "one\u2028two\u2029three\x85four\nfive\ttab"},
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "condition 9": ({"item_condition_id": 9}, "item_condition_id: is not one of 1, 2, 3, 4, 5"),
    "no name": ({"name": ""}, "name: is missing"),
    "a blank name": ({"name": " \t "}, "name: is missing"),
    "shipping 2": ({"shipping": 2}, "shipping: is not one of 0, 1"),
    "a number below 0": ({"train_id": -1}, "train_id: is below the minimum 0"),
    "a price below 0": ({"price": -3.0}, "price: is below the minimum 0"),
}
"""What is refused, and the reason that a request gets; a file's quarantine names the value beside it."""


def small(home: Path, command: str, *arguments: object, as_of: datetime = AS_OF) -> Any:
    """A command on price_alchemy with a small model, as JSON."""
    when = ("--as-of", as_of.isoformat()) if command != "evaluate" else ()
    return headrace(command, PRICES, "--home", home, "--json", *PRICES_SMALL, *when, *arguments)


@dataclass
class World:
    """A home with a model, what answers for it, and a folder for files."""

    home: Path
    client: TestClient
    folder: Path
    numbers: Iterator[int]

    def row(self, **changes: Any) -> dict[str, Any]:
        return {"train_id": next(self.numbers), **BAG, **changes}

    def post(self, body: Any, route: str = "/v1/systems/price_alchemy/predict", **headers: str) -> Any:
        given = {"content-type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        return self.client.post(route, content=body if isinstance(body, bytes) else json.dumps(body), headers=given)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("prices")
    home = Path(shutil.copytree(prices_template(tmp_path_factory.getbasetemp()), folder / "home"))
    system = load_system(PRICES, [word for word in PRICES_SMALL if word != "--set"])
    application = Application(
        [system], Home(Settings(home=home)), Options(access_log="off"), registry=CollectorRegistry()
    )
    with TestClient(application) as client:
        yield World(home, client, folder, iter(range(5_000_000, 6_000_000)))


def answer(told: Any) -> tuple[float, float, float]:
    return told["price"], told["lower"], told["upper"]


def test_what_is_odd_is_priced_alike_at_every_door(world: World) -> None:
    rows = [world.row(**changes) for changes in PRICED.values()]
    told = [world.post(row) for row in rows]
    assert {each.status_code for each in told} == {200}
    answers = [answer(each.json()) for each in told]
    assert all(3 <= lower <= price <= upper <= 2500 for price, lower, upper in answers)

    again = [world.row(**changes) for changes in PRICED.values()]
    many = world.post([{name: row[name] for name in row} for row in again]).json()["predictions"]
    assert [answer(each) for each in many] == answers

    records = [world.row(**changes) for changes in PRICED.values()]
    mlflow = world.post({"dataframe_records": records}, "/invocations").json()["predictions"]
    assert [answer(each) for each in mlflow] == answers

    columns = [world.row(**changes) for changes in PRICED.values()]
    tensors = {
        "inputs": [
            {"name": name, "datatype": kind, "shape": [len(columns)], "data": [row[name] for row in columns]}
            for name, kind in KINDS.items()
        ]
    }
    outputs = world.post(tensors, "/v2/models/price_alchemy/infer").json()["outputs"]
    spoken = {each["name"]: each["data"] for each in outputs}
    assert list(zip(spoken["price"], spoken["lower"], spoken["upper"], strict=True)) == answers

    frame = pl.DataFrame([world.row(**changes) for changes in PRICED.values()], infer_schema_length=None)
    buffer = io.BytesIO()
    frame.write_ipc_stream(buffer)
    arrow = world.post(buffer.getvalue(), content_type="application/vnd.apache.arrow.stream", accept="application/json")
    assert [answer(each) for each in arrow.json()["predictions"]] == answers


KINDS = {
    "train_id": "INT64",
    "name": "BYTES",
    "item_condition_id": "INT64",
    "category_name": "BYTES",
    "brand_name": "BYTES",
    "shipping": "INT64",
    "item_description": "BYTES",
}


def test_a_file_is_priced_as_requests_are(world: World, tmp_path: Path) -> None:
    rows = [world.row(**changes) for changes in PRICED.values()]
    answers = [answer(world.post(row).json()) for row in rows]
    for row in rows:
        row["train_id"] += 1_000_000
    lines = tmp_path / "odd.jsonl"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    ran = small(world.home, "predict", "--source", f"file:{lines}")
    assert (ran.code, ran.json["quarantined"]) == (0, 0), ran.err
    first, last = rows[0]["train_id"], rows[-1]["train_id"]
    table = Home(Settings(home=world.home)).table("price_alchemy", PREDICTIONS)
    stored = {each["train_id"]: answer(each) for each in table.collect(table.scan()).to_dicts()}
    assert [stored[number] for number in range(first, last + 1)] == answers


def test_what_cannot_be_is_refused_with_its_reason_at_every_door(world: World, tmp_path: Path) -> None:
    rows = {name: world.row(**changes) for name, (changes, _) in REFUSED.items()}
    for name, row in rows.items():
        reason = REFUSED[name][1]
        one, many = world.post(row), world.post([row])
        assert (one.status_code, one.json()["detail"]) == (422, reason), name
        assert many.status_code == 422
        assert reason in many.text, name
        mlflow = world.post({"dataframe_records": [row]}, "/invocations")
        assert mlflow.status_code in (400, 422)
        assert reason in mlflow.text, name
        inputs = [
            {"name": column, "datatype": KINDS.get(column, "FP64"), "shape": [1], "data": [value]}
            for column, value in row.items()
        ]
        tensors = world.post({"inputs": inputs}, "/v2/models/price_alchemy/infer")
        assert tensors.status_code in (400, 422)
        assert reason in tensors.text, name
    lines = tmp_path / "bad.jsonl"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows.values()), encoding="utf-8")
    ran = small(world.home, "predict", "--source", f"file:{lines}", "--set", "contract.max_invalid_fraction=1")
    assert (ran.code, ran.json["quarantined"], ran.json["ingested"]) == (0, len(rows), 0), ran.err
    home = Home(Settings(home=world.home)).table("price_alchemy", QUARANTINE)
    reasons = [reason for each in home.collect(home.scan())["reasons"].to_list() for reason in each]
    columns = sorted(reason.partition(":")[0] for reason in reasons)
    assert columns == sorted(reason.partition(":")[0] for _, reason in REFUSED.values())


SERVED = """
import json, sys
from pathlib import Path
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient
from headrace.home import Home
from headrace.loading import load_system
from headrace.serving.http.app import Application
from headrace.serving.http.options import Options
from headrace.settings import Settings
system, home, row = sys.argv[1:]
here = Home(Settings(home=Path(home)))
application = Application([load_system(system)], here, Options(access_log="off"), registry=CollectorRegistry())
with TestClient(application) as client:
    answer = client.post("/v1/systems/price_alchemy/predict", json=json.loads(row))
    assert answer.status_code == 200, answer.text
print(sorted({name.partition(".")[0] for name in sys.modules} & {"sklearn", "pandas", "optuna", "mlflow"}))
"""


def test_a_listing_is_priced_without_what_trained_the_model(world: World) -> None:
    row = json.dumps({"train_id": 77_000_001, **BAG})
    arguments = [sys.executable, "-c", SERVED, str(PRICES), str(world.home), row]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_a_body_that_is_too_large_or_half_a_pair_is_refused(world: World) -> None:
    large = world.post(world.row(item_description="b" * 5_000_000))
    assert large.status_code == 413
    half = json.dumps(world.row()).replace("leather", "\\ud800").encode()
    told = world.post(half)
    assert (told.status_code, told.json()["detail"]) == (422, "name: holds half a surrogate pair")


def test_the_same_listing_again_is_the_same_answer_and_another_a_conflict(world: World) -> None:
    row = world.row()
    first = world.post(row)
    assert world.post(row).content == first.content
    assert world.post(row | {"brand_name": "other"}).status_code == 409


# --- what files bring to a training ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def listed() -> pl.DataFrame:
    rows = simulated.listings(as_of=AS_OF - timedelta(days=2), rows=300, unsold=0, zero=0).drop("known_at")
    return rows.with_columns(train_id=pl.int_range(pl.len()))


def trained(folder: Path, rows: pl.DataFrame, *more: object) -> Any:
    rows.write_csv(folder / "rows.tsv", separator="\t")
    return small(folder / "home", "run", "--source", f"file:{folder / 'rows.tsv'}", *more)


@pytest.mark.parametrize(
    ("price", "ingested", "reason"),
    [
        ("0", 300, None),
        ("-4", 299, "price: -4.0 is below the minimum 0"),
        ("cheap", 299, "price: 'cheap' is not a number"),
        ("1e9", 299, "price: 1000000000.0 is above the maximum 2500"),
        ("NaN", 299, "price: 'NaN' is not a finite number"),
    ],
)
def test_a_price_that_cannot_be_is_set_apart_and_the_others_are_learnt_from(tmp_path, listed, price, ingested, reason):
    rows = listed.with_columns(
        pl.when(pl.col("train_id") == 7).then(pl.lit(price)).otherwise(pl.col("price").cast(pl.String)).alias("price")
    )
    rows.write_csv(tmp_path / "rows.tsv", separator="\t")
    ran = small(tmp_path / "home", "ingest", "--source", f"file:{tmp_path / 'rows.tsv'}")
    assert (ran.code, ran.json["ingested"], ran.json["quarantined"]) == (0, ingested, 300 - ingested), ran.err
    if reason is not None:
        table = Home(Settings(home=tmp_path / "home")).table("price_alchemy", QUARANTINE)
        assert table.collect(table.scan())["reasons"].to_list() == [[reason]]


def test_the_same_number_twice_is_one_listing_or_a_contradiction(tmp_path: Path, listed: pl.DataFrame) -> None:
    twice = pl.concat([listed, listed.head(3)])
    ran = trained(tmp_path, twice)
    assert (ran.code, ran.json["ingested"], ran.json["quarantined"]) == (0, 300, 0), ran.err
    other = pl.concat([listed, listed.head(3).with_columns(price=pl.lit(99.0))])
    (tmp_path / "other").mkdir()
    ran = trained(tmp_path / "other", other)
    assert (ran.code, ran.json["ingested"], ran.json["quarantined"]) == (0, 297, 6), ran.err


@pytest.mark.parametrize(
    "change",
    [pl.lit(None, pl.String).alias("brand_name"), pl.lit("Women/Shoes/Boots").alias("category_name")],
    ids=["no brand at all", "one category"],
)
def test_columns_that_tell_nothing_are_no_reason_to_fail(tmp_path: Path, listed: pl.DataFrame, change: pl.Expr) -> None:
    ran = trained(tmp_path, listed.with_columns(change), "--set", "contract.rules=[]")
    assert ran.code == 0, ran.err
    assert ran.json["model"]["version"] == 1


def test_no_row_at_all_breaks_the_contract_and_trains_nothing(tmp_path: Path, listed: pl.DataFrame) -> None:
    ran = trained(tmp_path, listed.head(0))
    assert (ran.code, ran.json["error"]) == (3, "ContractBroken")
    assert not Home(Settings(home=tmp_path / "home")).registry.versions("price_alchemy")


def test_a_price_that_is_learnt_after_the_sale_is_scored(world: World, tmp_path: Path) -> None:
    row = world.row()
    posted = world.post(row).json()
    assert headrace("export", PRICES, "--home", world.home, "--json", *PRICES_SMALL).code == 0
    now = datetime.now(UTC) + timedelta(minutes=5)
    sold = tmp_path / "sold.jsonl"
    sold.write_text(json.dumps({**row, "price": 30.0}) + "\n", encoding="utf-8")
    when = ("--simulated",)
    ran = small(world.home, "ingest", "--source", f"file:{sold}", *when, as_of=now)
    assert (ran.code, ran.json["ingested"]) == (0, 1), ran.err
    told = small(world.home, "monitor", *when, as_of=now)
    assert told.code == 0, told.err
    assert told.json["matured"] >= 1
    listed = headrace(
        "predictions", PRICES, "--home", world.home, "--json", "--with-actual", "--where", f"train_id={row['train_id']}"
    )
    (scored,) = [each for each in listed.json if each["train_id"] == row["train_id"]]
    assert (scored["actual"], scored["price"]) == (30.0, posted["price"])
