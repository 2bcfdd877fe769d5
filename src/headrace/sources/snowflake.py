"""``snowflake://ACCOUNT/DATABASE/SCHEMA``: a query of Snowflake, by ADBC: its rows come as Arrow.

Who logs in comes from the environment: ``SNOWFLAKE_USER`` (or ``USER@`` in the URI) and ``SNOWFLAKE_PASSWORD``, or the
path of a private key in ``SNOWFLAKE_PRIVATE_KEY_FILE``. A password in the URI is refused: URIs are kept in records.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from headrace.errors import ConfigError, SourceError, UsageError
from headrace.sources import arrow, sql
from headrace.sources.base import Reader, Source, SourceContext
from headrace.sources.statements import bound, named, quoted

if TYPE_CHECKING:
    import polars as pl

FORM = "snowflake://ACCOUNT/DATABASE/SCHEMA?warehouse=NAME"
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")
_OPTIONS = {
    "warehouse": "adbc.snowflake.sql.warehouse",
    "role": "adbc.snowflake.sql.role",
    "account": "adbc.snowflake.sql.account",
    "protocol": "adbc.snowflake.sql.uri.protocol",
}
"""What may stand behind the question mark; the last two for a server of another address."""
_PATIENCE = "30s"
"""Longest wait for a login."""


@dataclass(frozen=True)
class SnowflakeAddress:
    """Where a database of Snowflake is.

    Attributes:
        uri: Without a password.
    """

    uri: str

    @property
    def names(self) -> list[str]:
        """What stands in the path: database, schema, and what follows."""
        return [unquote(name) for name in urlsplit(self.uri).path.strip("/").split("/") if name]

    @property
    def origin(self) -> str:
        """Where it is, without who logs in."""
        parts = urlsplit(self.uri)
        return f"snowflake://{parts.netloc.rpartition('@')[2]}/{'/'.join(self.names[:2])}"

    def settings(self) -> dict[str, str]:
        """What the driver is given; holds the password.

        Raises:
            ConfigError: Nothing in the environment says who logs in.
        """
        parts = urlsplit(self.uri)
        user = parts.username or os.environ.get("SNOWFLAKE_USER")
        password, key = os.environ.get("SNOWFLAKE_PASSWORD"), os.environ.get("SNOWFLAKE_PRIVATE_KEY_FILE")
        if not user or not (password or key):
            hint = "set SNOWFLAKE_USER, and SNOWFLAKE_PASSWORD or SNOWFLAKE_PRIVATE_KEY_FILE"
            raise ConfigError("nothing says who logs in", where=self.origin, hint=hint)
        query, host = dict(parse_qsl(parts.query)), str(parts.hostname)
        settings = {"username": user, "adbc.snowflake.sql.client_option.login_timeout": _PATIENCE}
        settings |= zip(("adbc.snowflake.sql.db", "adbc.snowflake.sql.schema"), self.names, strict=False)
        settings |= {_OPTIONS[name]: value for name, value in query.items()}
        if "account" in query:
            settings |= {"adbc.snowflake.sql.uri.host": host, "adbc.snowflake.sql.uri.port": str(parts.port or 443)}
        else:
            settings["adbc.snowflake.sql.account"] = host
        if key:
            jwt = {"auth_type": "auth_jwt", "client_option.jwt_private_key": key}
            return settings | {f"adbc.snowflake.sql.{name}": value for name, value in jwt.items()}
        return settings | {"password": str(password)}

    def connect(self) -> Any:
        """A connection of the driver.

        Raises:
            ConfigError: Nothing in the environment says who logs in.
        """
        from adbc_driver_snowflake import dbapi

        return dbapi.connect(db_kwargs=self.settings(), autocommit=True)


@dataclass(frozen=True)
class SnowflakeServer:
    """See `SqlDatabase`. Names that are in capitals there, as all are without quotes, come in small letters.

    Attributes:
        address: Of the database.
    """

    address: SnowflakeAddress
    typed: bool = True

    @property
    def origin(self) -> str:
        """Where it is, without who logs in."""
        return self.address.origin

    def column(self, name: str) -> str:
        """See `SqlDatabase`."""
        return named(name.upper() if name == name.lower() and _PLAIN.fullmatch(name) else name)

    def table(self, name: str) -> str:
        """See `SqlDatabase`."""
        return folded(name)

    def frames(self, statement: str, parameters: Mapping[str, Any]) -> Iterator[pl.DataFrame]:
        """See `SqlDatabase`."""
        import pyarrow as pa
        from adbc_driver_manager import Error

        text, values = bound(statement, parameters, "?")
        try:
            with closing(self.address.connect()) as connection, closing(connection.cursor()) as cursor:
                cursor.execute(text, tuple(map(_written, values)) or None)
                batches = cursor.fetch_record_batch()
                for frame in arrow.frames(batches.schema, batches, self.origin):
                    yield frame.rename({name: name.lower() for name in frame.columns if name == name.upper()})
        except (Error, pa.ArrowException, OSError) as error:
            raise SourceError(f"cannot be read: {reason_of(error)}", where=self.origin) from error


def _written(value: Any) -> Any:
    """A parameter as the driver takes it: no times, and floats it would round, so both go as text."""
    if isinstance(value, float):
        return repr(value)
    return value.isoformat() if isinstance(value, datetime) else value


def folded(name: str) -> str:
    """A name as Snowflake finds it: without quotes it is in capitals there, so plain names are; others stay.

    >>> folded("public.sales"), folded('public."sales of May"')
    ('"PUBLIC"."SALES"', '"PUBLIC"."sales of May"')
    """
    parts = [part.upper() if _PLAIN.fullmatch(part) else part.strip('"') for part in name.split(".")]
    return ".".join(map(quoted, parts))


def reason_of(error: BaseException) -> str:
    """What a driver's error says, in one line, without its own codes."""
    text = (str(error).splitlines() or [type(error).__name__])[0]
    return re.sub(r"^[A-Z_]+: |\[Snowflake\] | \(SQLSTATE.*$|. Vendor code.*$", "", text)


def address_of(uri: str) -> SnowflakeAddress:
    """The address that a URI names.

    Raises:
        UsageError: It has another form.
    """
    address = SnowflakeAddress(uri)
    parts = urlsplit(uri)
    unknown = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True) if name not in _OPTIONS]
    if unknown:
        raise UsageError(f"{unknown[0]} is no setting", where=address.origin, hint=f"known: {', '.join(_OPTIONS)}")
    if not parts.hostname or len(address.names) < 2:
        raise UsageError("names no schema of a database", where=address.origin, hint=f"write it as {FORM}")
    return address


def open_reader(source: Source, rest: str, context: SourceContext) -> Reader:
    """A reader of the schema ``rest``: ``//ACCOUNT/DATABASE/SCHEMA``.

    Raises:
        ConfigError: The driver is not installed.
        UsageError: The URI has another form, or no query is declared.
    """
    uri = f"snowflake:{rest}"
    address = address_of(uri)
    sql.require_query(source, address.origin)
    for package in ("adbc_driver_snowflake", "pyarrow"):
        if find_spec(package) is None:
            raise ConfigError(f"needs {package}", where=address.origin, hint="pip install 'headrace[snowflake]'")
    return sql.SqlReader(source, SnowflakeServer(address), context.named(source), context.cache)
