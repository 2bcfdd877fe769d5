"""`init --data`: a declaration from a look at a file, which loads and runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.cli.helpers import headrace

from headrace.loading import load_system

FIRST = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(lines: list[str], *options: str, name: str = "mine") -> str:
    """The source of a system made from a file of these lines."""
    Path("data.csv").write_text("\n".join(lines) + "\n")
    done = headrace("init", name, "--data", "data.csv", *options)
    assert done.code == 0, done.err
    return (Path("systems") / name / "system.py").read_text()


def test_a_lone_hourly_series_runs_as_it_is() -> None:
    hours = (FIRST + timedelta(hours=n) for n in range(24 * 30))
    lines = [f"{hour:%Y-%m-%d %H:%M:%S},{100 + 10 * math.sin(hour.hour / 4):.3f},x" for hour in hours]
    text = made(["when,load,note", *lines], "--target", "load", "--time", "when")
    assert "keys=()," in text
    assert "note" not in text
    system = load_system("mine")
    assert (system.step, system.horizon, system.keys) == (timedelta(hours=1), timedelta(hours=24), ())
    small = ("--set", "model.trees=3", "--set", "model.max_rows=1000", "--as-of", "2024-01-30T00:00:00Z")
    assert headrace("run", "mine", "--json", *small).json["predictions"] == 24


@pytest.mark.parametrize(
    ("times", "step", "horizon"),
    [
        ([FIRST + timedelta(days=n) for n in range(60)], "1d", "14d"),
        ([FIRST + timedelta(weeks=n) for n in range(60)], "1w", "8w"),
        ([datetime(2015 + n // 12, n % 12 + 1, 1, tzinfo=UTC) for n in range(60)], "1mo", "6mo"),
        ([FIRST + timedelta(minutes=15 * n) for n in range(600)], "15m", "24h"),
    ],
)
def test_steps_are_seen_in_the_times(times: list[datetime], step: str, horizon: str) -> None:
    lines = [f"{key},{time.isoformat()},{n % 7}" for n, time in enumerate(times) for key in ("a", "b")]
    text = made(["shop,day,sold", *lines], "--target", "sold", "--time", "day", "--keys", "shop")
    assert f'step="{step}"' in text
    assert f'horizon="{horizon}"' in text
    assert load_system("mine").keys == ("shop",)


@pytest.mark.parametrize(
    ("form", "declared"),
    [
        ("%d/%m/%Y %H:%M", "%d/%m/%Y %H:%M"),
        ("%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M"),
        ("%d.%m.%y %H:%M:%S", "%d.%m.%y %H:%M:%S"),
        ("%s", "epoch_s"),
        ("%m/%d/%Y %I:%M %p", "%m/%d/%Y %I:%M %p"),
        ("%Y%m%d %H", "%Y%m%d %H"),
    ],
)
def test_the_format_of_times_is_seen(form: str, declared: str) -> None:
    lines = [f"{(FIRST + timedelta(hours=n)).strftime(form)},{n % 24}" for n in range(24 * 30)]
    text = made(["at,load", *lines], "--target", "load", "--time", "at")
    assert f'format="{declared}")' in text
    assert 'step="1h"' in text
    done = headrace("ingest", "mine", "--as-of", "2024-03-01T00:00:00Z", "--json")
    assert (done.json["ingested"], done.json["quarantined"]) == (720, 0)


def test_a_format_that_could_be_another_is_said() -> None:
    lines = [f"{day:02}/01/2024,{day}" for day in range(1, 13)]
    assert 'or the format is "%m/%d/%Y"' in made(["at,load", *lines], "--target", "load", "--time", "at")


def test_a_date_and_an_hour_in_two_columns_and_a_decimal_comma() -> None:
    hours = (FIRST + timedelta(hours=n) for n in range(24 * 30))
    lines = [f"{hour:%d/%m/%y};{hour.hour};{hour.hour},5" for hour in hours]
    text = made(["day;hour;load", *lines], "--target", "load", "--time", "day,hour")
    assert 'columns={"time": ("day", "hour")}' in text
    assert 'Column("load", "float", decimal=",")' in text
    done = headrace("ingest", "mine", "--as-of", "2024-03-01T00:00:00Z", "--json")
    assert (done.json["ingested"], done.json["quarantined"]) == (720, 0)


def test_events_are_put_together() -> None:
    lines = [f"{(FIRST + timedelta(minutes=7 * n * n % 130_000)).isoformat()},A{n % 2},{n}" for n in range(3000)]
    text = made(["at,shop,sold", *lines], "--target", "sold", "--time", "at", "--keys", "shop")
    assert 'Column("sold", "float", aggregate="sum", empty="zero")' in text
    assert 'step="1d"' in text
    done = headrace("ingest", "mine", "--as-of", "2024-06-01T00:00:00Z", "--json")
    assert (done.json["ingested"], done.json["quarantined"]) == (3000, 0)


def test_rows_of_two_classes() -> None:
    lines = [f"o-{n},{n % 5},{'red' if n % 3 else 'blue'},{n * 0.5 if n % 4 else ''},{n % 2}" for n in range(300)]
    text = made(["order,size,colour,price,bought", *lines], "--target", "bought", "--keys", "order")
    assert 'Column("price", "float", nullable=True)' in text
    assert 'Column("colour", "category")' in text
    assert set(load_system("mine").features) == {"size", "colour", "price"}


def test_a_new_system_is_what_its_declaration_says() -> None:
    made(["id,x,y", *(f"{n + 1},{n % 5},{n % 2}" for n in range(100))], "--target", "y", "--keys", "id")
    system = load_system("mine")
    assert system.schedule.train is None  # no other file says otherwise
    assert next(column.type for column in system.contract.columns if column.called == "id") == "integer"
    text = made(
        ["id,x,y", *(f"0{n},{n % 5},{n % 2}" for n in range(100))], "--target", "y", "--keys", "id", name="texts"
    )
    assert 'Column("id", "category")' in text


def test_what_cannot_be_declared_is_said() -> None:
    Path("data.csv").write_text("a,b\nx,1\ny,2\nz,3\n")
    for options, said in (
        (("--target", "c"), "there is no column 'c'"),
        (("--target", "b", "--time", "a"), "are times"),
        (("--target", "b"), "need a key"),
        (("--target", "b", "--keys", "a"), "3 different values"),
        ((), "add --target"),
    ):
        done = headrace("init", "mine", "--data", "data.csv", *options)
        assert (done.code, said in done.err) == (2, True), done.err
    assert not Path("systems").exists()
    assert headrace("init", "mine", "--target", "b").code == 2
    assert headrace("init", "mine", "--data", "none.csv", "--target", "b").code == 1


def test_real_files(shared_data: Callable[[str], Path]) -> None:
    load = shared_data("pjme_hourly/PJME_hourly.csv.gz")
    assert headrace("init", "pjm", "--data", load, "--target", "PJME_MW", "--time", "Datetime").code == 0
    assert load_system("pjm").step == timedelta(hours=1)
    shop = shared_data("online_retail/OnlineRetail_sample.csv.gz")
    options = ("--data", shop, "--target", "Quantity", "--time", "InvoiceDate", "--keys", "Country")
    assert headrace("init", "shop", *options).code == 0
    assert load_system("shop").step == timedelta(days=1)
    ship = shared_data("titanic/train.csv")
    assert headrace("init", "ship", "--data", ship, "--target", "Survived", "--keys", "PassengerId").code == 0
    assert "Pclass" in set(load_system("ship").features)
