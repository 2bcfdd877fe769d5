"""Rows as a table, JSON, CSV or Parquet; to a file, or to stdout."""

from __future__ import annotations

import json as jsonlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.console.output import plain
from headrace.console.table import TableStyle, print_table
from headrace.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

FORMATS = ("table", "json", "csv", "parquet")


def format_of(form: str | None, out: Path | None, *, as_json: bool) -> str:
    """The format of rows: what was asked for, else what the file's ending says, else JSON or a table.

    On stdout `--json` goes over `--format`: what is there is one JSON document.

    Raises:
        UsageError: An unknown format.
    """
    if form not in (None, *FORMATS):
        raise UsageError(f"no format {form!r}", where="--format", hint=", ".join(FORMATS))
    if out is None:
        return "json" if as_json else form or "table"
    ending = out.suffix.removeprefix(".")
    return form or (ending if ending in FORMATS else "json" if as_json else "table")


def print_frame(frame: pl.DataFrame, look: TableStyle, *, form: str, out: Path | None) -> None:
    """Rows as a table, JSON, CSV or Parquet; to a file, or to stdout.

    Args:
        frame: The rows, oldest first; a table begins with the newest, in the order of `look`.
        look: Of a table.
        form: One of `FORMATS`.
        out: A file.

    Raises:
        UsageError: Parquet to a terminal, or a table to a file.
    """
    if form == "parquet":
        if out is None:
            raise UsageError("Parquet goes to a file", where="--format", hint="add --out FILE")
        frame.write_parquet(out)
    elif form == "csv":
        text = frame.write_csv(datetime_format="%Y-%m-%dT%H:%M:%S%.fZ")
        _write(text, out)
    elif form == "json":
        _write(jsonlib.dumps(plain(frame.to_dicts()), ensure_ascii=False, allow_nan=False) + "\n", out)
    elif out is not None:
        raise UsageError("a table goes to the terminal", where="--out", hint="add --format csv, json or parquet")
    else:
        print_table(frame, look)


def _write(text: str, out: Path | None) -> None:
    if out is None:
        sys.stdout.write(text)
    else:
        out.write_text(text, encoding="utf-8")
