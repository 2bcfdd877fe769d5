"""The routes that people browse by: overview, scores, series, runs, alerts, versions, what was set apart, traces."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import JSONResponse

from headrace.pipelines.validations import SHOWN
from headrace.serving.http.access import DECIDE, PREDICT, READ, WRITE
from headrace.serving.http.described import described_answer
from headrace.serving.http.problem import Problem
from headrace.serving.http.reads import graph, records, scores, status, versions
from headrace.serving.http.reads.answering import (
    Asker,
    AsOf,
    Cursor,
    Handled,
    Limit,
    authorization_of,
    moment_of,
    replied,
)
from headrace.serving.http.reads.pool import ReadReply, Reads
from headrace.serving.http.responses import json_response
from headrace.tasks.schemas import TEXT

By = Annotated[
    str,
    Query(max_length=80, description="`time run step series version`, a key of series, or a column of rows."),
]
Order = Annotated[Literal["worst", "best", "name", "stale"], Query(description="Which come first.")]
Text = Annotated[str, Query(max_length=200, description="Only series with this in their keys, whatever its case.")]
Measure = Annotated[str | None, Query(max_length=80, description="By which metric. Default: the one that decides.")]
Truth = Annotated[bool, Query(description="Add the truth, as it is known by now.")]
Failed = Annotated[Literal["failed"] | None, Query(description="Only those that failed.")]
Open = Annotated[bool, Query(alias="open", description="Only those that are not closed.")]
Alert = Annotated[str | None, Query(max_length=80, description="Only what is about this alert, or came of it.")]
Run = Annotated[str | None, Query(max_length=80, description="The id of a run; else the last ingest.")]
Reasons = Annotated[list[str] | None, Query(description="Only rows with a reason that holds this; repeatable.")]
Columns = Annotated[list[str] | None, Query(description="Only rows with this column at fault; repeatable.")]
Origin = Annotated[str | None, Query(description="Only rows of sources whose address holds this.")]
WithReleased = Annotated[bool, Query(description="Those too that were released since.")]
WithImportance = Annotated[bool, Query(description="How much each feature matters to each version, too.")]
Number = Annotated[int, Path(ge=1, le=2**31 - 1, description="The version.")]
Version = Annotated[int, Query(ge=1, le=2**31 - 1, description="A version.")]
CardForm = Annotated[Literal["json", "markdown", "html"], Query(alias="format", description="How it is written.")]
_TEXTS = ("text/markdown", "text/html")
_MEDIA = {"json": "application/json", "markdown": "text/markdown; charset=utf-8", "html": "text/html; charset=utf-8"}


class BrowseRoutes:
    """Handlers of the routes.

    Args:
        asker: Who may ask about what.
        reads: Answers.
    """

    def __init__(self, asker: Asker, reads: Reads) -> None:
        self._asker, self._reads = asker, reads

    def router(self) -> APIRouter:
        """All routes."""
        router = APIRouter()
        problems_read = (304, 401, 403, 404, 422, 503)
        system = "/v1/systems/{name}"
        routes: list[Handled] = [
            ("/v1/access", self.access, "Access", (401,)),
            ("/v1/overview", self.overview, "Overview", (304, 401, 503)),
            ("/v1/audit", self.audit, "AuditTrail", problems_read),
            (f"{system}/status", self.status, "Status", problems_read),
            (f"{system}/scores", self.scores, "Scores", problems_read),
            (f"{system}/series/search", self.search, "SeriesFound", problems_read),
            (f"{system}/answers", self.answers, "Answers", problems_read),
            (f"{system}/runs", self.runs, "Runs", problems_read),
            (f"{system}/runs/{{run_id}}", self.run, "RunDetail", problems_read),
            (f"{system}/alerts", self.alerts, "Alerts", problems_read),
            (f"{system}/why", self.why, "Why", problems_read),
            (f"{system}/drift", self.drift, "Drift", problems_read),
            (f"{system}/validation", self.validation, "Validation", problems_read),
            (f"{system}/quarantine", self.quarantine, "Quarantine", problems_read),
            (f"{system}/models", self.models, "ModelVersions", problems_read),
            (f"{system}/models/{{version}}", self.model, "ModelDetail", problems_read),
            (f"{system}/models/{{version}}/card", self.card, "ModelCard", (*problems_read, 409)),
            (f"{system}/comparison", self.comparison, "Comparison", (*problems_read, 409)),
            ("/v1/predictions/{prediction_id}", self.prediction, "Trace", problems_read),
            ("/v1/predictions/{prediction_id}/graph", self.graph, "TraceGraph", problems_read),
            ("/v1/predictions/{prediction_id}/replay", self.replay, "Replay", (*problems_read, 409)),
        ]
        for path, handler, schema, problems in routes:
            answer = described_answer(schema, problems if 422 in problems else (*problems, 422))
            if schema == "ModelCard":
                answer[200]["content"] |= {kind: {"schema": TEXT} for kind in _TEXTS}
            router.add_api_route(
                path, handler, methods=["GET"], response_model=None, response_class=JSONResponse, responses=answer
            )
            # The server leaves the body out.
            router.add_api_route(path, handler, methods=["HEAD"], response_model=None, include_in_schema=False)
        return router

    async def access(self, request: Request) -> Response:
        """What the token of the request may do, and what it is called."""
        access, authorization = self._asker.access, authorization_of(request)
        scopes = (READ, PREDICT, DECIDE, WRITE)
        systems = {
            name: [scope for scope in scopes if access.allows(authorization, name, scope)]
            for name in self._asker.served
        }
        grants = access.known(authorization)
        granted_systems = {name: granted for name, granted in systems.items() if granted}
        return json_response(
            {"open": access.open, "name": None if grants is None else grants.name, "systems": granted_systems}
        )

    async def overview(self, request: Request) -> Response:
        """All systems that may be read, each with its state in words."""
        return replied(request, await self._reads.read(status.overview, names=self._asker.readable(request)))

    async def audit(self, request: Request, limit: Limit = 100, cursor: Cursor = None) -> Response:
        """What people changed over HTTP, newest first, of all systems that may be read."""
        names = self._asker.readable(request)
        return replied(request, await self._reads.read(records.audit, names=names, limit=limit, cursor=cursor))

    async def status(self, request: Request, name: str) -> Response:
        """How a system is, in words, and why: errors beside the baselines', data, runs, alerts."""
        return replied(request, await self._reads.read(status.status, name=self._asker.may(request, name)))

    async def scores(
        self,
        request: Request,
        name: str,
        by: By = "time",
        as_of: AsOf = None,
        limit: Limit = 1000,
        cursor: Cursor = None,
    ) -> Response:
        """How good predictions were by time, run, step, version or segment, beside baselines, with the coverage."""
        self._asker.may(request, name, with_keys=True)
        where = self._asker.where(request, name)
        options: dict[str, Any] = {"where": where, "as_of": moment_of(as_of), "limit": limit, "cursor": cursor}
        return replied(request, await self._reads.read(scores.scores, name=name, by=by, **options))

    async def search(
        self,
        request: Request,
        name: str,
        q: Text = "",
        order: Order = "worst",
        measure: Measure = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response:
        """Series by a text in their keys, worst first, with the errors of each beside the best baseline's."""
        self._asker.may(request, name, with_keys=True)
        where = self._asker.where(request, name)
        options: dict[str, Any] = {"order": order, "measure": measure, "where": where, "limit": limit, "cursor": cursor}
        return replied(request, await self._reads.read(scores.series, name=name, text=q, **options))

    async def answers(
        self,
        request: Request,
        name: str,
        as_of: AsOf = None,
        truth: Truth = False,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response:
        """The predictions that were made last, of the tables or only logged so far."""
        self._asker.may(request, name)
        options: dict[str, Any] = {"as_of": moment_of(as_of), "truth": truth, "limit": limit, "cursor": cursor}
        return replied(request, await self._reads.read(scores.answers, name=name, **options))

    async def runs(
        self, request: Request, name: str, limit: Limit = 100, status: Failed = None, cursor: Cursor = None
    ) -> Response:
        """The last runs that ended, newest first, the failed ones included."""
        self._asker.may(request, name)
        options: dict[str, Any] = {"limit": limit, "cursor": cursor, "failed": status is not None}
        return replied(request, await self._reads.read(records.runs, name=name, **options))

    async def run(self, request: Request, name: str, run_id: str) -> Response:
        """One run: its steps with their durations; why it failed, and what to do about it."""
        self._asker.may(request, name)
        return replied(request, await self._reads.read(records.run, name=name, run_id=run_id))

    async def alerts(
        self,
        request: Request,
        name: str,
        open_only: Open = False,
        as_of: AsOf = None,
        limit: Limit = 1000,
        cursor: Cursor = None,
    ) -> Response:
        """Open and past warnings and alarms, newest first, with what each caused."""
        self._asker.may(request, name)
        options: dict[str, Any] = {"as_of": moment_of(as_of), "limit": limit, "cursor": cursor}
        return replied(request, await self._reads.read(records.alerts, name=name, only_open=open_only, **options))

    async def why(
        self,
        request: Request,
        name: str,
        alert: Alert = None,
        as_of: AsOf = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response:
        """What was raised and closed, trained and decided, in words, newest first."""
        self._asker.may(request, name)
        options: dict[str, Any] = {"alert": alert, "as_of": moment_of(as_of), "limit": limit, "cursor": cursor}
        return replied(request, await self._reads.read(records.why, name=name, **options))

    async def drift(self, request: Request, name: str, as_of: AsOf = None) -> Response:
        """Distributions now, or as they stood then, beside those of what the champion learnt from."""
        self._asker.may(request, name)
        return replied(request, await self._reads.read(records.drift, name=name, as_of=moment_of(as_of)))

    async def validation(self, request: Request, name: str, run: Run = None, limit: Limit = SHOWN) -> Response:
        """What the contract said of the last ingest or of a run's, rule by rule, and the ingests before it."""
        self._asker.may(request, name)
        return replied(request, await self._reads.read(records.validation, name=name, run=run, limit=limit))

    async def quarantine(
        self,
        request: Request,
        name: str,
        reason: Reasons = None,
        column: Columns = None,
        source: Origin = None,
        released: WithReleased = False,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response:
        """Rows that broke the contract, counted by reason and column, newest first."""
        self._asker.may(request, name, repeated=("reason", "column"))
        chosen = {"reason": reason, "column": column, "source": source}
        options: dict[str, Any] = {"released": released, "limit": limit, "cursor": cursor}
        return replied(request, await self._reads.read(records.quarantine, name=name, chosen=chosen, **options))

    async def models(self, request: Request, name: str, importance: WithImportance = False) -> Response:
        """Model versions, with the champion, and what waits for approval; where asked for, how features matter."""
        self._asker.may(request, name)
        return replied(request, await self._reads.read(versions.models, name=name, importance=importance))

    async def model(self, request: Request, name: str, version: Number) -> Response:
        """One version: what it was made from, its parameters, what was decided about it."""
        self._asker.may(request, name)
        return replied(request, await self._reads.read(versions.model, name=name, version=version))

    async def card(self, request: Request, name: str, version: Number, form: CardForm = "json") -> Response:
        """The model card of a version."""
        self._asker.may(request, name)
        reply = await self._reads.read(versions.card, name=name, version=version, form=form)
        if form != "json":
            text = msgspec.json.decode(reply.body)["text"]
            reply = ReadReply(text.encode(), reply.digest)
        return replied(request, reply, media=_MEDIA[form])

    async def comparison(
        self,
        request: Request,
        name: str,
        first: Version,
        second: Version,
        since: AsOf = None,
        until: AsOf = None,
        as_of: AsOf = None,
    ) -> Response:
        """Two versions on what both answered: which is better, by more than noise."""
        self._asker.may(request, name)
        if first == second:
            raise Problem(409, f"version {first} cannot be compared with itself")
        options = {"since": moment_of(since, "since"), "until": moment_of(until, "until"), "as_of": moment_of(as_of)}
        if since is not None and until is not None and since >= until:  # both have a zone by now
            raise Problem(409, "since is not before until")
        reply = await self._reads.read(versions.comparison, name=name, first=first, second=second, **options)
        return replied(request, reply)

    async def prediction(self, request: Request, prediction_id: str) -> Response:
        """The trace of one prediction."""
        return replied(request, await self._of_prediction(request, records.trace, prediction_id))

    async def graph(self, request: Request, prediction_id: str) -> Response:
        """The trace of one prediction as a graph, from the source to the number."""
        return replied(request, await self._of_prediction(request, graph.graph, prediction_id))

    async def replay(self, request: Request, prediction_id: str) -> Response:
        """One prediction computed again from its pins, beside what was stored; writes nothing."""
        authorization = authorization_of(request)
        self._asker.access.may(authorization, "", READ)  # who is not known learns nothing, not even what is missing
        system = await self._reads.read(graph.system_of, prediction_id=prediction_id)
        self._asker.access.check(authorization, msgspec.json.decode(system.body), READ)
        return replied(request, await self._reads.read(graph.replay, prediction_id=prediction_id))

    async def _of_prediction(self, request: Request, function: Any, prediction_id: str) -> ReadReply:
        authorization = authorization_of(request)
        self._asker.access.may(authorization, "", READ)  # who is not known learns nothing, not even what is missing
        reply = await self._reads.read(function, prediction_id=prediction_id)
        self._asker.access.check(authorization, _AnswerSystem.of(reply), READ)
        return reply


class _AnswerSystem(msgspec.Struct):
    """Of an answer the system that it is about."""

    system: str

    @staticmethod
    def of(reply: ReadReply) -> str:
        """Its name."""
        return msgspec.json.decode(reply.body, type=_AnswerSystem).system
