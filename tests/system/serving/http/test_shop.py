"""A system unlike titanic: two keys, a time, classes that are texts, a slow feature, a scikit-learn estimator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.commands import headrace
from tests.servers import SMALL, Server, serving

SHOP = str(Path(__file__).with_name("shop"))
ROUTE = "/v1/systems/shop/predict"
SMALL[SHOP] = ()
START = datetime(2026, 1, 1, tzinfo=UTC)


def baskets(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Baskets with known ends."""
    random = np.random.default_rng(seed)
    return [
        {
            "shop": str(random.choice(["north", "süd"])),
            "basket": f"b{seed}-{n}",
            "at": (START + timedelta(minutes=7 * n)).isoformat().replace("+00:00", "Z"),
            "value": (value := round(float(random.gamma(2, 20)), 2)),
            "items": None if random.random() < 0.1 else int(random.integers(0, 5)),
            "member": [True, False, None][random.integers(3)],
            "coupon": "SPRING" if random.random() < 0.3 else None,
            "bought": "yes" if random.random() < value / 80 else "no",
        }
        for n in range(count)
    ]


def file(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"file:{path}"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    source = file(folder / "baskets.jsonl", baskets(200))
    done = headrace("run", SHOP, "--home", folder / "home", "--json", "--source", source)
    assert done.code == 0, done.err
    return folder / "home"


@pytest.fixture(scope="module")
def shop(home: Path) -> Iterator[Server]:
    with serving(home, systems=(SHOP,)) as server:
        yield server


def post(shop: Server, body: Any) -> Any:
    with shop.client() as client:
        return client.post(ROUTE, json=body)


def test_rows_are_answered_as_in_batch(shop: Server, home: Path) -> None:
    rows = [{k: v for k, v in row.items() if k != "bought"} for row in baskets(60, seed=1)]
    alone = [post(shop, row).json() for row in rows[:20]]
    said = alone + post(shop, rows[20:]).json()["predictions"]
    assert said[0]["key"] == [rows[0]["shop"], "b1-0"]
    assert {each["bought"] for each in said} == {"yes", "no"}
    assert all((each["bought"] == "yes") == (each["probability"] >= 0.4) for each in said)
    source = file(home.parent / "new.jsonl", rows)
    assert headrace("predict", SHOP, "--home", home, "--json", "--source", source).code == 0
    found = headrace("predictions", SHOP, "--home", home, "--json").json
    batch = {row["basket"]: row for row in found if row["door"] == "batch"}
    for each in said:
        stored = batch[each["key"][1]]
        assert (stored["probability"], stored["bought"]) == (each["probability"], each["bought"])
    for each in said[::7]:
        again = headrace("replay", each["id"], "--home", home, "--json")
        assert (again.code, again.json["identical"]) == (0, True), again.out + again.err
    assert headrace("export", SHOP, "--home", home, "--json").json["exported"] == 60


ROW = {k: v for k, v in baskets(1, seed=2)[0].items() if k != "bought"}


@pytest.mark.parametrize(
    ("changes", "at"),
    [
        ({"at": "yesterday"}, "at"),
        ({"at": "2026-01-01T00:00:00"}, "at"),
        ({"at": "9999-12-31T23:59:59-14:00"}, "at"),
        ({"at": "0001-01-01T00:00:00+14:00"}, "at"),
        ({"at": "2026-02-30T00:00:00Z"}, "at"),
        ({"at": "x" * 100_000}, "at"),
        ({"at": 5}, "at"),
        ({"at": ""}, "at"),
        ({"shop": "  "}, "shop"),
        ({"basket": ""}, "basket"),
        ({"coupon": "spring"}, "coupon"),
        ({"member": 1}, "member"),
        ({"value": -0.01}, "value"),
        ({"bought": "maybe"}, "bought"),
    ],
)
def test_other_types_are_refused_by_name(shop: Server, changes: dict[str, Any], at: str) -> None:
    answer = post(shop, [ROW, ROW | changes])
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["loc"] == ["body", 1, at]


@pytest.mark.parametrize(
    "changes",
    [
        {"items": 0},
        {"value": 1.7e308, "items": 1},
        {"value": 0.0, "items": 0},
        {"items": -(2**63)},
        {"at": "2026-01-01T00:00:00.123456+05:30"},
        {"at": "1700-01-01T00:00:00Z"},
        {"shop": "unknown", "coupon": "", "member": None} | {"coupon": None},
        {"items": "", "coupon": " "},
        {"basket": '"]\x00,["'},
    ],
)
def test_odd_values_have_an_answer(shop: Server, changes: dict[str, Any]) -> None:
    row = ROW | {"basket": f"odd {changes}"} | changes
    answer = post(shop, row)
    assert answer.status_code == 200, answer.text
    assert 0 < answer.json()["probability"] < 1
    assert post(shop, [row, *baskets(30, seed=3)]).json()["predictions"][0] == answer.json()
    assert shop.get(f"/v1/predictions/{answer.json()['id']}").status_code == 200


def test_times_are_the_same_whatever_their_zone(shop: Server) -> None:
    first = post(shop, ROW | {"basket": "zoned", "at": "2026-01-01T12:00:00Z"})
    assert post(shop, ROW | {"basket": "zoned", "at": "2026-01-01T17:30:00+05:30"}).content == first.content
