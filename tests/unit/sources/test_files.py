"""Files: what is read right, and what is refused with a reason."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.contract import Column, Contract, check
from headrace.errors import SourceError, UsageError
from headrace.grid import Grid
from headrace.sources import Records, Source, open_source
from headrace.sources.delimited import read_delimited

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def read(path: Path | str, source: Source | None = None) -> Records:
    return open_source(source or Source(), f"file:{path}").read(as_of=NOW, now=NOW)


def put(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)
    return path


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "X.CSV", "x.v1.csv"])
def test_csv_stays_text(tmp_path: Path, name: str) -> None:
    data = b'\xef\xbb\xbfcode,text\r\n0101,"a ""b""\r\nc"\r\n,NA\r\n" 7 ",x\xe2\x80\xa8y\r\n'
    path = tmp_path / name
    path.write_bytes(gzip.compress(data, mtime=0) if name.endswith("gz") else data)
    frame = read(path).frame
    assert frame.rows() == [("0101", 'a "b"\r\nc'), (None, "NA"), (" 7 ", "x\u2028y")]
    assert frame.columns == ["code", "text"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.csv", "a;b\n1,5;2\n"),
        ("x.txt", "a|b\n1,5|2\n"),
        ("x.tsv", "a\tb\n1,5\t2\n"),
        ("x.csv", "a\tb\n1,5\t2\n"),
        ("x.csv", '"a,x";b\n"1,5";2\n'.replace("a,x", "a")),
    ],
)
def test_delimiters(tmp_path: Path, name: str, text: str) -> None:
    assert read(put(tmp_path, name, text.encode())).frame.rows() == [("1,5", "2")]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('a,b\n1,5" pipe\n2,6" pipe\n', [("1", '5" pipe'), ("2", '6" pipe')]),
        ("a,b\n1,2\n\n3,4\n\n\n", [("1", "2"), ("3", "4")]),
        ("a\n1\n\n2\n", [("1",), ("2",)]),
        ('a,b\n"",x\n1,""\n', [(None, "x"), ("1", None)]),
        ('a,b\n"x\n\ny",1\n', [("x\n\ny", "1")]),
        ('"a\nb",c\n1,2\n', [("1", "2")]),
        ("a,b\n1,\n2,3", [("1", None), ("2", "3")]),
        ("a,b\r1,2\r3,4\r", [("1", "2"), ("3", "4")]),
        ("a,b\n", []),
        ("a,b", []),
    ],
)
def test_odd_but_right(tmp_path: Path, text: str, rows: list[tuple[str | None, ...]]) -> None:
    if "\r" in text:
        text = text.replace("a,b\r", "a,b\n")
    assert read(put(tmp_path, "x.csv", text.encode())).frame.rows() == rows


@pytest.mark.parametrize(
    ("name", "data", "what"),
    [
        ("x.csv", b"", "empty"),
        ("x.csv", b"\n\n", "empty"),
        ("x.csv.gz", b"", "empty"),
        ("x.csv", b"a,b,a\n1,2,3\n", "two columns are called 'a'"),
        ("x.csv", b'a,b\n1,"open\n2,3\n', "line 2"),
        ("x.csv", b'a,b\n1,"ab"c\n', "line 2"),
        ("x.csv", b"a,b\n1,\xff\xfe\n", "line 2: the byte 0xff is not UTF-8"),
        ("x.csv", gzip.compress(b"a,b\n1,2\n", mtime=0), "gzipped"),
        ("x.jsonl", b'\n{"a":\n', "line 2 is not JSON"),
        ("x.jsonl", b"[1]\n", "line 1 is not a JSON object"),
        ("x.jsonl", b'{"a": ["\\ud800"]}', "line 1 is not JSON"),
        ("x.jsonl", b"[" * 100_000, "line 1 is not JSON"),
        ("x.parquet", b"PAR1 no", "Parquet"),
        ("x.parquet.gz", b"garbage", "Parquet"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, data: bytes, what: str) -> None:
    path = put(tmp_path, name, data)
    with pytest.raises(SourceError, match=what) as caught:
        read(path)
    assert caught.value.where == str(path)
    assert caught.value.exit_code == 1


def test_truncated_and_damaged_gzip(tmp_path: Path) -> None:
    whole = gzip.compress(b"a,b\n" + b"1,2\n" * 1000, mtime=0)
    for cut in (5, 12, len(whole) // 2, len(whole) - 1):
        path = tmp_path / "cut.csv.gz"
        path.write_bytes(whole[:cut])
        with pytest.raises(SourceError, match=r"gzip file is (truncated|damaged)"):
            read(path)
    path.write_bytes(b"a,b\n1,2\n")
    with pytest.raises(SourceError, match="damaged"):
        read(path)
    path.write_bytes(whole[:30] + bytes(8) + whole[38:])
    with pytest.raises(SourceError, match="gzip file"):
        read(path)


def test_missing_and_folders(tmp_path: Path) -> None:
    put(tmp_path, "there.csv", b"a\n1\n")
    with pytest.raises(SourceError) as caught:
        read(tmp_path / "gone.csv")
    assert "there.csv" in str(caught.value.hint)
    with pytest.raises(SourceError, match="no such file"):
        read(tmp_path / "nowhere" / "gone.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(SourceError, match="folder"):
        read(tmp_path / "folder.csv")


@pytest.mark.parametrize(
    "uri",
    [
        "api",
        "duckdb:x.db",
        "postgresql://h/d",
        "kafka://h:1",
        "x.csv",
        "file:",
        "file:x.xlsx",
        "file://h/x.csv",
    ],
)
def test_uris_that_are_not_supported(uri: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_source(Source(), uri)
    assert caught.value.hint


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "a b.csv", b"a\n1\n")
    monkeypatch.chdir(tmp_path)
    assert read("a b.csv").origin == "file:a b.csv"
    assert read(f"//{tmp_path}/a%20b.csv").frame.height == 1
    assert Source(uri="file:a b.csv").uri is not None
    assert open_source(Source(uri="file:a b.csv")).read(as_of=NOW, now=NOW).frame.height == 1
    with pytest.raises(UsageError, match="no zone"):
        open_source(Source(), "file:a b.csv").read(as_of=datetime(2026, 1, 1), now=NOW)  # noqa: DTZ001


def test_json_lines_keep_what_was_written(tmp_path: Path) -> None:
    first, second = '{"a": 1.10, "b": "x\u2028y"}', '{"a": NaN, "c": true, "d": {"e": [1]}}'
    lines = f'{first}\r\n\n{second}\n{{"a": 123456789012345678901}}'
    frame = read(put(tmp_path, "x.jsonl.gz", lines.encode())).frame
    assert frame.to_dicts() == [
        {"a": "1.10", "b": "x\u2028y", "c": None, "d": None},
        {"a": "NaN", "b": None, "c": "true", "d": '{"e": [1]}'},
        {"a": "123456789012345678901", "b": None, "c": None, "d": None},
    ]


@pytest.mark.parametrize("name", ["x.parquet", "x.parquet.gz"])
def test_parquet_keeps_types(tmp_path: Path, name: str) -> None:
    buffer = io.BytesIO()
    frame = pl.DataFrame({"t": [NOW], "n": [1], "s": ["0101"]})
    frame.write_parquet(buffer)
    assert read(put(tmp_path, name, buffer.getvalue())).frame.equals(frame)


def test_columns_are_renamed(tmp_path: Path) -> None:
    path = put(tmp_path, "x.csv", b"HourUTC,time,a,b\n1,2,3,4\n")
    source = Source(columns={"time": "HourUTC", "a": "b", "b": "a", "gone": "nothing"}, known_at="a")
    records = read(path, source)
    assert records.frame.to_dicts() == [{"time": "1", "a": "4", "b": "3", "source.time": "2"}]
    assert records.known.column == "b"
    twice = read(path, Source(columns={"x": "a", "y": "a"}))
    assert twice.frame.select("x", "y").rows() == [("3", "3")]


def test_a_source_refuses_mistakes() -> None:
    from headrace.errors import DeclarationError

    for fields, where in (
        ({"lag": "-1h"}, "source.lag"),
        ({"lag": "soon"}, "source.lag"),
        ({"lagg": 1}, "source.lagg"),
    ):
        with pytest.raises(DeclarationError) as caught:
            Source(**fields)
        assert caught.value.where == where


FIELD = st.text(st.sampled_from('ab0 ",;\n\r\t\u2028é'), max_size=6)


@given(st.lists(st.tuples(FIELD, FIELD, FIELD), max_size=12), st.sampled_from([",", ";", "\t"]), st.booleans())
def test_what_was_written_is_read(rows: list[tuple[str, str, str]], delimiter: str, quote_all: bool) -> None:
    text = io.StringIO(newline="")
    quoting = csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL
    writer = csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator="\r\n")
    writer.writerow(("x", "y", "z"))
    writer.writerows(rows)
    frame = read_delimited(text.getvalue().encode(), Path("x.csv"))
    assert frame.rows() == [tuple(field or None for field in row) for row in rows]


def test_large_quoted_files_are_read_in_order(tmp_path: Path) -> None:
    lines = "".join(f'{place},"multi\nline, ""{place}"""\n' for place in range(60_000))
    frame = read(put(tmp_path, "x.csv", b"n,s\n" + lines.encode())).frame
    assert frame["n"].to_list() == [str(place) for place in range(60_000)]
    assert frame["s"][59_999] == 'multi\nline, "59999"'


def test_real_consumption_end_to_end(shared_data: Callable[[str], Path]) -> None:
    path = shared_data("denmark_de35/ConsumptionDE35Hour.csv.gz")
    columns = {
        "time": "HourUTC",
        "area": "PriceArea",
        "industry": "ConsumerType_DE35",
        "consumption": "TotalCon",
    }
    contract = Contract(
        columns=(
            Column("time", "time", zone="UTC"),
            Column("area", "category", values=("DK1", "DK2")),
            Column("industry", "category"),
            Column("consumption", "float", minimum=0),
        )
    )
    as_of = datetime(2023, 1, 10, tzinfo=UTC)
    for lag, pending in (("0h", 76 * 255), ("5d", 76 * (255 + 120))):
        records = read(path, Source(columns=columns, lag=lag))
        found = check(
            contract,
            records.frame,
            keys=("area", "industry"),
            time="time",
            grid=Grid(timedelta(hours=1)),
            as_of=as_of,
            now=NOW,
            known=records.known,
        )
        assert (found.rows, found.bad.height, found.pending) == (54_720, 0, pending)
        assert found.extra == ("HourDK",)
        assert found.good["known_at"].max() == as_of
    assert json.dumps(found.as_dict())


@pytest.mark.parametrize(
    "name",
    [
        "mercari/train.tsv.gz",
        "mercari/test.tsv.gz",
        "flipkart_products/flipkart_products.csv.gz",
        "online_retail/OnlineRetail_sample.csv.gz",
        "denmark_private_hourly/ELSpotPrices_DK1.csv.gz",
        "steel_industry/Steel_industry_data.csv.gz",
        "bike_sharing/hour.csv.gz",
    ],
)
def test_real_files_as_the_csv_module_reads_them(shared_data: Callable[[str], Path], name: str) -> None:
    path = shared_data(name)
    frame = read(path).frame
    text = io.StringIO(gzip.decompress(path.read_bytes()).decode("utf-8-sig"), newline="")
    delimiter = "\t" if ".tsv" in name else ";" if "private" in name else ","
    rows = list(csv.reader(text, delimiter=delimiter))
    assert frame.columns == rows[0]
    assert frame.rows() == [tuple(field or None for field in row) for row in rows[1:]]


def test_a_file_with_its_own_known_time_needs_no_mention_of_it(tmp_path: Path) -> None:
    path = put(tmp_path, "x.csv", b"time,known_at\n2023-01-01T00:00:00Z,2023-02-01T00:00:00Z\n")
    records = read(path, Source(lag="15d"))
    assert records.known.column == "known_at"
    found = check(
        Contract(columns=(Column("time", "time"),)),
        records.frame,
        time="time",
        as_of=NOW,
        now=NOW,
        known=records.known,
    )
    assert found.good["known_at"].to_list() == [datetime(2023, 2, 1, tzinfo=UTC)]
    assert found.extra == ()


def test_a_user_who_is_none_is_told() -> None:
    with pytest.raises(UsageError, match="no such user"):
        open_source(Source(), "file:~nobody-here/x.csv")
