"""A study: all trials of one search. Any number of processes work on one at once, and go on with it after a kill."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.tuning.beats import Beats
from headrace.tuning.declared import Tuning
from headrace.tuning.samplers import pruner_of, sampler_of
from headrace.tuning.storage import storage_of
from headrace.tuning.values import proposed, recorded, restored
from headrace.tuning.workers import Workers

if TYPE_CHECKING:
    from optuna.study import Study as OptunaStudy
    from optuna.trial import FrozenTrial, Trial

DONE, PRUNED, FAILED, RUNNING = "complete", "pruned", "failed", "running"
_WORKER, _ERROR, _DEAD = "worker", "error", "the process that ran it is gone"
_STARTED = 10.0
"""A trial that is seen for so many seconds without a worker's mark was begun by a process that is gone."""


class PrunedTrialError(Exception):
    """A trial is worse than others after as many folds, and ends."""


@dataclass(frozen=True)
class TrialRecord:
    """One trial, as the study knows it.

    Attributes:
        number: From 0.
        state: ``complete``, ``pruned``, ``failed`` or ``running``.
        values: What it tried, by path.
        loss: What came of it; less is better. None where it is not complete.
        folds: The loss after each fold, by the fold's number.
        seconds: How long it ran; None while it runs.
        error: Why it failed.
    """

    number: int
    state: str
    values: Mapping[str, Any]
    loss: float | None
    folds: Mapping[int, float]
    seconds: float | None
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**vars(self), "values": dict(self.values), "folds": {str(k): v for k, v in self.folds.items()}}


@dataclass
class Study:
    """The trials of one search.

    Attributes:
        name: Of all that makes it: the system, the space, the data. Another one is another study.
        tuning: What is searched.
        folder: Where journals and workers' marks are.
        uri: A database for the trials in place of a journal.
        folds: How often a trial reports.
    """

    name: str
    tuning: Tuning
    folder: Path
    uri: str | None = None
    folds: int = 1
    workers: Workers = field(init=False)
    _unmarked: dict[int, float] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.workers = Workers(self.folder / f"{self.name}.workers")

    @cached_property
    def _study(self) -> OptunaStudy:
        import optuna

        storage = storage_of(self.folder, self.name, self.uri)
        pruner = pruner_of(self.tuning, self.folds)
        return optuna.create_study(storage=storage, study_name=self.name, pruner=pruner, load_if_exists=True)

    def begin(self, values: Mapping[str, Any] | None) -> None:
        """Let the first trial try these values, where nothing was tried yet."""
        if values and not self._study.get_trials(deepcopy=False):
            self._study.enqueue_trial(recorded(values, self.tuning), skip_if_exists=True)

    def reap(self) -> int:
        """Mark trials as failed whose process is gone; returns how many there were.

        Their values are tried again next, as if they had not been begun: a search that was killed, and did one trial
        after the other, then ends where it would have ended.
        """
        _, dead = self._unfinished()
        reaped = [trial for trial in dead if self._failed(trial, _DEAD)]
        for trial in reaped:
            self._study.enqueue_trial(dict(trial.params))
        return len(reaped)

    def trials(self) -> list[TrialRecord]:
        """All trials that were begun, by number."""
        from optuna.trial import TrialState

        return [self._record(t) for t in self._study.get_trials(deepcopy=False) if t.state != TrialState.WAITING]

    def left(self) -> int:
        """How many trials are still to be begun, beside those that run."""
        return 0 if self._impatient() else max(self.tuning.trials - len(self._losses()) - self.running, 0)

    @property
    def running(self) -> int:
        """How many trials run, in whatever process."""
        return len(self._unfinished()[0])

    def best(self) -> TrialRecord | None:
        """The complete trial with the least loss, of equal ones the first; None while there is none."""
        complete = [trial for trial in self.trials() if trial.state == DONE]
        return min(complete, key=lambda trial: (trial.loss, trial.number), default=None)

    def run(self, loss: Callable[[Mapping[str, Any], Callable[[int, float], None]], float]) -> TrialRecord:
        """Do one trial in this process.

        Args:
            loss: Of values by path; told where to report the loss after each fold.

        Raises:
            BaseException: What `loss` raises; the trial is marked as failed.
        """
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        study = self._study
        study.sampler = sampler_of(self.tuning, self._before())
        trial = study.ask()

        def report(fold: int, value: float) -> None:
            trial.report(value, fold)
            if trial.should_prune():
                raise PrunedTrialError

        with suppress(UpdateFinishedTrialError), self._marked(trial):  # suppressed: others have given it up
            try:
                value = loss(proposed(trial, self.tuning), report)
            except PrunedTrialError:
                study.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)
            except UpdateFinishedTrialError:
                raise
            except BaseException as error:
                trial.set_user_attr(_ERROR, f"{type(error).__name__}: {error}"[:500])
                study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
                raise
            else:
                study.tell(trial, value, skip_if_finished=True)
        return self._record(study.trials[trial.number])

    def _before(self) -> int:
        """How many trials were begun, without those of processes that are gone."""
        from optuna.trial import TrialState

        trials = self._study.get_trials(deepcopy=False)
        return sum(t.state != TrialState.WAITING and t.user_attrs.get(_ERROR) != _DEAD for t in trials)

    @cached_property
    def _beats(self) -> Beats | None:
        """Of a database; a journal is of one machine, where locks say the same at once."""
        return None if self.uri is None else Beats(self._study._storage)  # type: ignore[arg-type]  # noqa: SLF001

    @contextmanager
    def _marked(self, trial: Trial) -> Iterator[None]:
        """Let others see that a trial runs."""
        if self._beats is None:
            trial.set_user_attr(_WORKER, self.workers.own)
            yield
            return
        with self._beats.beating(trial._trial_id):  # noqa: SLF001
            trial.set_user_attr(_WORKER, f"{socket.gethostname()}:{os.getpid()}")
            yield

    def _unfinished(self) -> tuple[Sequence[FrozenTrial], Sequence[FrozenTrial]]:
        """Trials that run, and those whose process is gone."""
        from optuna.trial import TrialState

        silent = set() if self._beats is None else self._beats.silent(self._study._study_id)  # noqa: SLF001
        running, gone = list["FrozenTrial"](), list["FrozenTrial"]()
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            (running if self._lives(trial, silent) else gone).append(trial)
        return running, gone

    def _lives(self, trial: FrozenTrial, silent: Collection[int]) -> bool:
        mark = trial.user_attrs.get(_WORKER)
        if mark is None:  # it began just now; by this process's own clock, since those of machines differ
            seen = self._unmarked.setdefault(trial.number, time.monotonic())
            return time.monotonic() - seen < _STARTED
        return self.workers.alive(str(mark)) if self._beats is None else trial._trial_id not in silent  # noqa: SLF001

    def _failed(self, trial: FrozenTrial, reason: str) -> int:
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        storage = self._study._storage  # noqa: SLF001  # a study tells only trials that it asked for itself
        try:
            storage.set_trial_user_attr(trial._trial_id, _ERROR, reason)  # noqa: SLF001
            return int(storage.set_trial_state_values(trial._trial_id, TrialState.FAIL))  # noqa: SLF001
        except UpdateFinishedTrialError:  # another process was quicker
            return 0

    def _losses(self) -> list[float]:
        """Of complete trials, in the order in which they ended."""
        from optuna.trial import TrialState

        complete = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        ordered = sorted(complete, key=lambda trial: (trial.datetime_complete, trial.number))
        return [float(trial.value) for trial in ordered if trial.value is not None]

    def _impatient(self) -> bool:
        losses, patience = self._losses(), self.tuning.patience
        if patience is None or len(losses) <= patience:
            return False
        best = min(range(len(losses)), key=lambda place: (losses[place], place))
        return len(losses) - 1 - best >= patience

    def _record(self, trial: FrozenTrial) -> TrialRecord:
        states = {"COMPLETE": DONE, "PRUNED": PRUNED, "FAIL": FAILED}
        seconds = None if trial.duration is None else trial.duration.total_seconds()
        state, error = states.get(trial.state.name, RUNNING), trial.user_attrs.get(_ERROR)
        loss = trial.value if state == DONE else None
        values = restored(trial.params, self.tuning)
        return TrialRecord(trial.number, state, values, loss, dict(trial.intermediate_values), seconds, error)
