"""The routes that say why: of a stored prediction, of the newest forecasts of a series, of rows that are not stored."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from headrace.errors import ExplainError, FeatureError, HeadraceError, NotFoundError, ReplayError, UsageError
from headrace.home import Home
from headrace.models.explaining import EXACT
from headrace.models.stopping import refuse_stopped
from headrace.pipelines.explained import explain_newest, explain_prediction
from headrace.pipelines.predictions import find
from headrace.serving.http.access import PREDICT, READ, Access
from headrace.serving.http.asking import LONGEST_LABEL, MOST_FEATURES
from headrace.serving.http.body import Uncarried, every_fault, parsed, rows_of, unmarked, whole
from headrace.serving.http.champion import Champion
from headrace.serving.http.described import described_answer
from headrace.serving.http.many import no_features
from headrace.serving.http.options import Options
from headrace.serving.http.problem import Problem, busy
from headrace.serving.http.query import check_names
from headrace.serving.http.responses import json_response
from headrace.serving.http.served import ServedSystem
from headrace.serving.http.turns import Turns
from headrace.tasks.explanation import Explanation

MOST = 100
"""Rows of a request, and steps of a forecast."""
MOST_ASKED = 10
"""Rows of a request where a model cannot tell its contributions, and is asked along orders."""
MAX_BODY = 2**18
"""Bytes of a body, if no body may be smaller: a model may be asked hundreds of times about each row."""
MOST_WORDS = 1_000
"""Words and features that are told by themselves where words are asked for; the smaller ones are told as one."""
_STEP = 10
"""Rows between two looks whether anybody still waits."""
Top = Annotated[int | None, Query(ge=1, le=MOST_FEATURES, description="So many features; the others as one.")]
Words = Annotated[bool, Query(description="Tell the words of texts by themselves.")]
Label = Annotated[str | None, Query(alias="class", max_length=LONGEST_LABEL, description="The class to explain.")]


class ExplainRoutes:
    """Handlers of the routes that explain.

    Args:
        served: Systems by name.
        home: Where predictions are.
        access: Who may read, and who may ask about rows.
        options: Limits of a body.
    """

    def __init__(self, served: Mapping[str, ServedSystem], home: Home, access: Access, options: Options) -> None:
        self._served, self._home, self._access, self._options = served, home, access, options
        self._limit = min(options.max_body, MAX_BODY)
        self._posted, self._stored = Turns(), Turns()  # rows that are posted do not keep a stored prediction waiting

    def close(self) -> None:
        """End what is under way, and explain nothing more."""
        for turns in (self._posted, self._stored):
            turns.close()

    def router(self) -> APIRouter:
        """All routes."""
        router = APIRouter()
        router.add_api_route(
            "/v1/predictions/{prediction_id}/explain",
            self.prediction,
            methods=["GET"],
            response_model=None,
            response_class=JSONResponse,
            responses=described_answer("Explanation", (401, 403, 404, 409, 422, 503)),
        )
        # The server leaves the body out.
        router.add_api_route(
            "/v1/predictions/{prediction_id}/explain",
            self.prediction,
            methods=["HEAD"],
            response_model=None,
            include_in_schema=False,
        )
        # Told of every system by itself, with what it takes.
        router.add_api_route(
            "/v1/systems/{name}/explain", self.system, methods=["POST"], response_model=None, include_in_schema=False
        )
        return router

    async def prediction(
        self, request: Request, prediction_id: str, top: Top = None, label: Label = None, words: Words = False
    ) -> Response:
        """Why a stored prediction has its value."""
        authorization = request.headers.get("authorization", "").encode("latin-1")
        self._access.may(authorization, "", READ)  # who is not known learns nothing, not even what is missing
        self._stored.refuse_full()
        system, _ = await run_in_threadpool(told, find, self._home, prediction_id)
        self._access.check(authorization, system, READ)
        item = await self._stored.run(
            request.receive, told, explain_prediction, self._home, prediction_id, label=label, words=words
        )
        return json_response(item.top(_most(top, words)).as_dict())

    async def system(
        self, request: Request, name: str, top: Top = None, label: Label = None, words: Words = False
    ) -> Response:
        """Why rows get their predictions, or the newest forecasts of a series are what they are."""
        served = self._served.get(name)
        scope = PREDICT if served is None or not served.task.has_series else READ
        self._access.check(request.headers.get("authorization", "").encode("latin-1"), name, scope)
        if served is None:
            raise Problem(404, f"no system {name[:80]!r} is served here")
        known = ("top",) if served.task.has_series else ("top", "class", "words")
        check_names([key for key, _ in request.query_params.multi_items()], known)
        self._posted.refuse_full()  # before its body is read
        body = await self._body(request)
        if served.task.has_series:
            items, single = await self._posted.run(request.receive, told, self._of_series, served, body), False
        else:
            items, single = await self._posted.run(request.receive, told, _of_rows, served, body, label, words)
        found = [item.top(_most(top, words)).as_dict() for item in items]
        return json_response(found[0] if single else {"explanations": found})

    async def _body(self, request: Request) -> bytes:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json" or request.headers.get("content-encoding", "identity") != "identity":
            errors = [{"loc": ["header", "content-type"], "msg": "is not application/json"}]
            raise Problem(415, "the body must be JSON, not compressed", errors=errors)
        try:
            async with asyncio.timeout(self._options.body_timeout):
                return unmarked(await whole(request.receive, self._limit))
        except TimeoutError as error:
            raise Problem(408, "the body did not arrive in time") from error

    def _of_series(self, served: ServedSystem, body: bytes) -> list[Explanation]:
        data, keys = parsed(body), served.system.keys
        if not isinstance(data, dict):
            raise Problem(422, f"name the series by its keys: {', '.join(keys)}")
        errors = [{"loc": ["body", key], "msg": "is missing"} for key in keys if key not in data]
        errors += [{"loc": ["body", name[:80]], "msg": "is no key"} for name in data if name not in keys]
        errors += [
            {"loc": ["body", key], "msg": "is no text"} for key in keys if not isinstance(data.get(key, ""), str)
        ]
        if errors:
            raise Problem(422, f"name the series by its keys: {', '.join(keys)}", errors=errors)
        items = explain_newest(served.system, self._home, where=data)
        if len(items) > MOST:
            raise Problem(413, f"{len(items):,} steps are more than {MOST:,}")
        return items


def _most(top: int | None, words: bool) -> int | None:
    """How many contributions are told by themselves: a text may have more words than anybody reads."""
    return min(top or MOST_WORDS, MOST_WORDS) if words else top


def _of_rows(served: ServedSystem, body: bytes, label: str | None, words: bool) -> tuple[list[Explanation], bool]:
    champion = _champion(served)
    try:
        data = parsed(body)
    except Uncarried as error:
        raise every_fault(error, served.decoder) from error
    single = not isinstance(data, list)
    posted = [data] if single else data
    refuse_many(len(posted))
    rows = rows_of(served.decoder, posted, single=single)
    if champion.lookups is not None:
        try:
            champion.lookups.fill(rows, datetime.now(UTC))
        except HeadraceError as error:
            raise busy(f"the stored features cannot be looked up: {error.message}", 5) from error
    return explained(served, champion, rows, label, words), single


def refuse_many(rows: int) -> None:
    """Refuse more rows than are explained at once.

    Raises:
        Problem: 413.
    """
    if rows > MOST:
        raise Problem(413, f"{rows:,} rows are more than {MOST:,}")


def explained(
    served: ServedSystem, champion: Champion, rows: list[dict[str, Any]], label: str | None, words: bool = False
) -> list[Explanation]:
    """Why a version says what it says of rows, which are decoded and have what it looks up. Ends early when stopped.

    Raises:
        Problem: 413: they are too many for a model that cannot tell; 422: it fails on one; 503: it took too long.
        UsageError: There is no such class.
        ExplainError: The model cannot tell.
    """
    items: list[Explanation] = []
    for size in (1, *[_STEP] * (len(rows) // _STEP + 1)):  # the first tells whether the model can tell
        refuse_stopped()
        some = rows[len(items) : len(items) + size]
        items += _explained(served, champion, some, label, words) if some else []
        if items and items[0].method != EXACT and len(rows) > MOST_ASKED:
            text = f"{len(rows):,} rows are more than {MOST_ASKED:,}: {served.system.name} has a model that cannot tell"
            raise Problem(413, f"{text} its contributions, and is asked many times about each row")
    keys = served.system.keys
    return [replace(item, keys={key: row[key] for key in keys}) for item, row in zip(items, rows, strict=True)]


def _explained(
    served: ServedSystem, champion: Champion, rows: list[dict[str, Any]], label: str | None, words: bool
) -> list[Explanation]:
    try:
        return served.task.explain_held(champion.predictor, champion.version.version, rows, label=label, words=words)
    except (UsageError, ExplainError):
        raise
    except (HeadraceError, ArithmeticError, ValueError) as error:
        raise no_features(error) from error


def _champion(served: ServedSystem) -> Champion:
    champion = served.champion
    if served.lost is not None or champion is None or champion.predictor is None:
        raise busy(f"{served.system.name} is not ready: {served.lost or served.trouble}", 5)
    return champion


def told(function: Any, *arguments: Any, **more: Any) -> Any:
    """Call it, and tell its errors as problems.

    Raises:
        Problem: 404, 409 or 422 where asking again would not help, 503 where it may.
    """
    try:
        return function(*arguments, **more)
    except NotFoundError as error:
        raise Problem(404, error.message) from error
    except (UsageError, ExplainError, FeatureError) as error:
        parameter = {"label": "class", "words": "words"}.get(error.where or "")
        errors = [] if parameter is None else [{"loc": ["query", parameter], "msg": error.message}]
        raise Problem(422, error.message, errors=errors) from error
    except ReplayError as error:
        raise Problem(409, f"it cannot be explained any more: {error.message}") from error
    except (HeadraceError, OSError) as error:
        message = error.message if isinstance(error, HeadraceError) else str(error)
        raise busy(message, 5) from error
