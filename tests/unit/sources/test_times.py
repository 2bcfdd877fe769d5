"""Times as sources have them: in two columns, and counted since 1970; headers that read the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from headrace.contract import Column, Contract, Validation, check
from headrace.contract.row import RowDecoder
from headrace.contract.times import as_written
from headrace.errors import DeclarationError
from headrace.grid import Cadence, Grid
from headrace.sources import Source, open_source
from headrace.sources.events import EventDecoder, EventShape

NOW = datetime(2026, 6, 1, tzinfo=UTC)
TIME = datetime(2026, 1, 2, 5, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
STEP = Cadence(HOUR)


def checked(path: Path, column: Column, source: Source, *more: Column, **about: Any) -> Validation:
    records = open_source(source, f"file:{path}").read(as_of=NOW, now=NOW)
    return check(Contract(columns=(column, *more), max_invalid_fraction=1), records.frame, as_of=NOW, now=NOW, **about)


def test_bike_sharing_has_a_date_and_an_hour(shared_data: Callable[[str], Path]) -> None:
    path = shared_data("bike_sharing/hour.csv.gz")
    column = Column("time", "time", zone="America/New_York", format="%d/%m/%y %H", ambiguous="in_order")
    source = Source(columns={"time": ("dteday", "hr"), "hour": "hr"})
    found = checked(
        path, column, source, Column("hour", "integer"), Column("cnt", "integer"), time="time", grid=Cadence(HOUR)
    )
    assert found.good.height == found.rows - 1
    assert found.bad["reasons"][0][0].startswith("time: '06/11/11 1' happens twice in America/New_York")
    plain = Column("time", "time", zone="UTC", format="%d/%m/%y %H")
    found = checked(
        path, plain, source, Column("hour", "integer"), Column("cnt", "integer"), time="time", grid=Cadence(HOUR)
    )
    assert (found.good.height, found.bad.height) == (found.rows, 0)
    assert found.good["time"][0] == datetime(2011, 1, 1, tzinfo=UTC)
    assert (found.good["time"].dt.hour() == found.good["hour"]).all()


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("day,at,x\n2026-01-02,05:30,1\n", None),
        ("day;at;x\n02.01.2026;5:30;1\n", "%d.%m.%Y %H:%M"),
        ("day,at,x\n20260102, 0530 ,1\n", "%Y%m%d %H%M"),
        ("day\tat\tx\n01/02/2026\t5:30 AM\t1\n", "%m/%d/%Y %I:%M %p"),
    ],
)
def test_two_columns_make_a_time(tmp_path: Path, text: str, form: str | None) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text)
    found = checked(path, Column("time", "time", zone="UTC", format=form), Source(columns={"time": ("day", "at")}))
    assert found.good["time"].to_list() == [TIME]
    assert found.bad.height == 0


@pytest.mark.parametrize(
    ("day", "hour", "form"),
    [
        (date(2026, 1, 2), clock(5, 30), None),
        (datetime(2026, 1, 2), clock(5, 30), None),  # noqa: DTZ001
        (date(2026, 1, 2), "05:30", "%Y-%m-%d %H:%M"),
        (20260102, 530.0, None),
    ],
)
def test_two_typed_columns_make_a_time(tmp_path: Path, day: Any, hour: Any, form: str | None) -> None:
    pl.DataFrame({"day": [day], "at": [hour]}).write_parquet(tmp_path / "x.parquet")
    if day == 20260102:
        pl.DataFrame({"day": [day], "at": [5.0]}).write_parquet(tmp_path / "x.parquet")
        form = "%Y%m%d %H"
    source = Source(columns={"time": ("day", "at")})
    found = checked(tmp_path / "x.parquet", Column("time", "time", zone="UTC", format=form), source)
    assert found.good["time"].to_list() == [TIME if day != 20260102 else TIME - timedelta(minutes=30)]


def test_half_a_time_is_none(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"day": "2026-01-02", "hr": 5}\n{"day": "2026-01-02"}\n{"hr": 3}\n{"day": "soon", "hr": 1}\n')
    column, source = Column("time", "time", zone="UTC", format="%Y-%m-%d %H"), Source(columns={"time": ("day", "hr")})
    found = checked(path, column, source)
    assert found.good["time"].to_list() == [datetime(2026, 1, 2, 5, tzinfo=UTC)]
    assert [list(each) for each in found.bad["reasons"]] == [
        ["time: is missing"],
        ["time: is missing"],
        ["time: 'soon 1' is not a time of the form %Y-%m-%d %H"],
    ]
    assert json.loads(found.bad["row"][0])["day"] == "2026-01-02"


SIZES = {"epoch_s": 1, "epoch_ms": 1_000, "epoch_us": 1_000_000, "epoch_ns": 1_000_000_000}


@pytest.mark.parametrize("form", SIZES)
def test_counts_since_1970_at_every_door(tmp_path: Path, form: str) -> None:
    column = Column("time", "time", format=form)
    count = int(TIME.timestamp()) * SIZES[form]
    files: dict[str, Any] = {
        "text.csv": f"time\n{count}\n {count} \n",
        "text.jsonl": f'{{"time": {count}}}\n{{"time": "{count}"}}\n',
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    whole = pl.Series([count, count])
    kinds = {"int": whole, "float": whole.cast(pl.Float64), "unsigned": whole.cast(pl.UInt64)}
    kinds |= {"text": whole.cast(pl.String), "typed": pl.Series([TIME, TIME])}
    for name, series in kinds.items():
        series.alias("time").to_frame().write_parquet(tmp_path / f"{name}.parquet")
    for path in tmp_path.iterdir():
        found = checked(path, column, Source())
        assert found.good["time"].to_list() == [TIME, TIME], path.name
    decode = RowDecoder(Contract(columns=(column,)))
    for value in (count, float(count), str(count), f" {count} "):
        assert decode({"time": value}) == ({"time": TIME}, [])


def test_parts_of_a_count(tmp_path: Path) -> None:
    moment = datetime(2026, 1, 2, 5, 30, 0, 123456, tzinfo=UTC)
    (tmp_path / "x.csv").write_text(f"time\n{moment.timestamp():.6f}\n{moment.timestamp() / 1e9:.15f}e9\n")
    found = checked(tmp_path / "x.csv", Column("time", "time", format="epoch_s"), Source())
    assert found.good["time"].to_list() == [moment, moment]


@pytest.mark.parametrize("bad", ["soon", "2026-01-02T05:30:00Z", "nan", "inf", "1e300", True, [1], 10**30, "0x10"])
def test_what_is_no_count_is_said_alike(tmp_path: Path, bad: Any) -> None:
    column = Column("time", "time", format="epoch_ms")
    (tmp_path / "x.jsonl").write_text(json.dumps({"time": bad}) + "\n")
    found = checked(tmp_path / "x.jsonl", column, Source())
    assert found.bad.height == 1
    _, faults = RowDecoder(Contract(columns=(column,)))({"time": bad})
    assert found.bad["reasons"][0][0].endswith(faults[0]["msg"].partition(", but")[0])
    assert "milliseconds since 1970" in faults[0]["msg"] or "years 1 to 9999" in faults[0]["msg"]


@pytest.mark.parametrize("form", [None, *SIZES, "%d/%m/%Y %H:%M", "%Y-%m-%dT%H:%M:%S %z"])
@pytest.mark.parametrize("moment", [TIME, TIME.replace(microsecond=123456)])
def test_what_is_written_is_read(form: str | None, moment: datetime) -> None:
    column = Column("time", "time", zone="Europe/Copenhagen", format=form)
    (written,) = as_written(column, pl.Series([moment]).dt.cast_time_unit("us").dt.convert_time_zone("UTC")).to_list()
    row, faults = RowDecoder(Contract(columns=(column,)))({"time": written if form else written.isoformat()})
    exact = form is None or form in SIZES
    assert (row, faults) == ({"time": moment if exact else moment.replace(microsecond=0)}, [])


def test_events_count_their_times() -> None:
    columns = (Column("series", "category"), Column("time", "time", format="epoch_ms"), Column("value", "float"))
    zero = timedelta(0)
    shape = EventShape(Contract(columns=columns), ("series",), "time", ("value",), Grid(HOUR), zero, zero, zero)
    decode, at = EventDecoder(shape), datetime(2026, 1, 2, 5, tzinfo=UTC)
    count = int(at.timestamp() * 1000)
    bodies = [json.dumps({"series": "a", "time": t, "value": 1.5}).encode() for t in (count, float(count), str(count))]
    for given in (bodies, [*bodies, b"\xef\xbb\xbf" + bodies[0]]):
        events = decode(given, [2**50] * len(given))
        assert events.bad == []
        assert set(events.at.tolist()) == {count * 1000}
    wrong = [json.dumps({"series": "a", "time": t, "value": 1.5}).encode() for t in (True, "soon", None, count + 1, "")]
    told = [reason for _, reason in decode(wrong, [2**50] * 5).bad]
    assert told == [
        "time: is not a time in milliseconds since 1970",
        "time: 'soon' is not a time in milliseconds since 1970",
        "time: is missing",
        f"time: {count + 1} is not a multiple of the step 1h",
        "time: is missing",
    ]


@pytest.mark.parametrize("form", ["epoch", "ms", "yyyy-mm-dd"])
def test_a_format_that_is_none_is_refused(form: str) -> None:
    with pytest.raises(DeclarationError, match=f"'{form}' is none") as caught:
        Contract(columns=(Column("t", "time", format=form),))
    assert caught.value.where == "contract.columns[0].format"


def test_a_format_that_cannot_be_read_is_a_mistake_of_the_declaration(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("t\n2026\n")
    with pytest.raises(DeclarationError, match="no time can be read by the format"):
        checked(tmp_path / "x.csv", Column("t", "time", zone="UTC", format="%Y-%m-%d %I:%M"), Source())


@pytest.mark.parametrize("header", ["ma\u030aned", " m\u00e5ned", "m\u00e5ned\u00a0", "\ufeffm\u00e5ned "])
def test_headers_that_read_the_same_are_the_same(tmp_path: Path, header: str) -> None:
    (tmp_path / "x.csv").write_text(f"n,{header}\n1,2\n")
    for name in ("m\u00e5ned", "ma\u030aned"):
        assert checked(tmp_path / "x.csv", Column(name, "float"), Source()).good[name].to_list() == [2.0]
        source = Source(columns={"month": name})
        assert checked(tmp_path / "x.csv", Column("month", "float"), source).good["month"].to_list() == [2.0]
