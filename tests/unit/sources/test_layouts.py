"""Files as spreadsheets and exports write them: what is read, what is set apart, what is named for what it is."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.contract import Column, Contract, Validation, check
from headrace.errors import ContractBroken, SourceError
from headrace.sources import Source, open_source
from headrace.sources.delimited import read_delimited

NOW = datetime(2026, 6, 1, tzinfo=UTC)
TABLE = [("a", "1", "x"), ("b", "2", "y")]
COLUMNS = (Column("s", "category"), Column("n", "float"), Column("t", "category", nullable=True))
CONTRACT = Contract(columns=COLUMNS, max_invalid_fraction=1)


def read(folder: Path, data: bytes | str, name: str = "x.csv", **source: int) -> pl.DataFrame:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return open_source(Source(**source), f"file:{path}").read(as_of=NOW, now=NOW).frame


def checked(folder: Path, text: str, name: str = "x.csv", columns: tuple[Column, ...] | None = None) -> Validation:
    frame = read(folder, text, name)
    contract = CONTRACT.model_copy(update={"columns": columns or tuple(c for c in COLUMNS if c.name in frame.columns)})
    return check(contract, frame, as_of=NOW, now=NOW)


@pytest.mark.parametrize(
    "text",
    [
        "s,n,t,\na,1,x,\nb,2,y,\n",
        "s,n,t,,\na,1,x,,\nb,2,y,,\n",
        "s,n,t\na,1,x,\nb,2,y,\n",
        "s,n,t,\na,1,x\nb,2,y\n",
        's;n;t;\n"a";"1";"x";\n"b";"2";"y";\n',
        "sep=;\ns;n;t\na;1;x\nb;2;y\n",
        "SEP=,\r\ns,n,t\r\na,1,x\r\nb,2,y\r\n",
        '"sep=;"\ns;n;t\na;1;x\nb;2;y\n',
        "sep=|\ns|n|t|\na|1|x|\nb|2|y|\n",
        "\n\ns,n,t\na,1,x\nb,2,y\n",
        "# a comment\n# two, with, commas\n\ns,n,t\na,1,x\nb,2,y\n\x1a",
        '"s", "n", "t"\n"a", "1", "x"\n"b", "2", "y"\n',
        "Report of 2026\n\ns,n,t\na,1,x\nb,2,y\n",
        "Report of 2026,,\nmade by,hand,\ns,n,t\na,1,x\nb,2,y\n",
        '"A note, with a comma"\n# and another\ns;n;t\na;1;x\nb;2;y\n',
        "Report: of\ts and such\n\ns,n,t\na,1,x\nb,2,y\n",
    ],
)
def test_layouts_that_are_read(tmp_path: Path, text: str) -> None:
    frame = read(tmp_path, text)
    assert frame.columns == ["s", "n", "t"]
    assert frame.rows() == TABLE


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_marked_encodings_are_read(tmp_path: Path, encoding: str, end: str) -> None:
    text = end.join(["s\tn\tt", "a\t1\tæ", "b\t2\t日本", ""])
    big = b"\xfe\xff" + text.encode("utf-16-be") if encoding == "utf-16" else text.encode(encoding)
    for data in (text.encode(encoding), big):
        assert read(tmp_path, data).rows() == [("a", "1", "æ"), ("b", "2", "日本")]
    lines = '{"s": "æ"}\n'.encode(encoding)
    assert read(tmp_path, lines, "x.jsonl").rows() == [("æ",)]


def test_a_pandas_index_has_a_name_of_its_place(tmp_path: Path) -> None:
    frame = read(tmp_path, ",s,n,t\n0,a,1,x\n1,b,2,y\n")
    assert frame.columns == ["column 1", "s", "n", "t"]
    assert frame.drop("column 1").rows() == TABLE


def test_a_header_may_begin_with_a_hash(tmp_path: Path) -> None:
    assert read(tmp_path, "# made by hand\n#s,n\na,1\nb,2\n").columns == ["#s", "n"]


def test_a_header_that_was_not_found_is_hinted_at(tmp_path: Path) -> None:
    with pytest.raises(ContractBroken) as caught:
        checked(tmp_path, "one,two,three\ns,n,t\na,1,x\nb,2,y\n", columns=COLUMNS)
    assert "'s' stands in a row below" in str(caught.value.hint)
    assert "Source(skip=...)" in str(caught.value.hint)


def test_declared_lines_are_skipped(tmp_path: Path) -> None:
    text = "one,two,three\nfour,five,six\ns,n,t\na,1,x\nb,2,y\n"
    assert read(tmp_path, text, skip=2).rows() == TABLE
    with pytest.raises(SourceError, match="the file has 5 lines, 9 are to be skipped"):
        read(tmp_path, text, skip=9)


def test_a_header_is_no_value_and_no_row_is_taken_for_one(tmp_path: Path) -> None:
    """Rows with an unquoted decimal comma are wider than their header: not one of them becomes the header."""
    frame = read(tmp_path, "s,n\na,1,5\nb,2,5\n")
    assert frame.columns == ["s", "n", ":malformed"]
    assert frame.height == 2


def test_texts_with_delimiters_make_no_header(tmp_path: Path) -> None:
    text = "s,t\na,well, well\nb,one, two, three\nc,well, never\nd,plain\n"
    frame = read(tmp_path, text)
    assert frame.columns[:2] == ["s", "t"]
    assert frame.drop(":malformed").drop_nulls().rows() == [("d", "plain")]


def test_rows_of_wrong_width_are_set_apart(tmp_path: Path) -> None:
    found = checked(tmp_path, 's,n,t\na,1,x\nb,2\n\nc,3,"y\nz",4,5\nd,4,"y\nz"\ne\n')
    assert found.good.select("s", "n", "t").rows() == [("a", 1.0, "x"), ("d", 4.0, "y\nz")]
    assert [list(each) for each in found.bad["reasons"]] == [
        ["line 3 has too few fields: 2 where 3 columns are named"],
        ["line 5 has too many fields: 5 where 3 columns are named"],
        ["line 9 has too few fields: 1 where 3 columns are named"],
    ]
    assert [json.loads(row)["line"] for row in found.bad["row"]] == ["b,2", 'c,3,"y\nz",4,5', "e"]
    assert found.reasons == {"too few fields": 2, "too many fields": 1}
    assert (found.rows, found.bad.height, found.invalid_fraction) == (5, 3, 0.6)
    assert found.extra == ()


def test_line_numbers_count_what_stands_above(tmp_path: Path) -> None:
    found = checked(tmp_path, 'A note\n\n"s",n,"t\n"\na,1,x\nb,2,y\nc,3,z\nd\n'.replace('"t\n"', "t"))
    assert found.bad["reasons"].to_list() == [["line 7 has too few fields: 1 where 3 columns are named"]]


def test_wrong_width_beside_rows_that_break_rules(tmp_path: Path) -> None:
    found = checked(tmp_path, "s,n,t\na,1\nb,no,x\nc,3,z\n")
    assert found.bad["reasons"].to_list() == [
        ["line 2 has too few fields: 2 where 3 columns are named"],
        ["n: 'no' is not a number"],
    ]
    assert found.bad["id"].n_unique() == 2
    again = checked(tmp_path, "s,n,t\nc,3,z\na,1\nb,no,x\n")
    assert set(again.bad["id"]) == set(found.bad["id"])


def test_lines_that_are_no_objects_are_set_apart(tmp_path: Path) -> None:
    lines = [
        '{"s": "a", "n": 1}',
        '{"s": "b"',
        "",
        "[1]",
        '{"s": "\\ud800", "n": 2}',
        '{"s": "c", "n": 3}',
        '{"s": "d", "n',
    ]
    found = checked(tmp_path, "\n".join(lines), "x.jsonl")
    assert found.good["s"].to_list() == ["a", "c"]
    assert found.reasons == {"not JSON": 3, "not a JSON object": 1}
    assert [reasons[0].partition(":")[0] for reasons in found.bad["reasons"]] == [
        "line 2 is not JSON",
        "line 4 is not a JSON object",
        "line 5 is not JSON",
        "line 7 is not JSON",
    ]
    assert [json.loads(row)["line"] for row in found.bad["row"]] == [lines[1], lines[3], lines[4], lines[6]]


def archive(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name in names:
            opened.writestr(name, "x")
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["x.csv", "x.jsonl", "x.parquet"])
@pytest.mark.parametrize(
    ("data", "what"),
    [
        (archive("data.csv"), "a zip archive"),
        (archive("[Content_Types].xml", "xl/workbook.xml"), r"an Excel workbook \(.xlsx\)"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), r"an Excel workbook of the old kind"),
        (b"\x1f\x8b\x08", "gzipped"),
        (b"BZh91AY", "packed with bzip2"),
        (b"SQLite format 3\x00", "an SQLite database"),
        (b"\n<!DOCTYPE html><html>", "a web page"),
    ],
)
def test_other_kinds_are_named(tmp_path: Path, name: str, data: bytes, what: str) -> None:
    with pytest.raises(SourceError, match=f"the file is {what}") as caught:
        read(tmp_path, data, name)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"PAR1 and more", "a Parquet file"),
        ("s,n\na,1\n".encode("utf-16-le"), "UTF-16 without its byte-order mark"),
        (b"\xff\xfes\x00,", "UTF-16 is damaged"),
        ("s,n\n".encode("utf-32"), "UTF-32"),
        (b"s,n\n\x00\x01\x02,\x03\x04\n", "binary"),
        (b"s,n,n\n1,2,3\n", "two columns are called 'n'"),
        (b",,\n,,\n", "no column has a name"),
        (b'note\n\ns,n,t\na,1,x\nb,2,y\nc,3,"open\n', "line 6"),
        (b"note\n\ns,n,t\na,1,x\nb,2,y\nc,3,\xff\n", "line 6: the byte 0xff is not UTF-8"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, data: bytes, what: str) -> None:
    with pytest.raises(SourceError, match=what):
        read(tmp_path, data)


@settings(max_examples=60)
@given(
    wrong=st.dictionaries(st.integers(0, 60), st.sampled_from(["x", "x,1", "x,1,2,3", "x,,,y", "x,1,y,", ",,,", ""])),
    end=st.sampled_from(["\n", "\r\n"]),
    notes=st.sampled_from(["", "a note\n"]),
)
def test_property_lines_are_set_apart_as_the_csv_module_tells(wrong: dict[int, str], end: str, notes: str) -> None:
    """Whether few lines or many are of another width, and whichever reader takes them."""
    lines = [wrong.get(place, f"k{place},{place},t") for place in range(61)]
    text = notes + end.join(["s,n,t", *lines]) + end
    quick = read_delimited(text.encode(), Path("x.csv"))
    exact = read_delimited(text.replace("k60,60,t", '"k60",60,t').replace("s,n,t", '"s",n,t').encode(), Path("x.csv"))
    assert quick.equals(exact)
    short = [line for line in lines if (line and len(line.split(",")) < 3) or any(line.split(",")[3:])]
    told = quick[":malformed"].struct.field("text").drop_nulls().to_list() if short else []
    assert [json.loads(each)["line"] for each in told] == short
    assert quick.height == sum(map(bool, lines))
