"""Where tables are: normal URIs, storage options, and whether a local table's files are all there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.errors import CorruptTableError, UsageError
from headrace.store.failures import damaged

if TYPE_CHECKING:
    import polars as pl


def normal(uri: str | Path) -> str:
    """An absolute path for a local folder (``~``, ``file://`` too), else the URI without a trailing slash."""
    text = str(uri)
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    if "://" in text:
        return text.rstrip("/")
    return str(Path(text).expanduser().absolute())


def is_local(uri: str) -> bool:
    """Whether a normal URI is a folder of this machine."""
    return "://" not in uri


def options(uri: str, given: Mapping[str, str] | None) -> dict[str, str] | None:
    """Storage options for the libraries; on S3, commits put-if-absent by entity tag unless told otherwise."""
    if is_local(uri):
        return None
    merged = dict(given or {})
    if uri.startswith(("s3://", "s3a://")) and not {"conditional_put", "aws_conditional_put"} & {*merged}:
        merged["aws_conditional_put"] = "etag"
    return merged


def instant(value: datetime, name: str) -> datetime:
    """`value` in UTC. Raises `UsageError` when it has no time zone."""
    if value.tzinfo is None:
        raise UsageError("the time needs a time zone", where=name, hint="say 2023-01-20T16:00:00Z, not 16:00")
    return value.astimezone(UTC)


def check_files(uri: str, files: pl.DataFrame) -> None:
    """Raise `CorruptTableError` naming the first file of a local table that is missing or has another size.

    A reader that meets a shortened file aborts a thread and prints its stack; this costs about 2 us a file.
    Object stores replace files as a whole, so theirs are not looked at.
    """
    root = uri.removeprefix("file://")
    if not is_local(root):
        return
    for name, size in files.select("path", "size_bytes").iter_rows():
        path = f"{root.rstrip('/')}/{name}"
        try:
            found = os.stat(path).st_size  # noqa: PTH116  # a Path costs more than the call
        except FileNotFoundError as error:
            raise damaged(path, "it is not there") from error
        if found != size:
            raise damaged(path, f"it has {found} bytes and should have {size}")


def object_options(given: Mapping[str, str]) -> tuple[dict[str, str], dict[str, object]]:
    """Storage options as the object client takes them: the store's own, and those of its connection."""
    http = {"allow_http", "aws_allow_http"}
    rest = {name: value for name, value in given.items() if name.lower() not in http}
    allowed = any(value.lower() == "true" for name, value in given.items() if name.lower() in http)
    return rest, {"allow_http": True} if allowed else {}


def damaged_file(uri: str) -> CorruptTableError | None:
    """The first parquet file of a local table that cannot be read, looked for once a read has failed."""
    import polars as pl

    for path in sorted(Path(uri).glob("*.parquet")) if is_local(uri) else []:
        try:
            pl.read_parquet(path)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            return damaged(str(path), str(error).splitlines()[0])
    return None
