"""Tune: search for better settings of a system, in parallel, and store the best ones as a configuration.

Trials see a part of the data. On the rest, which none saw, the best configuration is compared with the present one:
that decides, and its score is what is told of the configuration. A study is named by all that makes it: the system, the
space, the data. A command that was killed goes on with it, and several at once share it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from headrace.errors import NotFoundError, TuningError, UsageError
from headrace.executors import Handover, Pool, executor_of
from headrace.flow.interrupts import held_interrupts
from headrace.flow.space import check, example, present_values
from headrace.flow.trials import Bench, TrialTask, UnseenTask, bench_of, clear, do_trial, do_unseen
from headrace.home import Home
from headrace.lineage import digest_of, iso
from headrace.loading import adjusted
from headrace.registry.configurations import Configuration
from headrace.registry.configurations import digest as configuration_digest
from headrace.system import System
from headrace.tasks.objective import UnseenComparison
from headrace.tuning import Tuning
from headrace.tuning.study import DONE, FAILED, PRUNED, Study, TrialRecord
from headrace.tuning.values import settings_of

HOPELESS = 10
"""So many failed trials, and none that was completed, end a search."""
_PAUSE = 0.2


@dataclass(frozen=True)
class TuneRequest:
    """What to search with.

    Attributes:
        as_of: What was known then is used, UTC.
        now: The clock's time; it is only written down.
        tuning: What is searched, and for how long.
        workers: Processes; with 1 everything happens in this one.
        executor: Where they run, by its name; None: as the settings say.
        on_progress: Told the best so far and the time left, how many trials are complete, and of how many.
        used_from: Trainings use what wins from this time on, UTC; None: from the newest fact on that was searched.
    """

    as_of: datetime
    now: datetime
    tuning: Tuning
    workers: int = 1
    executor: str | None = None
    on_progress: Callable[[str, int, int], None] = lambda stage, count, total: None
    used_from: datetime | None = None


@dataclass
class SearchResult:
    """What a search found.

    Attributes:
        system: The system's name.
        study: The study's name.
        measure: What the loss is called; less is better.
        trials: All that were begun, those of earlier commands of the same study included.
        best: The best of them.
        searched: The loss of the present configuration on what trials saw; None where it was not tried.
        unseen: The two on data that no trial saw; None where the present one is the best.
        configuration: What was stored; None where the present one is the best.
        present: Values of the present configuration, by path; empty where they are no point of the space.
        left_out: Why no trial has the present values; None where one has.
        seen: What trials saw, in words.
        reaped: Trials of processes that are gone, marked as failed.
        interrupted: Whether somebody ended it early.
        seconds: Wall time.
    """

    system: str
    study: str
    measure: str
    seen: str
    trials: Sequence[TrialRecord] = ()
    best: TrialRecord | None = None
    searched: float | None = None
    unseen: UnseenComparison | None = None
    configuration: Configuration | None = None
    present: Mapping[str, Any] = field(default_factory=dict)
    left_out: str | None = None
    reaped: int = 0
    interrupted: bool = False
    seconds: float = 0.0

    def count(self, state: str) -> int:
        """How many trials are in a state."""
        return sum(trial.state == state for trial in self.trials)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: ``system study measure trials best{value params} config_version used unseen ...``."""
        configuration, best = self.configuration, self.best
        return {
            "system": self.system,
            "study": self.study,
            "measure": self.measure,
            "trials": self.count(DONE),
            "pruned": self.count(PRUNED),
            "failed": self.count(FAILED),
            "reaped": self.reaped,
            "best": None if best is None else {"value": best.loss, "params": dict(best.values), "trial": best.number},
            "present": {"value": self.searched, "params": dict(self.present)} if self.left_out is None else None,
            "present_left_out": self.left_out,
            "unseen": None if self.unseen is None else self.unseen.as_dict(),
            "config_version": None if configuration is None else configuration.version,
            "config_digest": None if configuration is None else configuration.digest,
            "used": configuration is not None and configuration.won and not configuration.withdrawn,
            "interrupted": self.interrupted,
            "seconds": self.seconds,
        }


def tune(declared: System, present: System, home: Home, request: TuneRequest) -> SearchResult:
    """Search, compare, store. Killed at any moment and repeated, it loses the trials that ran then.

    Args:
        declared: The system as it was declared, with the settings of the command.
        present: The same with the configuration that is in use.
        home: Where everything is.
        request: How.

    Raises:
        UsageError: There is nothing to search.
        ConfigError: A value of the space does not fit; names its path.
        NotFoundError: There is no data yet.
        NotEnoughDataError: There is too little to search and to compare on.
        TuningError: Trials fail one after the other.
    """
    if not request.tuning.space:
        hint = f"say what is to be searched in config.yaml: {example(declared)}"
        raise UsageError("there is nothing to search", where="tuning.space", hint=hint)
    check(declared)
    return _SearchRun(declared, present, home, request).execute()


class _SearchRun:
    def __init__(self, declared: System, present: System, home: Home, request: TuneRequest) -> None:
        self._declared, self._present, self._home, self._request = declared, present, home, request
        self._began, self._tracked = time.monotonic(), False
        self._version = home.raw(declared).version()
        if not self._version:
            raise NotFoundError("has no data yet", where=declared.name, hint=f"headrace ingest {declared.name}")
        self._as_of = self._newest_known()

    def execute(self) -> SearchResult:
        """The whole search."""
        r = self._request
        r.on_progress("prepare", 0, r.tuning.trials)
        task = self._task()
        bench = bench_of(task, self._home if self._request.workers == 1 else None)
        study = bench.study
        tuned = SearchResult(self._declared.name, task.study, bench.objective.measure, bench.objective.seen)
        tuned.reaped = study.reap()
        tuned.present, tuned.left_out = present_values(self._present)
        study.begin(tuned.present)
        try:
            with self._pool() as pool:
                tuned.reaped += self._search(pool, bench)
                self._decide(tuned, pool, bench)
        except KeyboardInterrupt:
            if tuned.trials:  # it is being decided already
                raise
            tuned.interrupted = True  # what is complete is kept, and compared as after the last trial
            study.reap()
            with self._pool() as pool:
                self._decide(tuned, pool, bench)
        tuned.seconds = round(time.monotonic() - self._began, 3)
        return tuned

    def _pool(self) -> Pool:
        executor = executor_of(self._request.executor or self._home.settings.executor)
        workers = self._request.workers
        # Where this process can be one of them, one fewer starts: it has the data already.
        made: Callable[[int], Pool] = getattr(executor, "pool_with_this", executor.pool)
        return made(workers)

    def _search(self, pool: Pool, bench: Bench) -> int:
        """Trials until the budget is met; returns how many of processes that are gone were replaced."""
        reaped = 0
        while True:
            self._rounds(pool, bench)
            self._wait(bench.study)
            gone = bench.study.reap()  # of other commands that were killed meanwhile: those are replaced
            reaped += gone
            if not gone:
                return reaped

    def _decide(self, tuned: SearchResult, pool: Pool, bench: Bench) -> None:
        """What the search found, and whether it is used."""
        tuned.trials, tuned.best = bench.study.trials(), bench.study.best()
        self._track(bench)
        if tuned.best is None:
            clear()
            raise _hopeless(tuned.trials, self._declared)
        self._judge(tuned, pool, bench)
        clear()

    def _newest_known(self) -> datetime:
        """Since when nothing new is known: a command that is repeated later has the same study."""
        import polars as pl

        table = self._home.raw(self._declared)
        lazy = table.scan(version=self._version, as_of=self._request.as_of).select(pl.col("known_at").max())
        newest: datetime | None = table.collect(lazy).item()
        if newest is None:
            message = f"nothing is known as of {iso(self._request.as_of)}"
            raise NotFoundError(message, where=self._declared.name, hint=f"headrace ingest {self._declared.name}")
        return newest

    def _task(self) -> TrialTask:
        tuning = self._request.tuning
        made_from = {
            "declared": self._declared.config_digest,
            "tuning": tuning.model_dump(mode="json", include={"space", "sampler", "pruner", "seed"}),
            "as_of": iso(self._as_of),
            "data_version": self._version,
        }
        settings = self._home.settings
        share = max(self._home.workers // self._request.workers, 1)
        handed = Handover.of(settings.model_copy(update={"threads": share}), self._declared)
        limit = None if tuning.timeout is None else time.time() + tuning.timeout.total_seconds()
        return TrialTask(handed, tuning, digest_of(made_from, 16), self._as_of, self._version, limit)

    def _rounds(self, pool: Pool, bench: Bench) -> None:
        """Trials until the budget is met: those that failed or were pruned are replaced in a further round."""
        study, task = bench.study, bench.task
        while self._goes_on(study, task) and (left := study.left()):
            idle = True
            for began in pool.map(do_trial, (task for _ in range(left))):
                idle = idle and not began
                self._tell(study)
                if began and not self._tracked:  # opened while others go on; refused at once where it cannot be
                    with held_interrupts():  # this imports MLflow, which the comparison after Ctrl-C needs whole
                        self._track(bench)
                if _is_hopeless(study.trials()):
                    raise _hopeless(study.trials(), self._declared)
            if idle:  # another command has begun what was left
                time.sleep(_PAUSE)

    def _goes_on(self, study: Study, task: TrialTask) -> bool:
        self._tell(study)
        return task.limit is None or time.time() < task.limit

    def _wait(self, study: Study) -> None:
        """Trials of other commands that run: they may be the best."""
        while study.running:
            self._tell(study)
            time.sleep(_PAUSE)

    def _tell(self, study: Study) -> None:
        trials, total = study.trials(), self._request.tuning.trials
        complete = [trial for trial in trials if trial.state == DONE]
        best = min((trial.loss for trial in complete if trial.loss is not None), default=None)
        texts = ["trials" if best is None else f"best {best:.4g}"]
        if complete and len(complete) < total:
            seconds = sum(trial.seconds or 0 for trial in trials) / len(complete) / self._request.workers
            texts.append(f"{_span(seconds * (total - len(complete)))} left")
        self._request.on_progress(", ".join(texts), len(complete), total)

    def _track(self, bench: Bench) -> None:
        pins = {"as_of": iso(self._as_of), "data_version": self._version, "declared": self._declared.config_digest}
        pins |= {"measure": bench.objective.measure, "tuning": self._request.tuning.model_dump(mode="json")}
        ended = [trial.as_dict() for trial in bench.study.trials()]
        self._home.registry.log_trials(self._declared.name, bench.task.study, ended, pins)
        self._tracked = True

    def _judge(self, tuned: SearchResult, pool: Pool, bench: Bench) -> None:
        """Compare the best with the present configuration, and store it."""
        best = tuned.best
        assert best is not None
        first = tuned.trials[0] if tuned.trials else None
        if first is not None and dict(first.values) == dict(tuned.present):
            tuned.searched = first.loss
        chosen = adjusted(self._declared, settings_of(best.values))
        if chosen.config_digest == self._present.config_digest:
            self._known(tuned)
            return
        self._request.on_progress("compare on unseen data", len(tuned.trials), len(tuned.trials))
        settings = bench.task.handed.settings
        pair = (
            UnseenTask(bench.task, 0, Handover.of(settings, self._present)),
            UnseenTask(bench.task, 1, bench.task.handed, best.values),
        )
        parts = dict(pool.map(do_unseen, pair))
        tuned.unseen = bench.objective.compare([parts[0], parts[1]])
        declared, name = self._declared.config_digest, self._declared.name
        record = {
            **tuned.as_dict(),
            "as_of": iso(self._as_of),
            "data_version": self._version,
            "seen": tuned.seen,
            "compared_with": None if self._present.tuned is None else self._present.tuned.version,
        }
        for left_out in ("config_version", "config_digest", "used", "seconds", "interrupted", "reaped"):
            record.pop(left_out)
        configuration = Configuration(
            name,
            0,
            configuration_digest(declared, best.values),
            declared,
            best.values,
            self._request.used_from or self._as_of,
            self._request.now,
            record,
            tuned.unseen.wins,
        )
        tuned.configuration = self._home.configurations(name).add(configuration)

    def _known(self, tuned: SearchResult) -> None:
        """The best is in use already: what was stored of it then is told again."""
        if self._present.tuned is None:
            return
        version = self._present.tuned.version
        stored = next(c for c in self._home.configurations(self._declared.name).all() if c.version == version)
        unseen = stored.record.get("unseen")
        if unseen is not None:
            names = ("measure", "present", "tuned", "error", "blocks", "count", "unit")
            tuned.unseen = UnseenComparison(**{name: unseen[name] for name in names})
        tuned.configuration = replace(stored)


def _is_hopeless(trials: Sequence[TrialRecord]) -> bool:
    return sum(t.state == FAILED for t in trials) >= HOPELESS and not any(t.state == DONE for t in trials)


def _hopeless(trials: Sequence[TrialRecord], system: System) -> TuningError:
    failed = [trial for trial in trials if trial.state == FAILED]
    if not failed:
        return TuningError("no trial was completed", where=system.name, hint="a longer timeout, or more trials")
    last = failed[-1]
    message = f"no trial was completed, and {len(failed)} failed, the last with {last.error}"
    return TuningError(message, where=system.name, hint=f"it tried {' '.join(settings_of(last.values))}")


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
