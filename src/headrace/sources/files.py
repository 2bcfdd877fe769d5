"""``file:PATH``: CSV, TSV, JSONL and Parquet, each also gzipped."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast
from urllib.parse import unquote

from headrace.contract import KNOWN_AT
from headrace.errors import SourceError, UsageError
from headrace.sources.base import Reader, Records, Since, Source, SourceContext, require_zone
from headrace.sources.delimited import read_delimited
from headrace.sources.jsonl import JsonLines, read_jsonl
from headrace.sources.kinds import PARQUET, is_utf8, refuse_other_kinds
from headrace.sources.pieces import read_pieces

if TYPE_CHECKING:
    import polars as pl

    from headrace.sources.messages.opening import Opener

PIECE = 8 * 2**20
"""Bytes of text that are read at once: bounds memory."""


@dataclass(frozen=True)
class FileReader:
    """Reads one file. Text formats give text: ``0101`` stays ``0101``. Parquet gives its types.

    Rows without an event time are read in pieces, unless they are UTF-16 or gzipped Parquet; others are read whole.

    Attributes:
        source: The declaration.
        path: Of the file.
        opener: Opens the events that lines of JSON are; None where they have the columns at the top.
        timed: Whether rows have an event time.
    """

    source: Source
    path: Path
    opener: Opener | None = None
    timed: bool = True

    def read(
        self, *, as_of: datetime, now: datetime, since: Since | None = None, first: datetime | None = None
    ) -> Records:
        """All rows of the file, whatever `since` and `first`.

        Raises:
            SourceError: The file is missing, empty, truncated, or not what its name says.
        """
        require_zone(as_of=as_of, now=now)
        return Records.of(self._frames(), f"file:{self.path}", whole=True)

    def _frames(self) -> Iterator[pl.DataFrame]:
        form, where = _format(self.path), str(self.path)
        with _opened(self.path) as stream:
            data = stream.read(-1 if self.timed else PIECE)
            if data.strip() and (form is not _parquet or not data.startswith(PARQUET)):
                refuse_other_kinds(data, where)
            if len(data) == PIECE and data.strip() and (form is _parquet or is_utf8(data)):
                if form is read_delimited:
                    yield from read_pieces(data, stream, self.path, self.source.skip, PIECE)
                    return
                if form is read_jsonl:
                    yield from self._json_pieces()
                    return
                if self.path.suffix.lower() != ".gz":
                    yield from _parquet_pieces(self.path)
                    return
            data += stream.read()
        yield _whole(data, self.path, self.source, self.opener)

    def _json_pieces(self) -> Iterator[pl.DataFrame]:
        lines = JsonLines(self.path, self.opener, self.source.known_at or KNOWN_AT)
        with _opened(self.path) as first, _opened(self.path) as again:
            yield from lines.pieces(first, again, PIECE)


def open_reader(source: Source, rest: str, context: SourceContext) -> Reader:
    """A reader of the file ``rest``: a path, or what follows ``file:`` in ``file:///absolute/path``.

    Raises:
        UsageError: There is no path, or no such user's folder, or its ending is not that of a known format.
    """
    if not rest:
        raise UsageError("there is no path", where="file:", hint="write it as file:data/readings.csv")
    if rest.startswith("//"):
        host, slash, below = rest[2:].partition("/")
        if host not in ("", "localhost") or not slash:
            raise UsageError("files are read from this machine", where=f"file:{rest}", hint="write file:PATH")
        rest = unquote(f"/{below}")
    try:
        path = Path(rest).expanduser()
    except RuntimeError as error:
        raise UsageError("there is no such user", where=f"file:{rest}", hint="write the folder's path") from error
    _format(path)
    return FileReader(source, path, context.opener, context.time is not None)


def _parquet(data: bytes, path: Path, skip: int = 0) -> pl.DataFrame:
    import polars as pl

    try:
        return pl.read_parquet(data)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SourceError(f"not readable as Parquet: {_first_line(error)}", where=str(path)) from error


def _parquet_pieces(path: Path) -> Iterator[pl.DataFrame]:
    """The rows of a large file, in frames of about as many of its bytes as are read at once elsewhere."""
    import polars as pl

    try:
        lazy = pl.scan_parquet(path, glob=False)
        rows = int(lazy.select(pl.len()).collect().item())
        step = max(rows * PIECE // path.stat().st_size, 1)
        for begin in range(0, max(rows, 1), step):
            yield lazy.slice(begin, step).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SourceError(f"not readable as Parquet: {_first_line(error)}", where=str(path)) from error


_FORMATS: dict[str, Callable[[bytes, Path, int], pl.DataFrame]] = {
    ".csv": read_delimited,
    ".tsv": read_delimited,
    ".txt": read_delimited,
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".parquet": _parquet,
    ".pq": _parquet,
}


def _format(path: Path) -> Callable[[bytes, Path, int], pl.DataFrame]:
    endings = [suffix.lower() for suffix in path.suffixes]
    ending = (endings[:-1] if endings[-1:] == [".gz"] else endings)[-1:]
    if not ending or ending[0] not in _FORMATS:
        known = " ".join(_FORMATS)
        raise UsageError("the file's ending names no known format", where=str(path), hint=f"known: {known}, and .gz")
    return _FORMATS[ending[0]]


def _whole(data: bytes, path: Path, source: Source, opener: Opener | None) -> pl.DataFrame:
    if not data.strip():
        raise SourceError("the file is empty", where=str(path), hint="a file needs at least a row of column names")
    form = _format(path)
    if form is read_jsonl:
        return read_jsonl(data, path, source.skip, opener, source.known_at or KNOWN_AT)
    return form(data, path, source.skip)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The file, unpacked as it is read; what goes wrong meanwhile is told."""
    where = str(path)
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as stream:
            yield cast(BinaryIO, stream)
    except FileNotFoundError as error:
        near = path.parent if path.parent.is_dir() else None
        hint = f"{near} holds {_listing(near)}" if near is not None else f"there is no folder {path.parent}"
        raise SourceError("there is no such file", where=where, hint=hint) from error
    except IsADirectoryError as error:
        hint = f"name one file of it; it holds {_listing(path)}"
        raise SourceError("is a folder", where=where, hint=hint) from error
    except EOFError as error:
        hint = "the copy or download stopped early; fetch it again"
        raise SourceError("the gzip file is truncated", where=where, hint=hint) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise SourceError(f"the gzip file is damaged: {error}", where=where, hint="fetch it again") from error
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror or error}", where=where) from error


def _listing(folder: Path) -> str:
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        return f"files that cannot be listed ({error.strerror})"
    return (", ".join(names[:5]) + (" and more" if len(names) > 5 else "")) or "nothing"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
