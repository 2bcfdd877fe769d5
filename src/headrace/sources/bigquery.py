"""``bigquery://PROJECT/DATASET``: a query of BigQuery, by Google's client: its rows come as Arrow.

Who logs in is found as for every client of Google: ``GOOGLE_APPLICATION_CREDENTIALS``, or what ``gcloud auth`` left.
``BIGQUERY_EMULATOR_HOST`` names a server for tests, which asks nobody who he is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime
from importlib.util import find_spec
from itertools import chain
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from headrace.errors import ConfigError, SourceError, UsageError
from headrace.sources import arrow, sql
from headrace.sources.base import Reader, Source, SourceContext
from headrace.sources.statements import bound, named, quoted

if TYPE_CHECKING:
    import polars as pl

_PATIENCE = 30.0
"""Seconds for a request to be taken; the result of a job may take longer."""
FORM = "bigquery://PROJECT/DATASET?location=EU"


@dataclass(frozen=True)
class BigQueryAddress:
    """Where a data set of BigQuery is.

    Attributes:
        uri: As it was written.
    """

    uri: str

    @property
    def project(self) -> str:
        """Who pays, and where the data set is."""
        return urlsplit(self.uri).netloc

    @property
    def names(self) -> list[str]:
        """What stands in the path: the data set, and what follows."""
        return [unquote(name) for name in urlsplit(self.uri).path.strip("/").split("/") if name]

    @property
    def location(self) -> str | None:
        """Where queries run; None: where BigQuery puts them."""
        return dict(parse_qsl(urlsplit(self.uri).query)).get("location")

    @property
    def origin(self) -> str:
        """Where it is."""
        return f"bigquery://{self.project}/{'/'.join(self.names[:1])}"

    def client(self) -> Any:
        """Google's client.

        Raises:
            ConfigError: Nobody is logged in.
        """
        from google.api_core.client_options import ClientOptions
        from google.auth import credentials
        from google.auth.exceptions import DefaultCredentialsError
        from google.cloud import bigquery

        emulator = os.environ.get("BIGQUERY_EMULATOR_HOST")
        more: dict[str, Any] = {}
        anonymous: Any = credentials.AnonymousCredentials
        if emulator:
            endpoint = emulator if "://" in emulator else f"http://{emulator}"
            more = {"credentials": anonymous(), "client_options": ClientOptions(api_endpoint=endpoint)}
        try:
            return bigquery.Client(self.project, location=self.location, **more)
        except DefaultCredentialsError as error:
            hint = "set GOOGLE_APPLICATION_CREDENTIALS, or run: gcloud auth application-default login"
            raise ConfigError("nothing says who logs in", where=self.origin, hint=hint) from error

    def asked(self, client: Any, text: str, values: Mapping[str, Any]) -> Any:
        """The finished job of a statement whose parameters are written ``@name``."""
        from google.cloud import bigquery

        parameters = [bigquery.ScalarQueryParameter(name, _kind(value), value) for name, value in values.items()]
        names = f"{self.project}.{self.names[0]}"
        config = bigquery.QueryJobConfig(query_parameters=parameters, default_dataset=names)
        job = client.query(text, job_config=config, retry=_retry(), job_retry=None)
        job.result(max_results=0)
        return job

    def looked_up(self, client: Any, table: str) -> Any:
        """What the data set knows of a table; `NotFound` of Google's client where it has none."""
        return client.get_table(f"{self.project}.{self.names[0]}.{table}", retry=_retry())


def _retry() -> Any:
    """How long a request is repeated: of itself Google's client does for ten minutes."""
    from google.cloud import bigquery

    return bigquery.DEFAULT_RETRY.with_timeout(_PATIENCE).with_delay(maximum=5)


def _kind(value: Any) -> str:
    """The type of a parameter."""
    if isinstance(value, datetime):
        return "DATETIME" if value.tzinfo is None else "TIMESTAMP"
    kinds: tuple[tuple[type, str], ...] = (
        (bool, "BOOL"),
        (int, "INT64"),
        (float, "FLOAT64"),
        (date, "DATE"),
    )
    return next((name for kind, name in kinds if isinstance(value, kind)), "STRING")


@dataclass(frozen=True)
class BigQueryServer:
    """See `SqlDatabase`. A job reads one moment, and its result is a table that is read in parts.

    Attributes:
        address: Of the data set.
    """

    address: BigQueryAddress
    typed: bool = True

    @property
    def origin(self) -> str:
        """Where it is."""
        return self.address.origin

    def column(self, name: str) -> str:
        """See `SqlDatabase`."""
        return named(name, "`")

    def table(self, name: str) -> str:
        """See `SqlDatabase`."""
        return quoted(name, "`")

    def frames(self, statement: str, parameters: Mapping[str, Any]) -> Iterator[pl.DataFrame]:
        """See `SqlDatabase`."""
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError
        from requests import RequestException

        text, values = bound(statement, parameters, "@name")
        try:
            with closing(self.address.client()) as client:
                job = self.address.asked(client, text, dict(values))
                if job.statement_type not in (None, "SELECT"):
                    raise SourceError(f"is a {job.statement_type}", where="source.query", hint="write one SELECT")
                batches = iter(job.result(page_size=arrow.PART).to_arrow_iterable())
                first = next(batches, None)
                shown = job.result().to_arrow(create_bqstorage_client=False) if first is None else first
                yield from arrow.frames(
                    shown.schema, batches if first is None else chain([first], batches), self.origin
                )
        except (GoogleAPIError, GoogleAuthError, RequestException) as error:
            raise SourceError(f"cannot be read: {reason_of(error)}", where=self.origin) from error


def reason_of(error: BaseException) -> str:
    """What an error of Google's client says, in one line."""
    text = str(getattr(error, "message", "") or error) or type(error).__name__
    return text.splitlines()[0].partition("; reason:")[0]


def address_of(uri: str) -> BigQueryAddress:
    """The address that a URI names.

    Raises:
        UsageError: It has another form.
    """
    address = BigQueryAddress(uri)
    unknown = [name for name, _ in parse_qsl(urlsplit(uri).query, keep_blank_values=True) if name != "location"]
    if unknown or not address.project or "@" in address.project or not address.names:
        raise UsageError("names no data set", where=address.origin, hint=f"write it as {FORM}")
    return address


def open_reader(source: Source, rest: str, context: SourceContext) -> Reader:
    """A reader of the data set ``rest``: ``//PROJECT/DATASET``.

    Raises:
        ConfigError: The client is not installed.
        UsageError: The URI has another form, or no query is declared.
    """
    address = address_of(f"bigquery:{rest}")
    sql.require_query(source, address.origin)
    for package in ("google.cloud.bigquery", "pyarrow"):
        if not _present(package):
            raise ConfigError(f"needs {package}", where=address.origin, hint="pip install 'headrace[bigquery]'")
    return sql.SqlReader(source, BigQueryServer(address), context.named(source), context.cache)


def _present(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # of the folder above it
        return False
