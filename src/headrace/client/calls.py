"""What a client can ask, one method a route. `async_calls` is made from this file by ``scripts/client_calls.py``."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from headrace.client import answers as a
from headrace.client import frames
from headrace.client.asking import ARROW, Ask, chosen, keyed, of_system, part, posting, query_of, reading, text_of

if TYPE_CHECKING:
    import polars as pl

T = TypeVar("T")
Time = datetime | str
"""A time with a zone, or its text in ISO 8601."""
BATCH = 1_000
"""Rows of one request, where many are asked for."""


class ClientCalls(ABC):
    """The calls of a client that waits for each answer."""

    @abstractmethod
    def _ask(self, ask: Ask, kind: type[T]) -> T:
        """What the server answers.

        Raises:
            HeadraceError: As the server says, or there is none.
        """

    # Any route.

    def get(self, path: str, **params: Any) -> Any:
        """Whatever a route answers to GET, as plain JSON: ``get("/v1/overview")``.

        Args:
            path: Below the address of the server.
            params: Of the query.
        """
        return self._ask(reading(path, **params), Any)

    def post(self, path: str, body: Any = None, *, idempotency_key: str | None = None, **params: Any) -> Any:
        """Whatever a route answers to POST with a JSON body, as plain JSON. It is sent once; again with a key."""
        return self._ask(keyed(posting(path, body, **params), idempotency_key), Any)

    def delete(self, path: str) -> Any:
        """Whatever a route answers to DELETE, as plain JSON."""
        return self._ask(Ask("DELETE", path), Any)

    # The server.

    def health(self) -> Mapping[str, Any]:
        """Whether the server is alive."""
        return self._ask(reading("/health"), dict[str, Any])

    def ready(self) -> Mapping[str, Any]:
        """Whether every system can answer.

        Raises:
            ServiceUnavailableError: One cannot; `faults` say why.
        """
        return self._ask(reading("/ready"), dict[str, Any])

    def metrics_text(self) -> str:
        """The server's own metrics, as Prometheus reads them."""
        return self._ask(reading("/metrics", "text/plain"), str)

    def rights(self) -> a.Rights:
        """What this client's token may do."""
        return self._ask(reading("/v1/access"), a.Rights)

    # Systems.

    def overview(self) -> a.Overview:
        """All systems, each with its state in words."""
        return self._ask(reading("/v1/overview"), a.Overview)

    def systems(self) -> Sequence[a.SystemBrief]:
        """What is served."""
        return self._ask(reading("/v1/systems"), dict[str, list[a.SystemBrief]])["systems"]

    def system(self, system: str) -> a.SystemBrief:
        """What is served under a name, with its contract."""
        return self._ask(reading(of_system(system)), a.SystemBrief)

    def status(self, system: str) -> a.Status:
        """How a system is, in words, and why."""
        return self._ask(reading(of_system(system, "/status")), a.Status)

    # Predictions.

    def predict(
        self, system: str, row: Mapping[str, Any], *, key: str | None = None, version: int | None = None
    ) -> Mapping[str, Any]:
        """The prediction for one row, or for one event.

        It is tried again where a try got lost: the row's own key, or yours, makes it one prediction.

        Args:
            system: Its name.
            row: By columns of the contract.
            key: What identifies the row: up to 255 visible ASCII characters. Default: its key columns.
            version: The model version that answers. Default: the champion.

        Raises:
            UsageError: The row has what JSON cannot carry, or the key cannot be one.
        """
        ask = posting(of_system(system, "/predict"), frames.row_of(row), again=True, version=version)
        return self._ask(keyed(ask, key), dict[str, Any])

    def predict_rows(
        self, system: str, rows: Iterable[Mapping[str, Any]] | Any, *, batch: int = BATCH, version: int | None = None
    ) -> Iterator[Mapping[str, Any]]:
        """Predictions for any number of rows, in their order, as they come: so many are sent at a time.

        Args:
            system: Its name.
            rows: Dicts, drawn as they are needed, or a frame.
            batch: Rows of one request.
            version: The model version that answers. Default: the champion.

        Raises:
            UsageError: A row has what JSON cannot carry.
        """
        for rows_sent in frames.batches(rows, batch):
            ask = posting(of_system(system, "/predict"), rows_sent, again=True, version=version)
            answer = self._ask(ask, dict[str, Any])
            yield from answer["predictions"]

    def predict_frame(self, system: str, frame: Any, *, batch: int = BATCH, version: int | None = None) -> Any:
        """Predictions for a frame of any length, as Arrow both ways: a row for each, in their order.

        NaN is sent as what is missing, as pandas means it. So many rows are sent at a time; where one part is refused,
        the answers to those before it are stored, and the same rows again give them again.

        Args:
            system: Its name.
            frame: Of polars or pandas.
            batch: Rows of one request.
            version: The model version that answers. Default: the champion.

        Returns:
            A frame of the same library; of pandas with the index of the rows.

        Raises:
            UsageError: A column holds values of several kinds.
        """
        answers = []
        for rows_sent in frames.slices(frame, batch):
            body, params = frames.arrow_of(rows_sent), query_of({"version": version})
            ask = Ask("POST", of_system(system, "/predict"), params, body, media=ARROW, accept=ARROW)
            answers.append(frames.frame_of(self._ask(ask, bytes)))
        return frames.like(answers, frame)

    def series(self, system: str, /, **keys: str) -> Sequence[Mapping[str, str]]:
        """Key combinations, or those that have these values."""
        return self._ask(reading(of_system(system, "/series"), **keys), dict[str, list[dict[str, str]]])["series"]

    def search_series(
        self,
        system: str,
        text: str = "",
        *,
        order: str = "worst",
        measure: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
        where: Mapping[str, str] | None = None,
    ) -> a.SeriesPage:
        """A page of series whose keys hold a text, with the error of each beside the best baseline's.

        Args:
            system: Its name.
            text: In any key, whatever its case.
            order: ``worst``, ``best``, ``name`` or ``stale``: which come first.
            measure: By which metric. Default: the one that decides.
            limit: How many at most, up to 1,000.
            cursor: `next` of the page before.
            where: Keys to values.
        """
        params = {"q": text, "order": order, "measure": measure, "limit": limit, "cursor": cursor, **(where or {})}
        return self._ask(reading(of_system(system, "/series/search"), **params), a.SeriesPage)

    def iter_series(
        self, system: str, text: str = "", *, order: str = "name", limit: int = 1000
    ) -> Iterator[a.SeriesScore]:
        """All such series, page by page.

        By name none is missed and none comes twice, also where errors change meanwhile.
        """
        cursor = None
        while True:
            page = self.search_series(system, text, order=order, limit=limit, cursor=cursor)
            yield from page.rows
            if page.next is None:
                return
            cursor = page.next

    def forecast(
        self, system: str, /, *, as_of: Time | None = None, truth: bool = False, **keys: str
    ) -> a.StoredForecast:
        """Stored predictions of one series: of the last week and the horizon, or the forecast as it stood then.

        Args:
            system: Its name.
            as_of: The forecast of then. Default: the newest one of each time.
            truth: Add what was observed, as it is known by now.
            keys: The series.
        """
        params = {"as_of": as_of, "truth": truth or None, **keys}
        return self._ask(reading(of_system(system, "/predictions"), **params), a.StoredForecast)

    def forecast_frame(self, system: str, /, **keys: str) -> pl.DataFrame:
        """The same as a frame of polars, sent as Arrow."""
        stream = self._ask(reading(of_system(system, "/predictions"), ARROW, **keys), bytes)
        return frames.frame_of(stream)

    def observations(self, system: str, /, *, hours: int = 168, **keys: str) -> Sequence[a.ObservedValue]:
        """The last observations of one series."""
        ask = reading(of_system(system, "/observations"), hours=hours, **keys)
        return self._ask(ask, dict[str, list[a.ObservedValue]])["observations"]

    def answers(
        self,
        system: str,
        *,
        as_of: Time | None = None,
        truth: bool = False,
        limit: int = 100,
        cursor: str | None = None,
    ) -> a.RowPage:
        """A page of the predictions that were made last."""
        params = {"as_of": as_of, "truth": truth or None, "limit": limit, "cursor": cursor}
        return self._ask(reading(of_system(system, "/answers"), **params), a.RowPage)

    def iter_answers(self, system: str, *, truth: bool = False, limit: int = 1000) -> Iterator[Mapping[str, Any]]:
        """All predictions, those made last first, page by page."""
        cursor = None
        while True:
            page = self.answers(system, truth=truth, limit=limit, cursor=cursor)
            yield from page.rows
            if page.next is None:
                return
            cursor = page.next

    def trace(self, prediction: str) -> Mapping[str, Any]:
        """The chain behind a prediction."""
        return self._ask(reading(f"/v1/predictions/{part(prediction)}"), dict[str, Any])

    def graph(self, prediction: str) -> a.TraceGraph:
        """The same as a graph, from the source to the number."""
        return self._ask(reading(f"/v1/predictions/{part(prediction)}/graph"), a.TraceGraph)

    def replay(self, prediction: str) -> a.Replayed:
        """A prediction computed again from its pins."""
        return self._ask(reading(f"/v1/predictions/{part(prediction)}/replay"), a.Replayed)

    def explain(
        self, prediction: str, *, top: int | None = None, label: str | None = None, words: bool = False
    ) -> Mapping[str, Any]:
        """Why a stored prediction has its value.

        Args:
            prediction: Its id.
            top: So many features; the others as one.
            label: The class to explain.
            words: Tell the words of texts by themselves.
        """
        params = {"top": top, "class": label, "words": words or None}
        return self._ask(reading(f"/v1/predictions/{part(prediction)}/explain", **params), dict[str, Any])

    def explain_rows(
        self, system: str, rows: Mapping[str, Any] | Sequence[Mapping[str, Any]] | Any, *, top: int | None = None
    ) -> Sequence[Mapping[str, Any]]:
        """Why rows that are not stored get their predictions; of a system with series, the keys of one."""
        body = dict(rows) if isinstance(rows, Mapping) else frames.records_of(rows)
        answer = self._ask(posting(of_system(system, "/explain"), body, again=True, top=top), dict[str, Any])
        explanations: list[Mapping[str, Any]] = answer.get("explanations", [answer])
        return explanations

    # How good they were.

    def metrics(self, system: str, /, **keys: str) -> Mapping[str, Any]:
        """Monitoring metrics, overall and over time."""
        return self._ask(reading(of_system(system, "/metrics"), **keys), dict[str, Any])

    def scores(
        self,
        system: str,
        by: str = "time",
        *,
        as_of: Time | None = None,
        where: Mapping[str, str] | None = None,
        limit: int = 1000,
        cursor: str | None = None,
    ) -> a.ScorePage:
        """Metrics by ``time run step series version`` or a column, beside baselines, with the coverage.

        Args:
            system: Its name.
            by: What by; a key of series; of rows any column of the contract: its values, or bands of its numbers.
            as_of: As they were known then.
            where: Keys of series to values: only these.
            limit: How many at most, up to 1,000.
            cursor: `next` of the page before.
        """
        params = {"by": by, "as_of": as_of, "limit": limit, "cursor": cursor, **(where or {})}
        return self._ask(reading(of_system(system, "/scores"), **params), a.ScorePage)

    def drift(self, system: str, *, as_of: Time | None = None) -> Mapping[str, Any]:
        """Distributions now, or as they stood then, beside those of what the champion learnt from."""
        return self._ask(reading(of_system(system, "/drift"), as_of=as_of), dict[str, Any])

    def alerts(
        self,
        system: str,
        *,
        open_only: bool = False,
        as_of: Time | None = None,
        limit: int = 1000,
        cursor: str | None = None,
    ) -> a.AlertPage:
        """A page of warnings and alarms, newest first."""
        params = {"open": open_only or None, "as_of": as_of, "limit": limit, "cursor": cursor}
        return self._ask(reading(of_system(system, "/alerts"), **params), a.AlertPage)

    def why(
        self,
        system: str,
        *,
        alert: str | None = None,
        as_of: Time | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> a.WhyPage:
        """A page of what was raised and closed, trained and decided, newest first."""
        params = {"alert": alert, "as_of": as_of, "limit": limit, "cursor": cursor}
        return self._ask(reading(of_system(system, "/why"), **params), a.WhyPage)

    # Runs and data.

    def runs(self, system: str, *, failed: bool = False, limit: int = 100, cursor: str | None = None) -> a.RunPage:
        """A page of runs that ended, newest first."""
        params = {"status": "failed" if failed else None, "limit": limit, "cursor": cursor}
        return self._ask(reading(of_system(system, "/runs"), **params), a.RunPage)

    def iter_runs(self, system: str, *, failed: bool = False, limit: int = 1000) -> Iterator[a.RunBrief]:
        """All runs that ended, newest first, page by page."""
        cursor = None
        while True:
            page = self.runs(system, failed=failed, limit=limit, cursor=cursor)
            yield from page.runs
            if page.next is None:
                return
            cursor = page.next

    def run(self, system: str, run_id: str) -> a.RunReport:
        """One run: its steps with their durations; why it failed, and what to do about it."""
        return self._ask(reading(of_system(system, f"/runs/{part(run_id)}")), a.RunReport)

    def validation(self, system: str, *, run: str | None = None, limit: int = 30) -> Mapping[str, Any]:
        """What the contract said of the last ingest, or of a run's, and the ingests before it."""
        return self._ask(reading(of_system(system, "/validation"), run=run, limit=limit), dict[str, Any])

    def quarantine(
        self,
        system: str,
        *,
        reason: str | Sequence[str] = (),
        column: str | Sequence[str] = (),
        source: str | None = None,
        released: bool = False,
        limit: int = 100,
        cursor: str | None = None,
    ) -> a.ApartPage:
        """A page of rows that broke the contract, newest first, and how many by reason and column.

        Args:
            system: Its name.
            reason: Only rows with a reason that holds one of these.
            column: Only rows with one of these columns at fault.
            source: Only rows of sources whose address holds this.
            released: Those too that were released since.
            limit: How many at most, up to 1,000.
            cursor: `next` of the page before.
        """
        params: dict[str, Any] = {"reason": reason, "column": column, "source": source}
        params |= {"released": released or None, "limit": limit, "cursor": cursor}
        return self._ask(reading(of_system(system, "/quarantine"), **params), a.ApartPage)

    # Models.

    def models(self, system: str, *, importance: bool = False) -> a.VersionList:
        """All versions, with the champion, and what waits for approval."""
        return self._ask(reading(of_system(system, "/models"), importance=importance or None), a.VersionList)

    def model(self, system: str, version: int) -> a.VersionReport:
        """One version: what it was made from, its parameters, what was decided about it."""
        return self._ask(reading(of_system(system, f"/models/{version}")), a.VersionReport)

    def card(self, system: str, version: int) -> a.VersionCard:
        """The card of a version."""
        return self._ask(reading(of_system(system, f"/models/{version}/card")), a.VersionCard)

    def card_html(self, system: str, version: int) -> str:
        """The same as a page."""
        return self._ask(reading(of_system(system, f"/models/{version}/card"), "text/html", format="html"), str)

    def compare(
        self,
        system: str,
        first: int,
        second: int,
        *,
        since: Time | None = None,
        until: Time | None = None,
        as_of: Time | None = None,
    ) -> a.VersionPair:
        """Two versions on what both answered: which is better, by more than noise."""
        params = {"first": first, "second": second, "since": since, "until": until, "as_of": as_of}
        return self._ask(reading(of_system(system, "/comparison"), **params), a.VersionPair)

    def promote(self, system: str, version: int, *, by: str | None = None, reason: str | None = None) -> a.VersionBrief:
        """Make a version the champion: approve one that waits. Needs the scope ``decide`` or ``write``.

        Args:
            system: Its name.
            version: Its number.
            by: Who decides, beside the token's name.
            reason: Why, for the record.
        """
        ask = posting(of_system(system, f"/models/{version}/promote"), _said(by, reason))
        return self._ask(ask, a.VersionBrief)

    def reject(self, system: str, version: int, *, by: str | None = None, reason: str | None = None) -> a.VersionBrief:
        """Say that a version does not become the champion. Arguments as of `promote`."""
        ask = posting(of_system(system, f"/models/{version}/reject"), _said(by, reason))
        return self._ask(ask, a.VersionBrief)

    def rollback(self, system: str, *, by: str | None = None, reason: str | None = None) -> a.VersionBrief:
        """Go back to the champion before the present one. Arguments as of `promote`."""
        return self._ask(posting(of_system(system, "/rollback"), _said(by, reason)), a.VersionBrief)

    def release(
        self,
        system: str,
        *,
        ids: Sequence[str] | None = None,
        reason: str | Sequence[str] | None = None,
        column: str | Sequence[str] | None = None,
        source: str | None = None,
        why: str | None = None,
    ) -> a.ReleasedRows:
        """Check rows of the quarantine once more; those that are good now become facts. Needs the scope ``write``.

        Args:
            system: Its name.
            ids: Only these rows. Default: all.
            reason: Only rows with a reason that holds one of these.
            column: Only rows with one of these columns at fault.
            source: Only rows of sources whose address holds this.
            why: For the record.

        Raises:
            UsageError: A choice is empty: that would choose all.
        """
        body = chosen(ids=ids, reason=reason, column=column, source=source)
        body |= {} if why is None else {"why": why}
        return self._ask(posting(of_system(system, "/quarantine/release"), body), a.ReleasedRows)

    def simulate(
        self,
        system: str,
        start: Time,
        end: Time,
        every: str,
        *,
        policies: Mapping[str, Mapping[str, Any]] | None = None,
        beside: Sequence[str] = (),
        key: str | None = None,
    ) -> a.SimulationBrief:
        """Have policies tried over the past; the server does one simulation after the other. Needs the scope ``write``.

        Args:
            system: Its name.
            start: The first run sees what was known then.
            end: No run is later.
            every: From one run to the next, such as ``12h``.
            policies: ``{"often": {"schedule": {"train": "1d"}}}``, also `monitoring`. Default: the declared one.
            beside: Calendars to hold against them: ``never``, ``7d``.
            key: The same key and arguments again give the same simulation. Default: a new one each time.
        """
        times = {"start": text_of(start), "end": text_of(end), "every": every}
        ask = posting(of_system(system, "/simulations"), times | {"policies": policies or {}, "beside": list(beside)})
        return self._ask(keyed(ask, key or uuid.uuid4().hex), a.SimulationBrief)

    def simulations(self, system: str, *, limit: int = 100, cursor: str | None = None) -> a.SimulationPage:
        """A page of the simulations that are kept, those asked for last first."""
        return self._ask(reading(of_system(system, "/simulations"), limit=limit, cursor=cursor), a.SimulationPage)

    def simulation(self, system: str, simulation: str) -> a.SimulationReport:
        """One simulation: how far it is, and what came of it once it is done."""
        return self._ask(reading(of_system(system, f"/simulations/{part(simulation)}")), a.SimulationReport)

    def cancel_simulation(self, system: str, simulation: str) -> a.SimulationBrief:
        """Cancel a simulation that waits or is being done. Needs the scope ``write``."""
        return self._ask(Ask("DELETE", of_system(system, f"/simulations/{part(simulation)}")), a.SimulationBrief)

    # Looking after it.

    def doctor(self) -> a.HealthFindings:
        """What is installed, reachable or misconfigured. Needs ``*:read``."""
        return self._ask(reading("/v1/doctor"), a.HealthFindings)

    def verify(self, system: str, *, deep: bool = False) -> a.CheckedTables:
        """The tables of a system against the records of their commits; `deep` reads every file."""
        return self._ask(reading(of_system(system, "/verify"), deep=deep or None), a.CheckedTables)

    def stream(self, system: str) -> a.StreamReport:
        """How the stream of a system is."""
        return self._ask(reading(of_system(system, "/stream")), a.StreamReport)

    def dead_letters(
        self,
        system: str,
        *,
        late: bool = False,
        settled: bool = False,
        reason: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> a.LetterPage:
        """A page of events that a stream set apart.

        Args:
            system: Its name.
            late: Events that came too late, not bad ones.
            settled: Also those that were settled.
            reason: Only with this in the reason.
            limit: How many at most, up to 1,000.
            cursor: `next` of the page before.
        """
        params = {"late": late or None, "all": settled or None, "reason": reason, "limit": limit, "cursor": cursor}
        return self._ask(reading(of_system(system, "/dead-letters"), **params), a.LetterPage)

    def resend(
        self,
        system: str,
        *,
        places: Sequence[tuple[int, int]] | None = None,
        reason: str | None = None,
        late: bool = False,
        values: Mapping[str, Any] | None = None,
    ) -> a.ResentLetters:
        """Send events that were set apart again, each once. Needs the scope ``write``.

        Args:
            system: Its name.
            places: Partitions and offsets. Default: all.
            reason: Only with this in the reason.
            late: Events that came too late, not bad ones.
            values: Columns to new values, for all that are sent.

        Raises:
            UsageError: A choice is empty: that would choose all.
        """
        body = chosen(places=places, reason=reason)
        body |= {name: value for name, value in (("late", late), ("set", values)) if value}
        return self._ask(posting(of_system(system, "/dead-letters/resend"), body), a.ResentLetters)

    # What people changed.

    def audit(self, *, limit: int = 100, cursor: str | None = None) -> a.AuditPage:
        """A page of changes that people asked for, newest first."""
        return self._ask(reading("/v1/audit", limit=limit, cursor=cursor), a.AuditPage)


def _said(by: str | None, reason: str | None) -> dict[str, str]:
    return {name: text for name, text in (("by", by), ("reason", reason)) if text is not None}
