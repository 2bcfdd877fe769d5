"""``file:PATH``: CSV, TSV, JSONL and Parquet, each also gzipped."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from headrace.errors import SourceError, UsageError
from headrace.sources.base import Reader, Records, Since, Source, known_rule, renamed, require_zone
from headrace.sources.delimited import read_delimited
from headrace.sources.jsonl import read_jsonl
from headrace.sources.kinds import PARQUET, refuse_other_kinds

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class FileReader:
    """Reads one file whole. Text formats give text: ``0101`` stays ``0101``. Parquet gives its types."""

    source: Source
    path: Path

    def read(
        self, *, as_of: datetime, now: datetime, since: Since | None = None, first: datetime | None = None
    ) -> Records:
        """All rows of the file, whatever `since` and `first`.

        Raises:
            SourceError: The file is missing, empty, truncated, or not what its name says.
        """
        require_zone(as_of=as_of, now=now)
        frame = renamed(_read(self.path, self.source.skip), self.source.columns)
        return Records(frame, f"file:{self.path}", known_rule(self.source, frame))


def open_reader(source: Source, rest: str, cache: Path | None = None) -> Reader:
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
    return FileReader(source, path)


def _parquet(data: bytes, path: Path, skip: int = 0) -> pl.DataFrame:
    import polars as pl

    try:
        return pl.read_parquet(data)
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
    endings = [each.lower() for each in path.suffixes]
    ending = (endings[:-1] if endings[-1:] == [".gz"] else endings)[-1:]
    if not ending or ending[0] not in _FORMATS:
        known = " ".join(_FORMATS)
        raise UsageError("the file's ending names no known format", where=str(path), hint=f"known: {known}, and .gz")
    return _FORMATS[ending[0]]


def _read(path: Path, skip: int) -> pl.DataFrame:
    data = _bytes(path)
    where = str(path)
    if not data.strip():
        raise SourceError("the file is empty", where=where, hint="a file needs at least a row of column names")
    form = _format(path)
    if form is not _parquet or not data.startswith(PARQUET):
        refuse_other_kinds(data, where)
    return form(data, path, skip)


def _bytes(path: Path) -> bytes:
    where = str(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        near = path.parent if path.parent.is_dir() else None
        hint = f"{near} holds {_listing(near)}" if near is not None else f"there is no folder {path.parent}"
        raise SourceError("there is no such file", where=where, hint=hint) from error
    except IsADirectoryError as error:
        hint = f"name one file of it; it holds {_listing(path)}"
        raise SourceError("is a folder", where=where, hint=hint) from error
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror or error}", where=where) from error
    if path.suffix.lower() != ".gz":
        return data
    try:
        return gzip.decompress(data)
    except EOFError as error:
        hint = "the copy or download stopped early; fetch it again"
        raise SourceError("the gzip file is truncated", where=where, hint=hint) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise SourceError(f"the gzip file is damaged: {error}", where=where, hint="fetch it again") from error


def _listing(folder: Path) -> str:
    try:
        names = sorted(each.name for each in folder.iterdir())
    except OSError as error:
        return f"files that cannot be listed ({error.strerror})"
    return (", ".join(names[:5]) + (" and more" if len(names) > 5 else "")) or "nothing"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
