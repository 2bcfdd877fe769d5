"""The routes that read systems from memory: what is served, series, observations, forecasts, metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from headrace.contract.apart import called
from headrace.home import COMPARISONS, METRICS, Home
from headrace.lineage import iso
from headrace.pipelines.beside import newest_beside
from headrace.serving.http.access import READ, Access
from headrace.serving.http.described import described_answer
from headrace.serving.http.forecasts import KEPT, Forecasts, Key
from headrace.serving.http.problem import Problem
from headrace.serving.http.protocols import tables
from headrace.serving.http.query import check_names
from headrace.serving.http.reads import scores
from headrace.serving.http.reads.pool import Reads
from headrace.serving.http.responses import json_response
from headrace.serving.http.served import ServedSystem

TABLE_READS = 4
"""Requests that may read tables at once; the others wait."""
Truth = Annotated[bool, Query(description="Add the truth, as it is known by now.")]
Hours = Annotated[
    int,
    Query(
        ge=1,
        le=KEPT // timedelta(hours=1),
        description="How far back from the newest; of weeks and months 24 at least.",
    ),
]


class ReadRoutes:
    """Handlers of the reading routes.

    Args:
        served: Systems by name.
        home: For traces and forecasts as of a time.
        access: Who may read.
        reads: Answers what takes a while.
    """

    def __init__(self, served: Mapping[str, ServedSystem], home: Home, access: Access, reads: Reads) -> None:
        self._served, self._home, self._access, self._reads = served, home, access, reads
        self._tables = asyncio.Semaphore(TABLE_READS)

    def router(self) -> APIRouter:
        """All routes."""
        router = APIRouter()
        statuses, series = (401, 403, 404), (304, 401, 403, 404, 422)
        listed = (*series, 406)
        for path, handler, schema, problems in (
            ("/v1/systems", self.systems, "Systems", (401, 503)),
            ("/v1/systems/{name}", self.system, "System", (*statuses, 503)),
            ("/v1/systems/{name}/series", self.series, "Series", (304, *statuses)),
            ("/v1/systems/{name}/observations", self.observations, "Observations", listed),
            ("/v1/systems/{name}/predictions", self.predictions, "Predictions", (*listed, 503)),
            ("/v1/systems/{name}/metrics", self.metrics, "Metrics", (*series, 503)),
        ):
            # Every status is told, also the 422 that the framework would add to all routes with parameters.
            answer = described_answer(schema, problems if 422 in problems else (*problems, 422))
            router.add_api_route(
                path, handler, methods=["GET"], response_model=None, response_class=JSONResponse, responses=answer
            )
            # The server leaves the body out.
            router.add_api_route(path, handler, methods=["HEAD"], response_model=None, include_in_schema=False)
        return router

    async def systems(self, request: Request) -> Response:
        """What is served, as far as the token allows reading it."""
        authorization = request.headers.get("authorization", "").encode("latin-1")
        visible = [served for name, served in self._served.items() if self._access.may(authorization, name, READ)]
        return json_response({"systems": [await run_in_threadpool(served.about) for served in visible]})

    async def system(self, request: Request, name: str) -> Response:
        """One system: contract as JSON Schema, horizon, champion version, last run."""
        return json_response(await run_in_threadpool(self._find(request, name).about))

    async def series(self, request: Request, name: str) -> Response:
        """Key combinations of a series system, or those that have the values given for some keys."""
        forecasts = self._forecasts(request, name)
        _check_query(request, self._served[name].system.keys)
        wanted_texts = forecasts.texts(request.query_params).items()
        series_found = [series for series in forecasts.series() if wanted_texts <= series.items()]
        return _cached(request, {"series": series_found}, forecasts.tag)

    async def observations(self, request: Request, name: str, hours: Hours = 168) -> Response:
        """The last observations of one series."""
        forecasts = self._forecasts(request, name)
        key = self._key(request, name, "hours")
        data = {"observations": forecasts.observed(key, hours)}
        return _cached(request, data, f"{forecasts.tag}-{hours}", "observations")

    async def predictions(
        self, request: Request, name: str, as_of: datetime | None = None, truth: Truth = False
    ) -> Response:
        """Stored predictions of one series: of the last week and the horizon, or the forecast as it stood then."""
        forecasts = self._forecasts(request, name)
        key = self._key(request, name, "as_of", "truth")
        if as_of is None:
            data = forecasts.predicted(key)
            return _cached(request, forecasts.with_truth(key, data) if truth else data, forecasts.tag, "predictions")
        moment = _moment(as_of)
        keys = dict(zip(self._served[name].system.keys, key, strict=True))
        reply = await self._reads.read(scores.as_of, name=name, key=keys, moment=iso(moment), truth=truth)
        tag = f"{forecasts.tag}-{iso(moment)}-{truth:d}"
        return _cached(request, msgspec.json.decode(reply.body), tag, "predictions")

    async def metrics(self, request: Request, name: str) -> Response:
        """Monitoring metrics, overall and over time; of one series, or of rows by model version too."""
        served = self._find(request, name)
        _check_query(request, served.system.keys if served.task.has_series else ())
        if not served.task.has_series:
            return await self._of_rows(request, served)
        forecasts = self._forecasts(request, name)
        texts = forecasts.texts(request.query_params)
        if texts and not any(texts.items() <= series.items() for series in forecasts.series()):
            raise Problem(404, f"{name} has no series {', '.join(texts.values())}"[:200])
        tag = await run_in_threadpool(self._beside_tag, name)
        told = await run_in_threadpool(_metrics, served, texts)
        if not texts:
            told["beside"] = await run_in_threadpool(newest_beside, name, self._home)
        return _cached(request, told, f"{forecasts.tag}-{tag}")

    def _beside_tag(self, name: str) -> str:
        """Changes with what is told of versions beside the champion."""
        champion = self._served[name].champion
        number = champion.version.version if champion is not None else 0
        return f"{self._home.table(name, COMPARISONS).version()}-{number}"

    async def _of_rows(self, request: Request, served: ServedSystem) -> Response:
        async with self._tables:
            name = served.system.name
            tag = await run_in_threadpool(lambda: self._home.table(name, METRICS).version())
            beside = await run_in_threadpool(self._beside_tag, name)
            metrics = await run_in_threadpool(_metrics, served, {})
            metrics["beside"] = await run_in_threadpool(newest_beside, name, self._home)
            return _cached(request, metrics, f"rows-{tag}-{beside}")

    def _may(self, request: Request, system: str) -> None:
        self._access.check(request.headers.get("authorization", "").encode("latin-1"), system, READ)

    def _find(self, request: Request, name: str) -> ServedSystem:
        self._may(request, name)
        served = self._served.get(name)
        if served is None:
            raise Problem(404, f"no system {name[:80]!r} is served here")
        return served

    def _forecasts(self, request: Request, name: str) -> Forecasts:
        served = self._find(request, name)
        forecasts = served.series
        if forecasts is None:
            raise Problem(404, f"{name} {served.task.action}, it has no series")
        return forecasts

    def _key(self, request: Request, name: str, *parameters: str) -> Key:
        served = self._served[name]
        called_as = {called(key): key for key in served.system.keys if called(key) not in (key, *parameters)}
        _check_query(request, (*served.system.keys, *called_as, *parameters))
        texts_given = {called_as.get(name, name): text for name, text in request.query_params.items()}
        missing = [key for key in served.system.keys if key not in texts_given]
        if missing:
            errors = [{"loc": ["query", key], "msg": "is missing"} for key in missing]
            raise Problem(422, f"name the series: {', '.join(served.system.keys)}", errors=errors)
        assert served.series is not None
        texts = served.series.texts({key: texts_given[key] for key in served.system.keys})
        key = tuple(texts[key] for key in served.system.keys)
        if not served.series.has(key):
            raise Problem(404, f"{name} has no series {', '.join(key) or 'yet'}"[:200])
        return key


def _metrics(served: ServedSystem, texts: Mapping[str, str]) -> dict[str, Any]:
    """Metrics of the series that have these keys, or of rows, which nobody has read yet."""
    import polars as pl

    if served.series is None:
        return served.task.measured(served.home, served.task.scores(served.home))
    scores = served.series.scores
    if scores is not None:
        scores = scores.filter(*(pl.col(key).cast(pl.String) == text for key, text in texts.items()))
    return served.task.measured(served.home, scores)


def _moment(as_of: datetime) -> datetime:
    """A time of a query, in UTC."""
    where = ["query", "as_of"]
    if as_of.tzinfo is None:
        raise Problem(422, "as_of has no zone", errors=[{"loc": where, "msg": "has no zone"}])
    try:
        return as_of.astimezone(UTC)
    except OverflowError as error:
        errors = [{"loc": where, "msg": "is outside of the calendar"}]
        raise Problem(422, "as_of is outside of the calendar", errors=errors) from error


def _check_query(request: Request, known: Sequence[str]) -> None:
    check_names([name for name, _ in request.query_params.multi_items()], known)


def _cached(request: Request, data: Any, tag: str, table: str = "") -> Response:
    """An answer that a client may keep until it changes.

    Args:
        request: Its headers say what the client holds, and what it likes.
        data: The answer.
        tag: Changes with it.
        table: Which part of the answer is a table, if one is: that may be had as one.

    Raises:
        Problem: 406: of what the client likes there is nothing.
    """
    kind = tables.preferred(request.headers.get("accept", "").encode("latin-1")) if table else tables.PLAIN
    etag = f'"{tag}"' if kind is tables.PLAIN else f'"{tag}-{kind.media.rpartition("/")[2]}"'
    headers = {"etag": etag, "cache-control": "private, max-age=5"} | ({"vary": "Accept"} if table else {})
    # A proxy that compresses makes the tag a weak one, which is good enough here.
    held = (part.strip().removeprefix("W/") for part in request.headers.get("if-none-match", "").split(","))
    if any(tag in (etag, "*") for tag in held):
        return Response(status_code=304, headers=headers)
    if kind is tables.PLAIN:
        return Response(msgspec.json.encode(data), headers=headers, media_type="application/json")
    body = tables.listed(kind, data[table], tables.LISTED[table])
    return Response(body, headers=headers | {"content-type": kind.told.decode()})
