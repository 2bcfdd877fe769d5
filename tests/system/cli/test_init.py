"""`init --data`: a declaration from a look at a file, which loads and runs."""

from __future__ import annotations

import csv
import gzip
import math
import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from tests.commands import headrace
from tests.servers import SMALL, TITANIC

import headrace as package
from headrace.features import CompileTarget
from headrace.loading import load_system

FIRST = datetime(2024, 1, 1, tzinfo=UTC)
NUMBERS = ("flipkart", "mercari", "load_type")
numbers = pytest.mark.skipif(not hasattr(package, "Regressor"), reason="needs numbers and several classes for rows")


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
    small = ("--set", "model.n_estimators=3", "--set", "model.max_rows=1000", "--as-of", "2024-01-30T00:00:00Z")
    assert headrace("run", "mine", "--json", *small).json["predictions"] == 24


@pytest.mark.parametrize(
    ("times", "step", "horizon"),
    [
        ([FIRST + timedelta(days=n) for n in range(60)], "1d", "14d"),
        ([FIRST + timedelta(weeks=n) for n in range(60)], "1w", "8w"),
        ([datetime(2015 + n // 12, n % 12 + 1, 1, tzinfo=UTC) for n in range(60)], "1mo", "6mo"),
        ([FIRST + timedelta(days=n) for n in range(60) if n % 7 < 5], "1b", "10b"),
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


@pytest.mark.parametrize(
    ("zone", "label", "declared"),
    [
        ("Europe/Copenhagen", "begin", 'zone="Europe/Berlin", ambiguous="in_order"'),
        ("Europe/London", "begin", 'zone="Europe/London", ambiguous="in_order"'),
        ("America/Chicago", "end", 'zone="America/New_York", label="end", ambiguous="in_order"'),
        ("UTC", "begin", 'zone="UTC"'),
        ("Asia/Tokyo", "begin", 'zone="UTC"'),
    ],
)
def test_local_times_tell_their_zone(zone: str, label: str, declared: str) -> None:
    there, length = ZoneInfo(zone), timedelta(hours=1)
    hours = [FIRST + n * length for n in range(24 * 330)]
    names = [h.astimezone(there).replace(tzinfo=None) + (length if label == "end" else timedelta(0)) for h in hours]
    lines = [f"{key},{name:%Y-%m-%d %H:%M},{n % 24}" for key in "ab" for n, name in enumerate(names)]
    text = made(["meter,at,load", *lines], "--target", "load", "--time", "at", "--keys", "meter")
    assert f'Column("at", "time", {declared})' in text
    assert ("the clocks change as in" in text) == (zone not in ("UTC", "Asia/Tokyo"))
    done = headrace("ingest", "mine", "--as-of", "2026-01-01T00:00:00Z", "--json")
    assert (done.json["ingested"], done.json["quarantined"]) == (2 * len(hours), 0)


def test_one_row_of_an_hour_that_happens_twice_and_no_zone_by_chance() -> None:
    hours = [FIRST + timedelta(hours=n) for n in range(24 * 330)]
    local = dict.fromkeys(h.astimezone(ZoneInfo("Europe/Paris")).strftime("%Y-%m-%d %H:%M") for h in hours)
    options = ("--target", "load", "--time", "at")
    text = made(["at,load", *(f"{name},{n % 24}" for n, name in enumerate(local))], *options)
    assert 'zone="Europe/Berlin", ambiguous="earliest"' in text
    assert headrace("ingest", "mine", "--as-of", "2026-01-01T00:00:00Z", "--json").json["quarantined"] == 0
    holes = random.Random(3).sample(hours, len(hours) * 9 // 10)
    lacking = [hour for hour in holes if (hour.month, hour.day, hour.hour) != (3, 31, 2)]
    lines = [f"{hour:%Y-%m-%d %H:%M},{hour.hour}" for hour in sorted(lacking)]
    assert 'zone="UTC"' in made(["at,load", *lines], *options, name="holes")


@pytest.mark.parametrize(
    ("names", "step"),
    [
        ([f"{y}-{m:02}" for y in range(2015, 2022) for m in range(1, 13)], "1mo"),
        ([f"{m}/{y}" for y in range(2015, 2022) for m in range(1, 13)], "1mo"),
        ([f"{date(y, m, 1):%b %Y}" for y in range(2015, 2022) for m in range(1, 13)], "1mo"),
        ([f"{y}Q{q}" for y in range(2005, 2022) for q in range(1, 5)], "1q"),
        ([str(y) for y in range(1960, 2022)], "1y"),
        ([f"{y}-W{w:02}" for y in range(2021, 2024) for w in range(1, 53)], "1w"),
    ],
)
def test_names_of_months_quarters_and_years(names: list[str], step: str) -> None:
    lines = [f"{name},{n % 7}" for n, name in enumerate(names)]
    assert f'step="{step}"' in made(["period,level", *lines], "--target", "level", "--time", "period")
    done = headrace("ingest", "mine", "--as-of", "2026-01-01T00:00:00Z", "--json")
    assert (done.json["ingested"], done.json["quarantined"]) == (len(names), 0)


def test_a_text_again_and_again_among_numbers_is_a_missing_value() -> None:
    lines = [f"{n},{n * 7 % 40 / 4 if n % 3 else 'not rated'},{n % 5 if n % 7 else '-'},{n % 2}" for n in range(300)]
    text = made(["id,rating,stars,bought", *lines], "--target", "bought", "--keys", "id")
    assert 'Column("rating", "float", missing=("not rated",), nullable=True)' in text
    assert 'Column("stars", "integer", missing=("-",), nullable=True)' in text
    assert headrace("ingest", "mine", "--json").json["quarantined"] == 0


def test_lines_of_a_declaration_fit() -> None:
    lines = [f"{(FIRST + timedelta(hours=n)):%d/%m/%y},{n % 24},{n % 9}" for n in range(24 * 400)]
    text = made(["dteday,hr,cnt", *lines], "--target", "cnt", "--time", "dteday,hr")
    assert "%H%M" not in text  # of one order of day and month one clock suffices
    assert max(len(line) for line in text.splitlines() if "file:" not in line) <= 120


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
        (("--target", "b", "--time", "a"), "such as 'x'"),
        (("--target", "a"), "'a' has 3 different values"),
        (("--target", "b", "--keys", "a"), "no column is left to learn from"),
        (("--like", "energy"), "leave out one of the two"),
    ):
        done = headrace("init", "mine", "--data", "data.csv", *options)
        assert (done.code, said in done.err) == (2, True), done.err
    for text, said in (
        ("a\n1\n2\n", "the file has one column"),
        ("a,b\n", "no rows to look at"),
        ("a,b\nx,u\nx,v\n", "no column looks like something to predict"),
        ("a,b,c\n" + "1,2,0.5\n" * 40 + "3,4,0.7\n" * 40, "no column tells the rows of the file apart"),
    ):
        Path("data.csv").write_text(text)
        done = headrace("init", "mine", "--data", "data.csv")
        assert (done.code, said in done.err) == (2, True), done.err
    assert not Path("systems").exists()
    assert headrace("init", "mine", "--target", "b").code == 2
    assert headrace("init", "mine", "--data", "none.csv", "--target", "b").code == 1


def test_what_is_not_named_is_proposed_with_the_reason() -> None:
    hours = [FIRST + timedelta(hours=n) for n in range(24 * 8)]
    rows = [f"{hour:%d/%m/%Y %H:%M},{shop},{hour.hour},{n}" for n, hour in enumerate(hours) for shop in ("a", "b")]
    Path("data.csv").write_text("\n".join(["at,shop,staff,sold", *(row for row in rows if "08/01/2024 03" not in row)]))
    made = headrace("init", "mine", "--data", "data.csv", "--json").json["findings"]
    seen = {each["what"]: (each["value"], each["why"]) for each in made}
    assert seen["target"][0] == "sold"
    assert "--target C predicts another" in seen["target"][1]
    assert (seen["time"][0], seen["keys"][0]) == ("at", "shop")
    assert "2 series" in seen["keys"][1]
    assert (seen["step"][0], seen["gaps"][0]) == ("1h", "0.5% of the steps")
    system = load_system("mine")
    assert (system.target, system.keys, system.step) == ("sold", ("shop",), timedelta(hours=1))


def test_columns_that_no_feature_reads_are_said() -> None:
    days = [f"2026-01-{day:02d},{shop},{day % 7},2.5,sun" for day in range(1, 31) for shop in "ab"]
    Path("data.csv").write_text("\n".join(["day,shop,sold,price,weather", *days]) + "\n")
    said = headrace("init", "mine", "--data", "data.csv", "--target", "sold", "--json").json
    found = {each["what"]: each["value"] for each in said["findings"]}
    assert found["left out"] == "price, weather"


def orders(count: int = 300) -> list[str]:
    """Orders at uneven times: an id of its own, when it was made and when it was sent, and whether it came back."""
    chance = random.Random(3)
    times = [FIRST + timedelta(minutes=37 * n + chance.randrange(37)) for n in range(count)]
    sent = [time + timedelta(hours=chance.randrange(5, 90)) for time in times]
    amounts = [chance.lognormvariate(3, 1) for _ in times]
    return [
        f"A{n:04},{time:%Y-%m-%d %H:%M},{late:%Y-%m-%d %H:%M},{'DK' if n % 3 else 'SE'},{amount:.2f},"
        + ("yes" if amount > 30 and n % 3 == 0 else "no")
        for n, (time, late, amount) in enumerate(zip(times, sent, amounts, strict=True))
    ]


ORDERS = "order_id,ordered_at,shipped_at,country,amount,returned"


def test_rows_with_ids_of_their_own_have_the_earliest_date_as_their_time(one_home: Path) -> None:
    text = made([ORDERS, *orders(), "A9999,2024-01-20 10:00,2024-01-22 10:00,SE,40.0,"])
    system = load_system("mine")
    assert (system.keys, system.time, system.target, system.step) == (("order_id",), "ordered_at", "returned", None)
    assert set(system.features) == {"country", "amount", "ordered_at_weekday", "ordered_at_hour"}
    assert "shipped_at" not in text
    done = headrace("run", "mine", "--home", one_home, "--json", "--as-of", "2024-02-01T00:00:00Z", *SMALL[TITANIC])
    assert done.code == 0, done.err
    assert (done.json["ingested"], done.json["quarantined"], done.json["predictions"]) == (301, 0, 1)


@pytest.mark.parametrize(
    ("options", "keys", "time", "step"),
    [
        (("--target", "returned"), ("order_id",), "ordered_at", None),
        (("--keys", "order_id", "--time", "shipped_at"), ("order_id",), "shipped_at", None),
        (("--time", "ordered_at", "--target", "amount"), (), "ordered_at", timedelta(hours=1)),
    ],
)
def test_what_is_named_decides_between_rows_and_series(
    options: tuple[str, ...], keys: tuple[str, ...], time: str, step: timedelta | None
) -> None:
    made([ORDERS, *orders()], *options)
    system = load_system("mine")
    assert (system.keys, system.time, system.step) == (keys, time, step)


@pytest.mark.parametrize(
    ("lines", "keys"),
    [
        ([f"{FIRST + timedelta(days=n):%d.%m.%Y},{n % 7},{'yes' if n % 7 > 4 else 'no'}" for n in range(60)], ("day",)),
        (
            [
                f"{FIRST + timedelta(days=n):%Y-%m-%d},{shop},{'yes' if n % 7 > 4 else 'no'}"
                for n in range(60)
                for shop in (1, 2)
            ],
            ("day", "staff"),
        ),
    ],
)
def test_a_date_is_the_time_of_rows_and_a_key_only_where_nothing_else_tells_them_apart(
    lines: list[str], keys: tuple[str, ...]
) -> None:
    text = made(["day,staff,busy", *lines], "--target", "busy")
    system = load_system("mine")
    assert (system.keys, system.time) == (keys, "day")
    assert 'Column("day", "time", zone="UTC"' in text
    assert '"day_weekday": weekday("UTC")' in text
    done = headrace("ingest", "mine", "--as-of", "2024-06-01T00:00:00Z", "--json")
    assert (done.json["ingested"], done.json["quarantined"]) == (len(lines), 0)


def test_readings_with_ids_of_their_own_stay_series() -> None:
    hours = [FIRST + timedelta(hours=n) for n in range(24 * 8)]
    lines = [f"{n:04x}f,{device},{hour.isoformat()},{n % 24}" for n, hour in enumerate(hours) for device in "ab"]
    lines = [f"{place}{line}" for place, line in enumerate(lines)]
    made(["uid,device,at,degrees", *lines])
    assert (load_system("mine").keys, load_system("mine").step) == (("device",), timedelta(hours=1))


def test_a_step_of_which_no_day_is_a_multiple_gets_a_horizon_that_is() -> None:
    made(["at,flow", *(f"{FIRST + timedelta(minutes=37 * n)},{n % 24}" for n in range(900))])
    system = load_system("mine")
    assert (system.step, system.horizon) == (timedelta(minutes=37), timedelta(minutes=37 * 24))


def test_a_day_is_read_in_one_way_where_no_clock_follows_it() -> None:
    lines = [f"{FIRST + timedelta(days=n):%d.%m.%Y},{n % 7}" for n in range(60)]
    assert "%H%M" not in made(["day,sold", *lines])


def test_a_file_without_names_is_refused_and_years_as_names_are_not() -> None:
    Path("data.csv").write_text("\n".join(f"{n / 7:.3f},{'ab'[n % 2]},{n % 5}.5" for n in range(1, 60)))
    done = headrace("init", "mine", "--data", "data.csv")
    assert (done.code, "the first line has values where names should be" in done.err) == (2, True)
    assert "0.143, b, 1.5: put a line above it" in done.err
    years = range(1990, 2021)
    lines = [",".join([land, *(str(n % 9 * place) for n in years)]) for place, land in enumerate(("DK", "SE"), 1)]
    Path("data.csv").write_text("\n".join([",".join(["land", *map(str, years)]), *lines]))
    assert headrace("init", "mine", "--data", "data.csv").code == 0


def test_a_row_for_each_series_becomes_a_row_for_each_value() -> None:
    series = [[name, *(str((n * place) % 24) for n in range(30 + 10 * place))] for place, name in enumerate("abc")]
    width = max(map(len, series))
    lines = [",".join(["meter", *(f"V{n}" for n in range(2, width + 1))])]
    Path("weekly.csv").write_text(
        "\n".join([*lines, *(",".join([*row, *[""] * (width - len(row))]) for row in series)])
    )
    assert headrace("init", "mine", "--data", "weekly.csv").code == 0
    system = load_system("mine")
    assert (system.step, system.keys) == (timedelta(weeks=1), ("meter",))
    done = headrace("ingest", "mine", "--as-of", "2024-06-01T00:00:00Z", "--json")
    assert (done.json["ingested"], done.json["quarantined"]) == (30 + 40 + 50, 0)


CODE = """\nimport pathlib\npathlib.Path('ran').touch()\n"""
"""What would leave a file behind if it ran."""


@pytest.mark.parametrize("before", ['"""', "'", '"', "\\", '\\"', '\\"""', "{", "\r", "`"])
def test_names_in_a_file_are_never_code(before: str, inside: Path) -> None:
    hostile = f"{before}{CODE}{before}"
    days = [f"2024-01-{day:02}" for day in range(1, 31)]
    series = [(day, key, place % 7 + 1.5) for place, day in enumerate(days) for key in ("a", "b")]
    rows = [(place, place % 3, place % 11 + 0.25) for place in range(200)]
    tables = {
        "series": [("day", f"k{hostile}", f"y{hostile}"), *series],
        "rows": [("id", f"x{hostile}", f"y{hostile}"), *rows],
        "wide": [(f"k{hostile}", *(f"v{place}" for place in range(1, 41))), *((f"s{n}", *range(40)) for n in range(3))],
    }
    for name, table in tables.items():
        path = inside / f"{name}{hostile.replace('/', '')}.csv"
        with path.open("w", newline="") as file:
            csv.writer(file).writerows(table)
        options = ("--target", f"y{hostile}", "--keys", "id") if name == "rows" else ()
        assert headrace("init", name, "--data", path, *options).code == 0
        assert load_system(name).name == name
    assert not (inside / "ran").exists()


@numbers
def test_what_makes_the_target_is_no_feature() -> None:
    lines = [f"r{n},{n % 11},{n % 7},{n % 11 + n % 7},{n % 5}" for n in range(400)]
    text = made(["id,casual,member,total,hum", *lines], "--target", "total", "--keys", "id")
    assert set(load_system("mine").features) == {"hum"}
    assert "model=Regressor(" in text


def things(count: int = 600) -> list[str]:
    """Things for sale: a path, a maker of very many, a title, a story, and what they cost; some for nothing."""
    chance = random.Random(5)
    kinds = ["Men/Shoes/Boots", "Men/Shoes/Sandals", "Men/Coats/Wool", "Home/Lamps/Desk", "Home/Lamps/Floor"] + [
        f"Home/Pots/No{n}" for n in range(10)
    ]
    lines = []
    for n in range(count):
        maker, price = f"maker{chance.randrange(90)}", 0 if n % 200 == 0 else round(chance.lognormvariate(3, 1), 2)
        story = " ".join(f"word{chance.randrange(400)}" for _ in range(20))
        title = f"a new thing {chance.randrange(10**6)}"
        lines.append(f"{n},{title},{chance.choice(kinds)},{maker},{n % 3 + 1},{story},{price}")
    return ["id,title,kind,maker,state,story,price", *lines]


def test_texts_paths_and_many_values_are_read_by_learners_that_suit() -> None:
    text = made(things(), "--target", "price")
    system = load_system("mine")
    assert list(system.features)[:7] == ["kind_1", "kind_2", "kind", "maker", "of_maker", "maker_frequency", "state"]
    assert '"words": ngrams("title", "maker", "story", words=(1, 2))' in text
    assert '"spelling": ngrams("title", "maker", words=None, characters=(2, 5))' in text
    assert [member.kind for member in system.model.members] == ["linear", "boosting", "factorisation"]
    assert 'Rules(levels=("kind_1", "kind_2", "kind"), by=("state",))' in text
    assert 'scale="log"' in text
    assert 'learn_from=col("price") > 0' in text


def guests(count: int = 400) -> list[str]:
    """Guests of parties: a name with a title, a ticket that a party shares, and who stayed."""
    chance = random.Random(2)
    lines = []
    for n in range(count):
        party, sex = n // 3, chance.choice(["f", "m"])
        title, stays = {"f": "Miss", "m": "Mr"}[sex], int(chance.random() < (0.8 if party % 2 else 0.3))
        lines.append(f'{n},"Family{chance.randrange(10**6)}, {title}. Robin Jo",T{party:04d}x,{sex},{n % 4},{stays}')
    return ["id,name,ticket,sex,floor of the house,stays", *lines]


def test_what_rows_share_and_what_stands_within_a_name_are_read() -> None:
    text = made(guests(), "--target", "stays", "--keys", "id")
    system = load_system("mine")
    assert {"name_2", "of_ticket", "ticket_frequency"} <= set(system.features)
    assert "towards=target_mean(join(col(" in text
    assert all(len(line) <= 120 for line in text.splitlines())
    frame = system.features.over(pl.read_csv("data.csv"), CompileTarget())
    assert frame["name_2"].unique().sort().to_list() == ["Miss", "Mr"]


def test_ids_that_nobody_shares_are_left_out() -> None:
    lines = [f"{n},T{n}x,{n % 5},{n % 2}" for n in range(200)]
    made(["id,ticket,size,late", *lines], "--target", "late", "--keys", "id")
    assert set(load_system("mine").features) == {"size"}


def test_several_classes_have_no_mean_and_no_factorisation() -> None:
    lines = things()
    classes = [lines[0] + ",outcome", *(f"{line},{'abc'[place % 3]}" for place, line in enumerate(lines[1:]))]
    text = made(classes, "--target", "outcome")
    assert [member.kind for member in load_system("mine").model.members] == ["linear", "boosting"]
    assert "target_mean" not in text
    assert '"price": col("price").log1p()' in text


REAL = {
    "titanic": ("titanic/train.csv", "Survived", 891),
    "steel": ("steel_industry/Steel_industry_data.csv.gz", "Usage_kWh", 2000),
    "bikes": ("bike_sharing/hour.csv.gz", "cnt", 2000),
    "retail": ("online_retail/OnlineRetail_sample.csv.gz", "Quantity", 6000),
    "flipkart": ("flipkart_products/flipkart_products.csv.gz", "discounted_price", 800),
    "mercari": ("mercari/train.tsv.gz", "price", 800),
    "pjm": ("pjme_hourly/PJME_hourly.csv.gz", "PJME_MW", 2000),
    "m4": ("m4_hourly/Hourly-train.csv.gz", "value", 6),
    "ett": ("ett/ETTh1.csv.gz", "OT", 2000),
    "de35": ("denmark_de35/ConsumptionDE35Hour.csv.gz", "TotalCon", 20_000),
    "households": ("denmark_private_hourly/ConsumptionIndustry_851_Privat.csv.gz", "ConsumptionkWh", 2000),
    "spot": ("denmark_private_hourly/ELSpotPrices_DK1.csv.gz", "SpotPriceEUR", 2000),
    "taxi": ("nab_streams/nyc_taxi.csv.gz", "value", 2000),
    "clicks": ("nab_streams/realAdExchange__exchange-3_cpc_results.csv.gz", "value", 1538),
    "machine": ("nab_streams/realKnownCause__machine_temperature_system_failure.csv.gz", "value", 2000),
    "requests": ("nab_streams/realAWSCloudwatch__elb_request_count_8c0756.csv.gz", "value", 2000),
    "load_type": ("steel_industry/Steel_industry_data.csv.gz", "Load_Type", 2000),
}


@pytest.fixture(scope="module")
def one_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's first start is slow: all systems share a home."""
    return tmp_path_factory.mktemp("real") / "home"


@pytest.mark.parametrize("name", [pytest.param(name, marks=numbers) if name in NUMBERS else name for name in REAL])
def test_a_real_file_gives_a_system_that_runs(
    name: str, one_home: Path, inside: Path, shared_data: Callable[[str], Path]
) -> None:
    file, target, rows = REAL[name]
    raw = shared_data(file)
    head = inside / raw.name.removesuffix(".gz")
    with gzip.open(raw, "rt") if raw.suffix == ".gz" else raw.open() as lines:
        head.write_text("".join(islice(lines, rows + 1)))
    options = ("--target", target) if name == "load_type" else ()
    made = headrace("init", name, "--data", head, *options)
    assert made.code == 0, made.err
    system = load_system(name)
    assert system.target == target
    quick = ("--set", "model.n_estimators=3", "--set", "model.max_rows=1000") if system.step else SMALL[TITANIC]
    done = headrace("run", name, "--home", one_home, "--json", *quick)
    assert done.code == 0, done.err
    assert done.json["trained"]
    assert done.json["quarantined"] <= done.json["ingested"] / 100
