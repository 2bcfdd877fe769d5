"""Where tables are: normal URIs, storage options, and whether a local table's files are all there."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

from headrace.errors import CorruptTableError, StoreError, UsageError
from headrace.files import absolute
from headrace.store.failures import damaged

if TYPE_CHECKING:
    from obstore.store import ObjectStore


_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_PLAIN = re.compile(r"[A-Za-z0-9/._~+=,:@&;$!'()-]*")
"""Paths that are the same as a path, a URL and a pattern."""
_NO_URL = re.compile(r"[\[\]^|\\\x00-\x1f\x7f]|%[0-9A-Fa-f]{2}|(^|/)\.\.?(/|$)")
"""What delta-rs refuses or decodes once too often in the path of a table."""


def normal(uri: str | Path) -> str:
    """An absolute path for a local folder (``~``, ``file://`` too), else the URI without a trailing slash."""
    text = str(uri)
    if text.startswith("file://"):
        text = unquote(text.removeprefix("file://"))
    elif isinstance(uri, str) and _SCHEME.match(uri):
        return text.rstrip("/")
    return str(absolute(Path(text).expanduser()))


def is_local(uri: str) -> bool:
    """Whether a normal URI is a folder of this machine."""
    return uri.startswith("/") or not _SCHEME.match(uri)


def may_hold_table(uri: str) -> bool:
    """Whether a table may be there: a local folder without a log holds none, and is not made by looking."""
    return not is_local(uri) or Path(uri, "_delta_log").is_dir()


def is_plain(uri: str) -> bool:
    """Whether a local folder's path means the same as a path, a URL and a pattern."""
    return _PLAIN.fullmatch(uri) is not None


def by_url(uri: str) -> str:
    """What delta-rs opens a table by: its path, or where that is no good URL, its `alias` by a scheme that takes it."""
    return f"fs://{alias(uri)}" if is_local(uri) and _NO_URL.search(uri) else uri


def alias(uri: str) -> str:
    """Another path of a local folder, of plain letters only: a link in a folder of this user's for temporary files.

    Made anew whenever it is missing, so that it may be cleaned away at any time.

    Raises:
        StoreError: The folder for temporary files is another user's.
    """
    if is_plain(uri):
        return uri
    folder = Path(tempfile.gettempdir(), f"headrace-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise StoreError("the folder is not this user's", where=str(folder), hint="set TMPDIR to a folder that is")
    link = folder / hashlib.sha256(uri.encode(errors="surrogateescape")).hexdigest()[:24]
    try:
        link.symlink_to(uri, target_is_directory=True)
    except FileExistsError:
        if str(link.readlink()) != uri:
            raise
    return str(link)


def options(uri: str, settings: Mapping[str, str] | None) -> dict[str, str] | None:
    """Storage options for the libraries; on S3, commits put-if-absent by entity tag unless told otherwise."""
    if is_local(uri):
        return None
    merged = dict(settings or {})
    if uri.startswith(("s3://", "s3a://")) and not {"conditional_put", "aws_conditional_put"} & {*merged}:
        merged["aws_conditional_put"] = "etag"
    return merged


def instant(value: datetime, name: str) -> datetime:
    """`value` in UTC. Raises `UsageError` when it has no time zone."""
    if value.tzinfo is None:
        raise UsageError("the time needs a time zone", where=name, hint="say 2023-01-20T16:00:00Z, not 16:00")
    return value.astimezone(UTC)


def objects(uri: str, given: Mapping[str, str]) -> ObjectStore:
    """The client of all files below a folder, made when missing, or an object-store URI."""
    from obstore.store import LocalStore, from_url

    if is_local(uri):
        return LocalStore(uri, mkdir=True)
    config, client = object_options(given)
    # The keys depend on the kind of store, which only the URI tells.
    return from_url(uri, config=cast(Any, config), client_options=cast(Any, client))


def object_options(given: Mapping[str, str]) -> tuple[dict[str, str], dict[str, object]]:
    """Storage options as the object client takes them: the store's own, and those of its connection."""
    http = {"allow_http", "aws_allow_http"}
    options = {name: value for name, value in given.items() if name.lower() not in http}
    allowed = any(value.lower() == "true" for name, value in given.items() if name.lower() in http)
    return options, {"allow_http": True} if allowed else {}


def damaged_file(uri: str) -> CorruptTableError | None:
    """The first parquet file of a local table that cannot be read, looked for once a read has failed."""
    import polars as pl

    for path in sorted(Path(uri).glob("*.parquet")) if is_local(uri) else []:
        try:
            pl.read_parquet(path, glob=False)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            return damaged(str(path), str(error).splitlines()[0])
    return None
