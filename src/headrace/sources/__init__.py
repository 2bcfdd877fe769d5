"""Where records come from. A new kind of source is one new file here and a line in ``SOURCES``, or a package with an
entry point of the group ``headrace.sources``."""

from __future__ import annotations

from dataclasses import replace

from headrace.errors import UsageError
from headrace.passwords import holds_password
from headrace.plugins import Group
from headrace.sources.base import OpenReader, Reader, Records, Source, SourceContext
from headrace.sources.prepared import PreparedReader

__all__ = ["SOURCES", "OpenReader", "Reader", "Records", "Source", "SourceContext", "forms", "open_source"]

SOURCES = Group(
    "headrace.sources",
    {
        "api": "headrace.sources.energidataservice:open_reader",
        "bigquery": "headrace.sources.bigquery:open_reader",
        "delta": "headrace.sources.delta:open_reader",
        "duckdb": "headrace.sources.duckdb:open_reader",
        "file": "headrace.sources.files:open_reader",
        "iceberg": "headrace.sources.iceberg:open_reader",
        "kafka": "headrace.sources.kafka:open_reader",
        "postgresql": "headrace.sources.postgresql:open_reader",
        "simulated": "headrace.sources.simulated:open_reader",
        "snowflake": "headrace.sources.snowflake:open_reader",
        "sqlite": "headrace.sources.sqlite:open_reader",
    },
)
"""URI scheme to what opens its reader; see `OpenReader`."""

_PATHS = frozenset(("duckdb", "file", "sqlite"))
"""Schemes that a path follows, which may hold any character."""
_NO_WATERMARK = frozenset(("api", "file", "kafka", "simulated"))
"""Schemes that know themselves what they have read."""
_PASSWORDS = {
    "postgresql": "set PGPASSWORD in the environment, or write ~/.pgpass",
    "snowflake": "set SNOWFLAKE_PASSWORD, or SNOWFLAKE_PRIVATE_KEY_FILE, in the environment",
}
"""Where a scheme's password is written instead."""
_WRITTEN = {
    "api": "api",
    "bigquery": "bigquery://PROJECT/DATASET",
    "delta": "delta:PATH",
    "duckdb": "duckdb:PATH",
    "file": "file:PATH",
    "iceberg": "iceberg:CATALOG/TABLE",
    "kafka": "kafka://HOST:PORT/TOPIC",
    "postgresql": "postgresql://USER@HOST/DATABASE",
    "simulated": "simulated[:?key=value&...]",
    "snowflake": "snowflake://ACCOUNT/DATABASE/SCHEMA",
    "sqlite": "sqlite:PATH",
}


def forms() -> str:
    """How the URIs of all sources are written, those of installed packages too."""
    return ", ".join(_WRITTEN.get(scheme, f"{scheme}:...") for scheme in SOURCES.names())


def open_source(source: Source, uri: str | None = None, context: SourceContext | None = None) -> Reader:
    """The reader of ``uri``, or of the source's own, or of simulated records.

    Nothing is read yet. Paths are relative to the current folder. What it reads has gone through `Source.prepare` and
    bears the names that `Source.columns` declares.

    Args:
        source: The declaration.
        uri: In place of the source's own.
        context: What a reader may use beside it; see `SourceContext`.

    Raises:
        UsageError: The URI has a form that is not supported, or the system has nothing to simulate.
        PluginError: The package that reads it cannot be loaded.
    """
    if uri is None and source.reader is not None:
        return PreparedReader(source.reader, source, f"source.reader: {type(source.reader).__name__}")
    written = (uri or source.uri or "simulated").strip()
    scheme, _, rest = written.partition(":")
    if scheme not in _PATHS and holds_password(written):
        hint = _PASSWORDS.get(scheme, "leave it out, and set it in the environment")
        raise UsageError("a password in the URI would be kept in records", where=f"{scheme}://...", hint=hint)
    open_reader = SOURCES.load(scheme)
    if open_reader is None:
        raise UsageError(f"no source for the scheme {scheme!r}", where=written, hint=f"installed: {forms()}")
    if source.watermark is not None and scheme in _NO_WATERMARK and source.query is None and source.table is None:
        hint = "say source.query or source.table too, or leave it out"
        raise UsageError("only a query or a table has a watermark", where="source.watermark", hint=hint)
    context = context or SourceContext()
    if context.cache is not None:
        context = replace(context, cache=context.cache / scheme)
    return PreparedReader(open_reader(source, rest, context), source, written)
