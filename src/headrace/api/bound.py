"""`BoundSystem`: a system together with the home that it runs in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.api.decided import DecidedSystem
from headrace.api.read import choice_of
from headrace.api.results import Backfill, Run, Scores
from headrace.api.times import Length, Time, date_range_of, duration_of, refuse_future, time_of
from headrace.errors import UsageError

if TYPE_CHECKING:
    from headrace.api.simulations import Policies, Simulations
    from headrace.pipelines.release import Release
    from headrace.tasks.learning_curve import LearningCurve

_ALL = ("ingest", "validate", "features", "train", "predict", "monitor")


class BoundSystem(DecidedSystem):
    """A system in a home: run it, look at it, decide about its models. `Workspace.system` makes one.

    Times have a zone and come back in UTC. Where a method takes `as_of`, it sees exactly what was known then; None is
    the clock's time. Every error is a `headrace.errors.HeadraceError`, with what to do about it.

    Attributes:
        declaration: The `System` as it was declared, with its settings.
        workspace: The home.
    """

    def __repr__(self) -> str:
        return f"BoundSystem({self.name!r}, home={str(self.workspace.settings.home)!r})"

    def _repr_html_(self) -> str:
        """What a notebook shows: the contract, the features, the champion and the last run."""
        from headrace.api.html import of_system

        last = next(iter(self.newest_runs(limit=1)), None)
        return of_system(self.declaration, str(self.workspace.settings.home), self.models.champion, last)

    def run(self, as_of: Time | None = None, *, source: str | None = None, simulated: bool = False) -> Run:
        """Ingest, train when due, predict and monitor: the whole pipeline, once.

        Args:
            as_of: See exactly what was known then. Default: now.
            source: A source URI in place of the system's own, such as ``file:records.csv``.
            simulated: Allow a time after the clock.

        Returns:
            What the run did; its predictions as a frame.

        Raises:
            HeadraceError: A step failed. What was done before it stays, and to repeat it changes nothing.

        >>> run = s.run("2023-01-20T16:00:00Z")
        >>> run.predictions.height, run.predictions["value"].null_count()
        (96, 0)
        """
        return self._steps(_ALL, as_of, source, simulated)

    def ingest(self, as_of: Time | None = None, *, source: str | None = None, simulated: bool = False) -> Run:
        """Read the source, validate it, and store what is new. Arguments as of `run`.

        >>> s.ingest("2023-01-20T16:00:00Z").ingested  # they are there already
        0
        """
        return self._steps(("ingest", "validate"), as_of, source, simulated)

    def train(self, as_of: Time | None = None, *, source: str | None = None, simulated: bool = False) -> Run:
        """Train a version now. It becomes champion if it beats the present one. Arguments as of `run`.

        A `source` that you name is ingested first.

        >>> s.train("2023-01-20T16:00:00Z").model["version"]  # the same facts and declaration: the same version
        1
        """
        return self._steps((*_ingested(source), "train"), as_of, source, simulated)

    def predict(self, as_of: Time | None = None, *, source: str | None = None, simulated: bool = False) -> Run:
        """Predict every series, or every row that has no target yet. Arguments as of `run`.

        A `source` that you name is ingested first. To predict once more from the same facts stores nothing.

        >>> s.predict("2023-01-20T16:00:00Z").stored
        0
        """
        return self._steps((*_ingested(source), "features", "predict"), as_of, source, simulated)

    def monitor(self, as_of: Time | None = None, *, source: str | None = None, simulated: bool = False) -> Run:
        """Compare predictions with the truth that is known by now. Arguments as of `run`.

        >>> sorted(s.monitor("2023-01-20T16:00:00Z").metrics)  # nothing has matured yet
        []
        """
        return self._steps((*_ingested(source), "monitor"), as_of, source, simulated)

    def backfill(
        self,
        start: Time,
        end: Time,
        every: Length,
        *,
        source: str | None = None,
        workers: int | None = None,
        executor: str | None = None,
        simulated: bool = False,
    ) -> Backfill:
        """Do all runs between two times, as if they had happened live.

        Args:
            start: The first run sees what was known then.
            end: No run is later.
            every: From one run to the next.
            source: A source URI in place of the system's own.
            workers: Processes. None: one a core; 1, which is this process, for a system that has no folder.
            executor: Where they run, by its name. None: as ``HEADRACE_EXECUTOR`` says, or ``local``.
            simulated: Allow times after the clock.

        Raises:
            HeadraceError: The source, the contract or the storage failed; to repeat it goes on from there.

        >>> s.backfill("2023-01-20T16:00:00Z", "2023-01-20T20:00:00Z", "2h", workers=1)
        Backfill('energy', runs=3, predictions=288, failed=0)
        """
        from headrace.flow.backfill import BackfillRequest, backfill
        from headrace.housekeeping.changes import refuse_unfinished

        refuse_unfinished(self.workspace.reading, self.name)
        home, now = self.workspace.home, self.workspace.now()
        dates = date_range_of(start, end, every, self.declaration.dates)
        refuse_future(dates.times()[-1], now, "end", simulated=simulated)
        system = self.configured(dates.times()[0])
        count = workers or (home.workers if system.is_loaded else 1)
        with self._progress() as on_progress:
            request = BackfillRequest(dates, now, source, count, executor, on_progress, reference=self._reference)
            return Backfill(backfill(system, home, request))

    def notify(self, *, trial: bool = False) -> list[dict[str, Any]]:
        """Send the messages about alerts that wait for their channels, now; runs do that by themselves.

        Args:
            trial: Send a message to each channel instead that says that it is a trial.

        Returns:
            For each channel ``channel sent waiting reason given_up``: what was sent, in one message, and what waits
            on, and why; and what is sent no more, as `monitoring.notify` no longer names the channel.

        Raises:
            UsageError: No channel is declared.
            LedgerError: The ledger cannot be read or written.

        >>> s.notify()
        Traceback (most recent call last):
        headrace.errors.UsageError: monitoring.notify: no channel is declared
        ...
        """
        from headrace.loop.notify import deliver, give_up, rehearse

        if not self.declaration.monitoring.notify:
            hint = 'name variables that hold addresses: Monitoring(notify=("OPS_WEBHOOK",))'
            raise UsageError("no channel is declared", where="monitoring.notify", hint=hint)
        if trial:
            return [delivery.as_dict() for delivery in rehearse(self.declaration)]
        home, now = self.workspace.home, self.workspace.now()
        lost = give_up(self.declaration, home, now=now)
        return [delivery.as_dict() for delivery in (*lost, *deliver(self.name, home, now=now, force=True))]

    def evaluate(
        self,
        start: Time | None = None,
        end: Time | None = None,
        every: Length | None = None,
        *,
        retrain: Length | None = None,
        source: str | None = None,
        data: str | None = None,
    ) -> Scores:
        """Backtest a system that forecasts, or score held-out rows with the champion. Stores nothing.

        Args:
            start: The first origin; nothing from after an origin is seen at it.
            end: No origin is later.
            every: From one origin to the next.
            retrain: Train anew this often. Default: once, at the start.
            source: A source URI. Default: what is stored.
            data: For a system that scores rows: a file, or a source URI, of rows with a target.

        Raises:
            UsageError: The arguments are those of the other kind of system.
            NotEnoughDataError: Too little was known at the first origin, or no row has a target.

        >>> scores = s.evaluate("2023-01-19T00:00:00Z", "2023-01-19T12:00:00Z", "12h")
        >>> scores.origins, sorted(scores.baselines)
        (2, ['naive_1d', 'naive_7d', 'naive_last'])
        """
        from headrace.flow.evaluate import EvaluateRequest, evaluate

        home, now = self.workspace.reading, self.workspace.now()
        span = (start, end, every)
        if any(span) and not all(span):
            raise UsageError("start, end and every belong together", where="evaluate", hint="give all three, or none")
        dates = date_range_of(start, end, every, self.declaration.dates) if start and end and every else None
        system = self.configured(None if dates is None else dates.times()[0])
        retraining = duration_of(retrain, "retrain") if retrain else None
        with self._progress() as on_progress:
            request = EvaluateRequest(dates, now, retraining, source, on_progress, data)
            return Scores(evaluate(system, home, request))

    def learning_curve(self, version: int | None = None) -> LearningCurve:
        """The error of a version on data that no fit saw, by how much it learns from: what more data would be worth.

        It fits a version's declaration on an eighth, a quarter, half and all of what is learnt from, as a search would,
        which takes about two trainings. It is made once, from the version's pins, and stored: `card` shows it then.

        Args:
            version: Which; default: the champion.

        Raises:
            NotFoundError: There is no such version, or no champion.
            UsageError: The declaration is another one by now.
            NotEnoughDataError: There is too little data to part.

        >>> curve = s.learning_curve()
        >>> curve.measure, curve.unit, [point.share for point in curve.points]
        ('wape', 'steps', [0.125, 0.25, 0.5, 1.0])
        """
        from headrace.housekeeping.changes import refuse_unfinished
        from headrace.pipelines.cards import version_of
        from headrace.pipelines.learning_curves import curve_of

        refuse_unfinished(self.workspace.reading, self.name)
        record = version_of(self.workspace.reading, self.name, version)
        system, home, now = self.configured(record.as_of), self.workspace.home, self.workspace.now()
        with self._progress() as on_progress:
            return curve_of(system, home, record, now, on_progress)

    def simulate(
        self,
        start: Time,
        end: Time,
        every: Length,
        *,
        compare: Policies = (),
        beside: Sequence[Length] | str = (),
        source: str | None = None,
        workers: int | None = None,
        keep: str | Path | None = None,
    ) -> Simulations:
        """Try the policy over the past: runs, trainings, alerts and what came of them. This home is only read.

        Args:
            start: The first run sees what was known then.
            end: No run is later.
            every: From one run to the next.
            compare: Policies in place of the declared one: YAML files as ``config.yaml`` is, or what each says by its
                name, ``{"often": {"schedule": {"train": "1d"}}}``.
            beside: Calendars to hold against it: ``never``, ``1d``, ``7d``; nothing else makes them train.
            source: A source URI. Default: what is stored, else the system's own.
            workers: Processes, run as ``HEADRACE_EXECUTOR`` says. None: one a core; 1 for a system that has no folder.
            keep: An empty folder for the home; of several policies each has its own in it. Default: thrown away.

        Raises:
            UsageError: The system makes no runs of the past, or a policy cannot be read.
            ConfigError: A policy has a mistake; says which.
            NotEnoughDataError: Nothing was known in the whole range.

        >>> tried = s.simulate("2023-01-20T16:00:00Z", "2023-01-20T20:00:00Z", "2h", workers=1)
        >>> tried
        Simulations('energy', policies=['declared'], runs=[3])
        >>> tried[0].outcome.trainings[0]["because"]
        'there is no champion'
        """
        from headrace.api.simulations import Simulations, policies_of
        from headrace.flow.simulate import SimulateRequest, simulate

        home, now = self.workspace.reading, self.workspace.now()
        dates = date_range_of(start, end, every, self.declaration.dates)
        first = dates.times()[0]
        policies = policies_of(self._reference, home, first, compare=compare, beside=beside)
        count = workers or (home.workers if self.declaration.is_loaded else 1)
        place = None if keep is None else Path(keep)
        with self._progress() as on_progress:
            request = SimulateRequest(dates, now, policies, source, count, place, on_progress)
            return Simulations(self.name, simulate(home, request))

    def release(
        self,
        *,
        reason: str | Sequence[str] = (),
        column: str | Sequence[str] = (),
        ids: Sequence[str] = (),
        source: str | None = None,
        as_of: Time | None = None,
        simulated: bool = False,
    ) -> Release:
        """Check rows of the quarantine with the contract as it is now; those that are good become facts.

        They are known from `as_of` on, so the past stays as it was. What still breaks the contract stays, with the
        reasons of today. Repeated, it changes nothing.

        Args:
            reason: Only rows with a reason that holds one of these texts, whatever its case.
            column: Only rows with a reason that is about one of these columns.
            ids: Only these rows.
            source: Only rows of sources whose address holds this text.
            as_of: Since when they are known. Default: now.
            simulated: Allow a time after the clock.

        Raises:
            UsageError: The contract has no such column, there is no row with such an id, or rows of this system are
                events that say themselves when they became known.
            StoreError: A table could not be written; to repeat it goes on from there.

        >>> s.release().read  # nothing is apart
        0
        """
        from headrace.housekeeping.changes import refuse_unfinished
        from headrace.pipelines.release import release

        refuse_unfinished(self.workspace.reading, self.name)
        now = self.workspace.now()
        moment = refuse_future(time_of(as_of, now, "as_of"), now, "as_of", simulated=simulated)
        choice = choice_of(reason, column, ids, source)
        return release(self.declaration, self.workspace.home, choice, as_of=moment, now=now)

    def _steps(self, steps: tuple[str, ...], as_of: Time | None, source: str | None, simulated: bool) -> Run:
        from headrace.flow.run import RunRequest, run
        from headrace.housekeeping.changes import refuse_unfinished

        refuse_unfinished(self.workspace.reading, self.name)
        now = self.workspace.now()
        moment = refuse_future(time_of(as_of, now, "as_of"), now, "as_of", simulated=simulated)
        retrain = "train" in steps and "predict" not in steps
        with self._progress() as on_progress:

            def on_step(step: str) -> None:
                on_progress(step, steps.index(step), len(steps))

            request = RunRequest(moment, now, source, steps, retrain, on_step, self._reference)
            return Run(self._with_unused(run(self.configured(moment), self.workspace.home, request)))


def _ingested(source: str | None) -> tuple[str, ...]:
    """The steps before one that reads the store only: a source that is named is ingested first."""
    return () if source is None else ("ingest", "validate")
