"""``api``: Energi Data Service (Energinet), the open data of the Danish energy system.

See energidataservice.dk/guides/api-guides. Records are asked for in windows of event time and pages within a window;
windows that were read are kept on disk until the whole read is done, so that one that breaks off goes on where it was.
"""

from __future__ import annotations

import gzip
import json
import shutil
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from pydantic import Field

from headrace.declaration import Duration
from headrace.errors import SourceError, UsageError
from headrace.files import write_whole
from headrace.lineage import digest_of
from headrace.sources.base import Api, Reader, Records, Since, Source, SourceContext, require_zone
from headrace.sources.http import JsonClient, Politeness

if TYPE_CHECKING:
    import polars as pl

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KEPT = timedelta(hours=1)
"""A window that was read longer ago is read again: it may have been corrected."""
_READS = 3
"""How often a window is read until its pages agree."""


class EnergiDataService(Api):
    """Which data set, and how it is read.

    Attributes:
        dataset: ``ConsumptionDE35Hour`` (until 2025), or a successor such as ``ConsumptionIndustry`` or
            ``ConsumptionDK3619codehour``, whose columns go into `time`, `order` and `Source.columns`.
        time: Its column of the event time, UTC.
        order: Columns that, with the time, tell one record from another.
        filters: Only records with one of these values, by column.
        url: Where the service is.
        history: How far back the first read goes.
        overlap: How far before the newest known event time later reads begin, to see corrections.
        window: Event time asked for at once.
        page: Records asked for at once.
        politeness: Time-outs, rate limit and retries.
    """

    dataset: str = "ConsumptionDE35Hour"
    time: str = "HourUTC"
    order: tuple[str, ...] = ("PriceArea", "ConsumerType_DE35")
    filters: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    url: str = "https://api.energidataservice.dk/dataset/"
    history: Duration = timedelta(days=60)
    overlap: Duration = timedelta(days=10)
    window: Duration = Field(default=timedelta(days=7), ge=timedelta(hours=1))
    page: int = Field(default=10_000, ge=1)
    politeness: Politeness = Field(default_factory=Politeness)

    def reader(self, source: Source, cache: Path | None) -> Reader:
        """A reader of the data set; with a folder for what a broken-off read has got."""
        return ApiReader(source, self, cache)


def open_reader(source: Source, rest: str, context: SourceContext) -> Reader:
    """The reader of the system's own API.

    Raises:
        UsageError: The system declares none, or something follows ``api``.
    """
    if source.api is None:
        hint = "declare Source(api=EnergiDataService(dataset=...)), or use --source file:PATH"
        raise UsageError("this system has no live API", where="source.api", hint=hint)
    if rest:
        raise UsageError("nothing follows api", where=f"api:{rest}", hint="set source.api.* with --set")
    return source.api.reader(source, context.cache)


@dataclass(frozen=True)
class ApiReader:
    """Reads a data set of Energi Data Service."""

    source: Source
    api: EnergiDataService
    cache: Path | None = None

    def read(
        self, *, as_of: datetime, now: datetime, since: Since | None = None, first: datetime | None = None
    ) -> Records:
        """Records with event times up to `as_of`.

        They begin `overlap` before what `since` finds; without it, or for runs of the past, `history` before the
        newest that the first run could know.

        Raises:
            SourceError: The service failed, or its pages do not agree.
        """
        require_zone(as_of=as_of, now=now)
        begin = (first or as_of) - self.source.lag - self.api.history
        newest = since() if since is not None and first is None else None
        if newest is not None:
            begin = newest - self.api.overlap
        rows: list[dict[str, Any]] = []
        with JsonClient(self.api.politeness) as client:
            for start, end in _windows(begin, as_of, self.api.window):
                rows += self._window(client, start, end, now)
        if self.cache is not None:
            shutil.rmtree(self.cache, ignore_errors=True)
        span = {"start": f"{begin:%Y-%m-%dT%H:%M}", "end": f"{as_of:%Y-%m-%dT%H:%M}"}
        return Records(_frame(rows), f"{self.api.url}{self.api.dataset}?{urlencode(span)}")

    def _window(self, client: JsonClient, start: datetime, end: datetime, now: datetime) -> list[dict[str, Any]]:
        parameters = {
            "start": f"{start:%Y-%m-%dT%H:%M}",
            "end": f"{end:%Y-%m-%dT%H:%M}",
            "timezone": "utc",
            "sort": ",".join([self.api.time, *self.api.order]),
        }
        if self.api.filters:
            parameters["filter"] = json.dumps(self.api.filters, separators=(",", ":"))
        path = (
            self.cache / f"{digest_of([self.api.url, self.api.dataset, parameters], 24)}.json.gz"
            if self.cache
            else None
        )
        if path is None:
            return self._agreeing(client, parameters)
        # Another run that has all it wants may take the folder away at any moment.
        with suppress(OSError, EOFError, zlib.error, ValueError, KeyError, TypeError):  # damaged: it is read again
            stored = json.loads(gzip.decompress(path.read_bytes()))
            if abs(now - datetime.fromisoformat(stored["read_at"])) <= _KEPT:
                found: list[dict[str, Any]] = stored["records"]
                return found
        records = self._agreeing(client, parameters)
        with suppress(FileNotFoundError):
            data = json.dumps({"read_at": now.isoformat(), "records": records}).encode()
            write_whole(path, gzip.compress(data))
        return records

    def _agreeing(self, client: JsonClient, parameters: dict[str, str]) -> list[dict[str, Any]]:
        """All records of a window: as many different ones as the service says there are."""
        for _ in range(_READS):
            records_by_id: dict[str, dict[str, Any]] = {}
            offset, total = 0, 1
            totals = set()
            while offset < total:
                page = client.get(self._url, {**parameters, "offset": str(offset), "limit": str(self.api.page)})
                records, total = self._checked(page)
                totals.add(total)
                records_by_id |= {json.dumps(record, sort_keys=True): record for record in records}
                if not records:
                    break
                offset += self.api.page
            if len(totals) == 1 and len(records_by_id) == total:
                return list(records_by_id.values())
        raise SourceError(
            f"the pages do not agree: {len(records_by_id):,} different records of {total:,}",
            where=f"{self._url}?{urlencode(parameters)}",
            hint="the data set changes while it is read: try again later, or widen source.api.page",
        )

    @property
    def _url(self) -> str:
        return f"{self.api.url.rstrip('/')}/{self.api.dataset}"

    def _checked(self, page: dict[str, Any]) -> tuple[list[dict[str, Any]], int]:
        records, total = page.get("records"), page.get("total")
        if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            raise SourceError("the answer has no list of records", where=self._url, hint="is source.api.url right?")
        if not isinstance(total, str) or not total.isdigit():
            raise SourceError("the answer does not say how many records there are", where=self._url)
        return records, int(total)


def _windows(begin: datetime, end: datetime, size: timedelta) -> Iterator[tuple[datetime, datetime]]:
    """Windows on a fixed grid from the one that holds `begin` to the one that holds `end`; ends are exclusive."""
    start = _EPOCH + (begin - _EPOCH) // size * size
    while start <= end:
        yield start, start + size
        start += size


def _frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Records as text columns, as a file would give them; nested values as JSON."""
    import polars as pl

    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: [_text(row.get(name)) for row in rows] for name in names}
    return pl.DataFrame(columns, schema=dict.fromkeys(names, pl.String))


def _text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)
