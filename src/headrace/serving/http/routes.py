"""The routes that read systems: what is served, series, observations, forecasts, metrics, alerts, traces."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from headrace.contract.apart import called
from headrace.errors import HeadraceError, NotFoundError
from headrace.home import METRICS, Home
from headrace.pipelines import row_monitoring, row_scores, runs
from headrace.pipelines.inference import read_predictions, trace
from headrace.pipelines.scores import measures
from headrace.serving.http.access import READ, Access
from headrace.serving.http.described import described_answer
from headrace.serving.http.forecasts import KEPT, Forecasts, Key, answer
from headrace.serving.http.problem import Problem
from headrace.serving.http.protocols import tables
from headrace.serving.http.query import check_names
from headrace.serving.http.responses import json_response
from headrace.serving.http.served import Served

TABLE_READS = 4
"""Requests that may read tables at once; the others wait."""
Limit = Annotated[int, Query(ge=1, le=1000, description="How many at most.")]
Status = Annotated[Literal["failed"], Query(description="Only those that failed.")]
Hours = Annotated[
    int,
    Query(
        ge=1,
        le=KEPT // timedelta(hours=1),
        description="How far back from the newest; of weeks and months 24 at least.",
    ),
]


class Reading:
    """Handlers of the reading routes.

    Args:
        served: Systems by name.
        home: For traces and forecasts as of a time.
        access: Who may read.
    """

    def __init__(self, served: Mapping[str, Served], home: Home, access: Access) -> None:
        self._served, self._home, self._access = served, home, access
        self._reads = asyncio.Semaphore(TABLE_READS)

    def router(self) -> APIRouter:
        """All routes."""
        router = APIRouter()
        found, series = (401, 403, 404), (304, 401, 403, 404, 422)
        listed = (*series, 406)
        for path, handler, schema, problems in (
            ("/v1/systems", self.systems, "Systems", (401,)),
            ("/v1/systems/{name}", self.system, "System", found),
            ("/v1/systems/{name}/series", self.series, "Series", (304, *found)),
            ("/v1/systems/{name}/observations", self.observations, "Observations", listed),
            ("/v1/systems/{name}/predictions", self.predictions, "Predictions", (*listed, 503)),
            ("/v1/systems/{name}/metrics", self.metrics, "Metrics", (*series, 503)),
            ("/v1/systems/{name}/runs", self.runs, "Runs", (*found, 422, 503)),
            ("/v1/systems/{name}/alerts", self.alerts, "Alerts", (*found, 503)),
            ("/v1/predictions/{prediction_id}", self.prediction, "Trace", (*found, 503)),
        ):
            # Every status is told, also the 422 that the framework would add to all routes with parameters.
            told = described_answer(schema, problems if 422 in problems else (*problems, 422))
            router.add_api_route(
                path, handler, methods=["GET"], response_model=None, response_class=JSONResponse, responses=told
            )
            # The server leaves the body out.
            router.add_api_route(path, handler, methods=["HEAD"], response_model=None, include_in_schema=False)
        return router

    async def systems(self, request: Request) -> Response:
        """What is served, as far as the token allows reading it."""
        given = request.headers.get("authorization", "").encode("latin-1")
        seen = [each for name, each in self._served.items() if self._access.may(given, name, READ)]
        return json_response({"systems": [await run_in_threadpool(each.about) for each in seen]})

    async def system(self, request: Request, name: str) -> Response:
        """One system: contract as JSON Schema, horizon, champion version, last run."""
        return json_response(await run_in_threadpool(self._find(request, name).about))

    async def series(self, request: Request, name: str) -> Response:
        """Key combinations of a series system, or those that have the values given for some keys."""
        forecasts = self._forecasts(request, name)
        _check_query(request, self._served[name].system.keys)
        wanted = forecasts.texts(request.query_params).items()
        found = [series for series in forecasts.series() if wanted <= series.items()]
        return _cached(request, {"series": found}, forecasts.tag)

    async def observations(self, request: Request, name: str, hours: Hours = 168) -> Response:
        """The last observations of one series."""
        forecasts = self._forecasts(request, name)
        key = self._key(request, name, "hours")
        data = {"observations": forecasts.observed(key, hours)}
        return _cached(request, data, f"{forecasts.tag}-{hours}", "observations")

    async def predictions(self, request: Request, name: str, as_of: datetime | None = None) -> Response:
        """Stored predictions of one series: of the last week and the horizon, or the forecast as it stood then."""
        forecasts = self._forecasts(request, name)
        key = self._key(request, name, "as_of")
        if as_of is None:
            return _cached(request, forecasts.predicted(key), forecasts.tag, "predictions")
        if as_of.tzinfo is None:
            raise Problem(422, "as_of has no zone", errors=[{"loc": ["query", "as_of"], "msg": "has no zone"}])
        try:
            moment = as_of.astimezone(UTC)
        except OverflowError as error:
            errors = [{"loc": ["query", "as_of"], "msg": "is outside of the calendar"}]
            raise Problem(422, "as_of is outside of the calendar", errors=errors) from error
        try:
            async with self._reads:
                data = await run_in_threadpool(self._as_of, name, key, moment)
        except HeadraceError as error:
            raise Problem(503, error.message, headers=[(b"retry-after", b"5")]) from error
        return _cached(request, data, f"{forecasts.tag}-{moment.isoformat()}", "predictions")

    def _as_of(self, name: str, key: Key, as_of: datetime) -> dict[str, Any]:
        system = self._served[name].system
        where = dict(zip(system.keys, key, strict=True))
        try:
            rows = read_predictions(system, self._home, as_of=as_of, where=where)
        except NotFoundError:
            return answer(system, None, None, None)
        made = rows["as_of"].max() if rows.height else None
        version = int(rows["model_version"][-1]) if rows.height else None
        return answer(system, rows, made if isinstance(made, datetime) else None, version)

    async def metrics(self, request: Request, name: str) -> Response:
        """Monitoring metrics, overall and over time; of one series, or of rows by model version too."""
        served = self._find(request, name)
        _check_query(request, served.system.keys if served.system.forecasts else ())
        if not served.system.forecasts:
            return await self._of_rows(request, served)
        forecasts = self._forecasts(request, name)
        wanted = forecasts.texts(request.query_params)
        if wanted and not any(wanted.items() <= series.items() for series in forecasts.series()):
            raise Problem(404, f"{name} has no series {', '.join(wanted.values())}"[:200])
        return _cached(request, await run_in_threadpool(_metrics, served, wanted), forecasts.tag)

    async def _of_rows(self, request: Request, served: Served) -> Response:
        try:
            async with self._reads:
                tag = await run_in_threadpool(lambda: self._home.table(served.system.name, METRICS).version())
                return _cached(request, await run_in_threadpool(_metrics_of_rows, served), f"rows-{tag}")
        except HeadraceError as error:
            raise Problem(503, error.message, headers=[(b"retry-after", b"5")]) from error

    async def runs(self, request: Request, name: str, limit: Limit = 100, status: Status | None = None) -> Response:
        """The last runs that ended, newest first, the failed ones included."""
        self._find(request, name)
        _check_query(request, ("limit", "status"))
        try:
            async with self._reads:
                found = await run_in_threadpool(runs.newest, self._home, name, limit, failed=status == runs.FAILED)
        except HeadraceError as error:
            raise Problem(503, error.message, headers=[(b"retry-after", b"5")]) from error
        return json_response({"runs": found})

    async def alerts(self, request: Request, name: str) -> Response:
        """Open and past warnings and alarms."""
        self._find(request, name)
        _check_query(request, ())
        try:
            found = await run_in_threadpool(self._home.ledger.alerts, name)
        except HeadraceError as error:
            raise Problem(503, error.message, headers=[(b"retry-after", b"5")]) from error
        return json_response({"alerts": found})

    async def prediction(self, request: Request, prediction_id: str) -> Response:
        """The trace of one prediction."""
        given = request.headers.get("authorization", "").encode("latin-1")
        self._access.may(given, "", READ)  # who is not known learns nothing, not even what is missing
        try:
            async with self._reads:
                found = await run_in_threadpool(trace, self._home, prediction_id)
        except NotFoundError as error:
            raise Problem(404, error.message) from error
        except HeadraceError as error:
            raise Problem(503, error.message, headers=[(b"retry-after", b"5")]) from error
        self._access.check(given, found["system"], READ)
        return json_response(found)

    def _may(self, request: Request, system: str) -> None:
        self._access.check(request.headers.get("authorization", "").encode("latin-1"), system, READ)

    def _find(self, request: Request, name: str) -> Served:
        self._may(request, name)
        served = self._served.get(name)
        if served is None:
            raise Problem(404, f"no system {name[:80]!r} is served here")
        return served

    def _forecasts(self, request: Request, name: str) -> Forecasts:
        forecasts = self._find(request, name).forecasts
        if forecasts is None:
            raise Problem(404, f"{name} scores rows, it has no series")
        return forecasts

    def _key(self, request: Request, name: str, parameter: str) -> Key:
        served = self._served[name]
        called_as = {called(key): key for key in served.system.keys if called(key) not in (key, parameter)}
        _check_query(request, (*served.system.keys, *called_as, parameter))
        given = {called_as.get(name, name): text for name, text in request.query_params.items()}
        missing = [key for key in served.system.keys if key not in given]
        if missing:
            errors = [{"loc": ["query", key], "msg": "is missing"} for key in missing]
            raise Problem(422, f"name the series: {', '.join(served.system.keys)}", errors=errors)
        assert served.forecasts is not None
        texts = served.forecasts.texts({each: given[each] for each in served.system.keys})
        key = tuple(texts[each] for each in served.system.keys)
        if not served.forecasts.has(key):
            raise Problem(404, f"{name} has no series {', '.join(key) or 'yet'}"[:200])
        return key


def _metrics(served: Served, wanted: Mapping[str, str]) -> dict[str, Any]:
    import polars as pl

    system, scores = served.system, served.forecasts.scores if served.forecasts is not None else None
    if scores is None:
        return {"metrics": {}, "over_time": []}
    scores = scores.filter(*(pl.col(key).cast(pl.String) == text for key, text in wanted.items()))
    baselines = system.monitoring.compared
    overall = measures(scores, [], baselines).row(0, named=True)
    over_time = measures(scores, [system.event_time], baselines).sort(system.event_time)
    return {
        "metrics": overall,
        "over_time": over_time.rename({system.event_time: "time"}).to_dicts(),
    }


def _metrics_of_rows(served: Served) -> dict[str, Any]:
    scores = row_monitoring.read_scores(served.system, served.home)
    if scores is None:
        return {"metrics": {}, "over_time": [], "by_version": []}
    return {
        "metrics": row_scores.measures(scores, []).row(0, named=True),
        "over_time": row_scores.measures(scores, ["time"]).to_dicts(),
        "by_version": row_scores.measures(scores, ["model_version"]).to_dicts(),
    }


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
    held = (each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(","))
    if any(each in (etag, "*") for each in held):
        return Response(status_code=304, headers=headers)
    if kind is tables.PLAIN:
        return Response(msgspec.json.encode(data), headers=headers, media_type="application/json")
    body = tables.listed(kind, data[table], tables.LISTED[table])
    return Response(body, headers=headers | {"content-type": kind.told.decode()})
