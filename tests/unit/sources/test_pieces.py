"""A delimited text in pieces of any size is the text read at once, to the row and to the message."""

import gzip
import io
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headrace.contract.malformed import MALFORMED
from headrace.errors import SourceError
from headrace.sources import Source, SourceContext, files, open_source
from headrace.sources.delimited import read_delimited
from headrace.sources.jsonl import JsonLines, read_jsonl
from headrace.sources.pieces import read_pieces

PATH = Path("items.tsv")
SIGNS = st.sampled_from(["a", "7", '"', '""', "\t", "\n", "\r\n", "\n\n", "\u2028", "\x85", "æ", " ", '"a\nb"', "\t\t"])
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def joined(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """One frame; line numbers and texts of lines that are no rows included."""
    whole = pl.concat(frames, how="diagonal_relaxed")
    return whole.select(sorted(whole.columns))


def outcome(read):
    try:
        return joined(read())
    except SourceError as error:
        return error.message


@given(text=st.lists(SIGNS, max_size=60).map("".join), size=st.integers(1, 30))
@example(text='1\t"two\nlines"\tx\n2\t5" long\ty\n\n3\t"a ""quoted"" word\n"\tz', size=3)
@example(text='1\ta\tb\n2\ttoo few\n3\t"open', size=4)
def test_pieces_say_what_the_whole_says(text: str, size: int) -> None:
    data = f"id\tname\ttext\n{text}".encode()

    def pieces() -> list[pl.DataFrame]:
        stream = io.BytesIO(data[20:])
        return list(read_pieces(data[:20], stream, PATH, 0, size))

    whole, parts = outcome(lambda: [read_delimited(data, PATH)]), outcome(pieces)
    if isinstance(whole, str) or isinstance(parts, str):
        assert whole == parts
    else:
        assert whole.equals(parts)


def test_lines_are_counted_over_pieces() -> None:
    data = b"id\tname\n" + b"".join(b"%d\tx\n" % n for n in range(50)) + b"50\n51\ty\n"
    frames = list(read_pieces(data[:100], io.BytesIO(data[100:]), PATH, 0, 16))
    assert len(frames) > 3
    (line,) = joined(frames)[MALFORMED].drop_nulls().to_list()
    assert line["why"] == "line 52 has too few fields: 1 where 2 columns are named"


def file_of(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


@pytest.mark.parametrize("name", ["a.tsv", "a.tsv.gz", "a.csv"])
def test_a_file_without_event_times_comes_in_pieces(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(files, "PIECE", 64)
    delimiter = "," if "csv" in name else "\t"
    rows = [("id", "text"), *((str(n), f'"a{delimiter}\u2028 b\n"') for n in range(40))]
    path = file_of(tmp_path, name, "\n".join(map(delimiter.join, rows)).encode())
    source = Source(uri=f"file:{path}")
    records = open_source(source).read(as_of=NOW, now=NOW)
    parts = [records.frame, *records.more]
    assert len(parts) > 5
    assert records.whole
    timed = open_source(source, None, SourceContext(time="id")).read(as_of=NOW, now=NOW)
    assert not timed.more
    assert joined(parts).equals(joined([timed.frame]))
    assert joined(parts)["text"].unique().to_list() == [f"a{delimiter}\u2028 b\n"]


@pytest.mark.parametrize(
    ("tail", "told"),
    [(b"1\t\x00\n", "binary"), (b'1\t"open\n', "unexpected end"), (b"1\t\xff\n", "line 42: the byte 0xff")],
)
def test_what_is_wrong_with_a_later_piece_is_told(tail: bytes, told: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(files, "PIECE", 64)
    path = file_of(tmp_path, "a.tsv", b"id\ttext\n" + b"1\tab\n" * 40 + tail)
    records = open_source(Source(uri=f"file:{path}")).read(as_of=NOW, now=NOW)
    with pytest.raises(SourceError, match=told):
        list(records.more)


def test_a_truncated_gz_is_told_at_its_end(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(files, "PIECE", 64)
    path = file_of(tmp_path, "a.tsv.gz", b"id\ttext\n" + b"".join(b"%d\tab\n" % (n * n) for n in range(400)))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(SourceError, match="truncated"):
        list(open_source(Source(uri=f"file:{path}")).read(as_of=NOW, now=NOW).more)


LINES = st.sampled_from(
    [
        '{"id": 1}',
        '{"id": 2, "name": "x"}',
        '{"name": "a\u2028b", "of": {"id": 1.10}}',
        "{}",
        "",
        " ",
        "7",
        "{",
        '{"x": NaN}',
    ]
)


@given(lines=st.lists(LINES, max_size=30), size=st.integers(1, 40), end=st.sampled_from(["", "\n", "\r\n"]))
@example(lines=["{"], size=3, end="")
@example(lines=["{", '{"id": 1}', "7"], size=2, end="\n")
def test_lines_of_json_in_pieces_say_what_the_whole_says(lines: list[str], size: int, end: str) -> None:
    data = ("\n".join(lines) + end).encode()

    def pieces() -> list[pl.DataFrame]:
        return list(JsonLines(PATH).pieces(io.BytesIO(data), io.BytesIO(data), size))

    whole, parts = outcome(lambda: [read_jsonl(data, PATH)]), outcome(pieces)
    if isinstance(whole, str) or isinstance(parts, str):
        assert whole == parts
    else:
        assert whole.equals(parts)


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "parquet"])
def test_a_large_file_of_rows_is_read_in_parts(ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pl.DataFrame({"id": range(500), "name": [f"thing {n}" for n in range(500)]})
    rows = rows.with_columns(note=pl.when(pl.col("id") == 499).then(pl.lit("the last")))
    path = tmp_path / f"rows.{ending}"
    if ending == "parquet":
        rows.write_parquet(path, row_group_size=100)
    else:
        lines = rows.write_ndjson().encode()
        path.write_bytes(gzip.compress(lines) if ending.endswith("gz") else lines)

    def read(size: int) -> list[pl.DataFrame]:
        monkeypatch.setattr(files, "PIECE", size)
        records = open_source(Source(), f"file:{path}", SourceContext()).read(as_of=NOW, now=NOW)
        return [records.frame, *records.more]

    (whole,), parts = read(2**30), read(500)
    assert len(parts) > 3
    assert {part.width for part in parts} == {3}
    assert pl.concat(parts).equals(whole)
