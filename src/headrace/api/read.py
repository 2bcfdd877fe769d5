"""`ReadSystem`: what is stored of a system: facts, predictions, versions, runs, rows set apart, the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.api.results import Models
from headrace.api.times import Time, time_of
from headrace.api.tuned import TunedSystem
from headrace.errors import NotExportedError, NotFoundError, UsageError

if TYPE_CHECKING:
    import polars as pl

    from headrace.loop.drift import Drift
    from headrace.loop.why import ChainLink
    from headrace.pipelines.apart import ApartChoice, QuarantinedRows
    from headrace.policy.alerts import Alert
    from headrace.tasks.card import ModelCard
    from headrace.tasks.explanation import Explanation
    from headrace.tasks.importance import Importance


class ReadSystem(TunedSystem):
    """A system in a home that is looked at: nothing here writes, but for what `replay` exports.

    Attributes:
        declaration: The `System` as it was declared, with its settings.
        workspace: The home.
    """

    def facts(self, *, as_of: Time | None = None) -> pl.DataFrame:
        """Stored facts: what was known of each record at a time, with ``known_at``, since when.

        Args:
            as_of: Nothing that became known later. Default: all that is known.

        Raises:
            NotFoundError: Nothing was ingested yet.

        >>> s.facts(as_of="2023-01-02T00:00:00Z").select("area", "industry", "consumption").height
        1092
        """
        system, table = self.declaration, self.workspace.reading.raw(self.declaration)
        moment = None if as_of is None else time_of(as_of, self.workspace.now(), "as_of")
        if system.contract.aggregates:  # events: several of one series may have one time
            return table.collect(table.scan(as_of=moment)).drop("_version")
        return table.read(identity=system.identity, as_of=moment).drop("_version")

    def predictions(
        self,
        *,
        where: Mapping[str, object] | None = None,
        as_of: Time | None = None,
        role: str | None = None,
        limit: int | None = None,
        with_actual: bool = False,
    ) -> pl.DataFrame:
        """Stored predictions, oldest first.

        Args:
            where: Columns to values: only rows that have them, such as ``{"area": "DK1"}``.
            as_of: The forecast as it stood then.
            role: ``answered``, ``canary`` or ``shadow``: what the version was. Default: all that was answered.
            limit: So many of the newest ones.
            with_actual: Add the truth as column ``actual``, as it is known by `as_of`; null where it is not known yet.

        Raises:
            NotFoundError: There is no prediction yet, no such column, or no such series.
            UsageError: A value is none of its column, or there is no such role.

        >>> s.predictions(where={"area": "DK1", "industry": "111"}).select("value", "lower", "upper").shape
        (24, 3)
        >>> s.predictions(limit=5, with_actual=True)["actual"].null_count()  # the future
        5
        """
        from headrace.pipelines.predictions import newest, read, with_truth

        moment = None if as_of is None else time_of(as_of, self.workspace.now(), "as_of")
        texts = {name: str(value) for name, value in (where or {}).items()}
        system, home = self.declaration, self.workspace.reading
        frame = read(system, home, as_of=moment, where=texts, role=role)
        frame = frame if limit is None else newest(system, frame, limit)
        return with_truth(system, home, frame, moment) if with_actual else frame

    def trace(self, prediction_id: str) -> dict[str, Any]:
        """The chain behind a prediction; see `OpenHome.trace`.

        >>> s.trace(s.predictions()["id"][0])["pins"]["model_version"]
        1
        """
        return self.workspace.trace(prediction_id)

    def replay(self, prediction_id: str) -> dict[str, Any]:
        """Compute a prediction again from its pins: ``id stored replayed identical``. See `OpenHome.replay`.

        A posted event is brought into the tables first, if it was answered by this very declaration.

        >>> s.replay(s.predictions()["id"][0])["identical"]
        True
        """
        try:
            return self.workspace.replay(prediction_id)
        except NotExportedError:
            from headrace.pipelines.predictions import find
            from headrace.tasks import task_of

            name, row = find(self.workspace.reading, prediction_id)
            if name != self.name or self.configured().config_digest != row["config_digest"]:
                raise
            task_of(self.declaration).export(self.workspace.reading)
            return self.workspace.replay(prediction_id)

    def explain(
        self,
        prediction_id: str | None = None,
        *,
        data: str | Mapping[str, Any] | Sequence[Mapping[str, Any]] | pl.DataFrame | None = None,
        where: Mapping[str, object] | None = None,
        as_of: Time | None = None,
        limit: int | None = None,
        label: object = None,
        words: bool = False,
    ) -> list[Explanation]:
        """Why predictions have their values: what every feature, and every step after the model, adds to each.

        Say an id, or rows as `data`, or neither: then the newest stored predictions are explained.

        Args:
            prediction_id: A stored prediction.
            data: Rows that are not stored: a file or source URI, one row, several, or a frame. The champion answers.
            where: Columns to values: only stored predictions that have them.
            as_of: Stored predictions as they stood then.
            limit: So many of the newest. Default: of rows one; of forecasts all steps of the newest.
            label: The class to explain. Default: of two classes the second, of several the one that is predicted.
            words: Tell the words of free texts by themselves.

        Raises:
            NotFoundError: There is no such prediction, or no champion.
            UsageError: The arguments do not go together, a row breaks the contract, or they are more than 1,000.
            ReplayError: What a prediction was made from is not there any more.
            ExplainError: The model cannot tell.

        >>> steps = s.explain(where={"area": "DK1", "industry": "111"})
        >>> len(steps), steps[0].scale, steps[0].method
        (24, 'consumption', 'exact')
        >>> steps[0].frame.columns
        ['feature', 'value', 'contribution', 'kind']
        """
        from headrace.pipelines.explained import explain_newest, explain_rows

        home, now = self.workspace.reading, self.workspace.now()
        if sum(value is not None for value in (prediction_id, data, where if where else None)) > 1:
            raise UsageError("an id, data and where exclude each other", where="explain", hint="say one of them")
        if prediction_id is not None:
            return [self.workspace.explain(prediction_id, label=label, words=words)]
        if data is not None:
            return explain_rows(self.declaration, home, _rows_of(data), now, label=label, words=words)
        moment = None if as_of is None else time_of(as_of, now, "as_of")
        texts = {name: str(value) for name, value in (where or {}).items()}
        return explain_newest(self.declaration, home, where=texts, as_of=moment, limit=limit, label=label, words=words)

    @property
    def models(self) -> Models:
        """All model versions by number, with their states and metrics.

        >>> s.models.champion.version
        1
        """
        from headrace.pipelines.beside import newest_beside

        home = self.workspace.reading
        comparisons = {row["versions"][1]: row for row in newest_beside(self.name, home)}
        return Models(self.name, home.registry.versions(self.name), comparisons)

    def card(self, version: int | None = None) -> ModelCard:
        """The card of a version, the champion's by default, with `markdown()` and `html()`.

        Raises:
            NotFoundError, ArtefactError: There is no such version or no champion; its card is gone or damaged.

        >>> print(s.card().markdown().splitlines()[0])
        # energy: model card
        """
        from headrace.pipelines.cards import card_of

        return card_of(self.declaration, self.workspace.reading, version)

    def importance(self, version: int | None = None) -> Importance:
        """How much each feature matters to a version, the champion by default.

        Its `shares` add up to 1, or to 0 where no feature moves a prediction.

        Raises:
            NotFoundError, ArtefactError: There is no such version or no champion; it does not say.

        >>> s.importance().scale
        'consumption'
        """
        from headrace.pipelines.cards import version_of
        from headrace.tasks.importance import importance_of

        home = self.workspace.reading
        return importance_of(home, version_of(home, self.name, version))

    def drift(self, *, as_of: Time | None = None) -> Drift:
        """Distributions of features, target and predictions now, beside what the champion of then learnt from.

        Counts of days that are over are kept in the home, so that asking again is quick.

        Args:
            as_of: See exactly what was known then. Default: the newest time of a run, or of what a door answered.

        Returns:
            Every variable with its statistic, its threshold and whether it drifted; `Drift.as_dict` is JSON-ready.

        Raises:
            NotFoundError: There is no model, or there was none then.
            HeadraceError: What the model learnt from cannot be read any more.

        >>> drift = s.drift()
        >>> drift.version, drift.drifted
        (1, False)
        """
        from headrace.loop.drift import drift_at

        moment = None if as_of is None else time_of(as_of, self.workspace.now(), "as_of")
        return drift_at(self.declaration, self.workspace.home, as_of=moment)

    @property
    def runs(self) -> pl.DataFrame:
        """All runs that ended, newest first: how each ended, and why.

        >>> s.runs["status"].unique().to_list()
        ['done']
        """
        import polars as pl

        return pl.DataFrame(self.newest_runs(), infer_schema_length=None)

    def newest_runs(self, limit: int = 1_000_000, *, failed: bool = False) -> list[dict[str, Any]]:
        """The last runs that ended, newest first.

        Args:
            limit: So many at most.
            failed: Only those that failed.

        >>> [run["predictions"] for run in s.newest_runs(limit=1)]
        [96]
        """
        from headrace.pipelines.runs import newest

        return newest(self.workspace.reading, self.name, limit, failed=failed)

    def alerts(self, *, as_of: Time | None = None, open: bool = False) -> list[Alert]:  # noqa: A002 - as people say it
        """Warnings and alarms that the rules of `Monitoring` raised, newest first.

        Args:
            as_of: As they stood then. Default: by all that is known.
            open: Only those that are not closed.

        Raises:
            NotFoundError: Nothing is stored of the system.
            StoreError: The table of readings cannot be read.

        >>> s.alerts(open=True)
        []
        """
        from headrace.loop.alerts import alerts

        moment = None if as_of is None else time_of(as_of, self.workspace.now(), "as_of")
        self._check_stored()
        return alerts(self.declaration, self.workspace.reading, as_of=moment, only_open=open)[::-1]

    def unwatched(self, *, as_of: Time | None = None) -> dict[str, str]:
        """The rules of `Monitoring` that could not tell anything when they looked last, each with the reason.

        Args:
            as_of: As it stood then. Default: by all that is known.

        Raises:
            NotFoundError: Nothing is stored of the system.
            StoreError: The table of readings cannot be read.

        >>> s.unwatched()
        {}
        """
        from headrace.loop.alerts import unknown

        moment = None if as_of is None else time_of(as_of, self.workspace.now(), "as_of")
        self._check_stored()
        return unknown(self.declaration, self.workspace.reading, as_of=moment)

    def untold(self) -> list[str]:
        """Messages about alerts that were given up, a line for each channel that `Monitoring.notify` no longer names.

        Raises:
            LedgerError: The ledger cannot be read.

        >>> s.untold()
        []
        """
        from headrace.loop.notify import given_up

        return given_up(self.name, self.workspace.reading)

    def why(self, *, as_of: Time | None = None) -> list[ChainLink]:
        """What was raised and closed, trained and decided, oldest first, in words.

        Args:
            as_of: Nothing later. Default: all that is known.

        Raises:
            NotFoundError: Nothing is stored of the system.
            StoreError: A table cannot be read.

        >>> [link.event for link in s.why()]
        ['trained', 'promoted']
        """
        from headrace.loop.why import chain

        moment = None if as_of is None else time_of(as_of, self.workspace.now(), "as_of")
        self._check_stored()
        return chain(self.declaration, self.workspace.reading, as_of=moment)

    def _check_stored(self) -> None:
        """Refuse to say that nothing was raised where nothing was watched."""
        from headrace.tasks import task_of

        if not self.workspace.reading.store.tables(self.name):
            hint = task_of(self.declaration).first_steps(self.workspace.reading)
            raise NotFoundError("no data yet", where=self.name, hint=hint)

    @property
    def quarantine(self) -> pl.DataFrame:
        """Rows that broke the contract, newest first: each as it came, with every reason.

        >>> s.quarantine.columns
        ['id', 'time', 'known_at', 'row', 'reasons', 'source']
        """
        from headrace.pipelines.apart import quarantined

        return quarantined(self.workspace.reading, self.name)

    def validation(self, run_id: str | None = None) -> dict[str, Any]:
        """What the contract said of the last ingest, or of that of a run: every rule with counts, share and examples.

        Args:
            run_id: The run. Default: the last ingest.

        Raises:
            NotFoundError: Nothing was validated yet, there is no such run, or it validated nothing.

        >>> s.validation()["bad"], s.validation()["broken"]
        (0, False)
        """
        from headrace.pipelines.validations import validation_of

        return validation_of(self.workspace.reading, self.name, run_id)

    def validations(self, limit: int = 30) -> pl.DataFrame:
        """The last ingests as the contract saw them, newest first: how many rows were good, bad and pending.

        Args:
            limit: How many at most.

        >>> s.validations().height >= 1
        True
        """
        from headrace.pipelines.validations import history

        return history(self.workspace.reading, self.name, limit)

    def apart(
        self,
        *,
        reason: str | Sequence[str] = (),
        column: str | Sequence[str] = (),
        ids: Sequence[str] = (),
        source: str | None = None,
        released: bool = False,
    ) -> QuarantinedRows:
        """Rows of the quarantine, chosen and counted by reason and column.

        Args:
            reason: Only rows with a reason that holds one of these texts, whatever its case.
            column: Only rows with a reason that is about one of these columns.
            ids: Only these rows.
            source: Only rows of sources whose address holds this text.
            released: Those too that were released since.

        Raises:
            UsageError: The contract has no such column, or there is no row with such an id.

        >>> s.apart(column="consumption").counts.columns
        ['column', 'reason', 'rows', 'released']
        """
        from headrace.pipelines.apart import set_apart

        choice = choice_of(reason, column, ids, source)
        return set_apart(self.workspace.reading, self.name, self.declaration.contract, choice, released=released)

    def report(self, *, as_of: Time | None = None, out: str | Path | None = None) -> Path:
        """Write the page about errors and forecasts; returns its file.

        Args:
            as_of: As of then. Default: the newest run.
            out: Write there. Default: in the home.

        Raises:
            NotFoundError: There is nothing to report on yet.

        >>> s.report().name
        'monitoring.html'
        """
        return self.written_report(as_of=as_of, out=out)[0]

    def written_report(
        self, *, as_of: Time | None = None, out: str | Path | None = None
    ) -> tuple[Path, dict[str, Any]]:
        """As `report`, with the figures that the page shows.

        >>> s.written_report()[0].suffix
        '.html'
        """
        from headrace.reporting import write_report

        now = self.workspace.now()
        moment = None if as_of is None else time_of(as_of, now, "as_of")
        path = None if out is None else Path(out)
        report = write_report(self.declaration, self.workspace.reading, as_of=moment, now=now, out=path)
        return report.path, report.summary


def choice_of(
    reason: str | Sequence[str], column: str | Sequence[str], ids: Sequence[str], source: str | None
) -> ApartChoice:
    """Which rows of the quarantine; a text stands for one of its kind."""
    from headrace.pipelines.apart import ApartChoice

    reasons, columns = ((each,) if isinstance(each, str) else tuple(each) for each in (reason, column))
    return ApartChoice(reasons, columns, tuple(ids), source)


def _rows_of(data: str | Mapping[str, Any] | Sequence[Mapping[str, Any]] | pl.DataFrame) -> str | list[dict[str, Any]]:
    """Rows as a request has them, or where they are."""
    if isinstance(data, str):
        return data
    if isinstance(data, Mapping):
        return [dict(data)]
    return data.to_dicts() if hasattr(data, "to_dicts") else [dict(row) for row in data]
