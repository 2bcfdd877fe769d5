"""What a task must do: a kind of prediction, from its training to its report. One folder for each, beside this file.

Doors, steps and commands never ask which kind a system is of. They ask its task to do a thing, or whether it can: each
capability has a name, says what follows from it, and stands in `Task`.

A task of your own is a subclass with a `kind`, which a system names in ``task=``. What has a plain answer here need not
be said again: a task that has no series, no origins and no door says nothing about them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from headrace.errors import DeclarationError, ExplainError, UsageError
from headrace.home import Home
from headrace.lineage import Pins
from headrace.system import System
from headrace.tasks.evaluation import DailyErrors, ErrorsOverTime
from headrace.tasks.sections import PredictionSummary, TaskReport

if TYPE_CHECKING:
    import polars as pl

    from headrace.registry import ModelVersion, Trained
    from headrace.store.snapshots import Snapshots
    from headrace.tasks.answering import OnlineLookups, RowAnswers
    from headrace.tasks.distributions import Distributions
    from headrace.tasks.evaluation import EvaluateRequest, Evaluation, EvaluationData
    from headrace.tasks.explanation import Explanation
    from headrace.tasks.form import PredictionForm
    from headrace.tasks.objective import Objective
    from headrace.tasks.paired import ComparedPairs, PairRequest
    from headrace.tasks.schemas import DoorSchemas
    from headrace.tasks.score_table import ScoreTable
    from headrace.tasks.watched import WatchedErrors

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and of how much."""


def silent(stage: str, count: int, total: int) -> None:
    """Tells nobody."""


@dataclass(frozen=True)
class PinnedRun:
    """A run that predicts: the versions that it uses, and its id."""

    pins: Pins
    run_id: str


@dataclass(frozen=True)
class Predicted:
    """What a predict step did for one run.

    Attributes:
        frame: The predictions of this run, as they are stored.
        stored: How many of them were new.
    """

    frame: pl.DataFrame
    stored: int

    def record(self) -> dict[str, Any]:
        """What the run's record says of them besides, JSON-ready."""
        return {}


@dataclass(frozen=True)
class Monitored:
    """What a monitor step found.

    Attributes:
        overall: Metrics over the monitoring window; empty while nothing has matured.
        completeness: What they rest on: how many predictions there are, how many `matured`, `since` and `until` when;
            of rows also `known_before`, of how many the truth was known before they were made, where there are any.
        rows: New score facts.
    """

    overall: dict[str, Any]
    completeness: dict[str, Any]
    rows: int

    @property
    def matured(self) -> int:
        """Predictions of the window whose truth is known."""
        return int(self.completeness.get("matured", 0))


@dataclass(frozen=True)
class ReportRequest:
    """What a report is about.

    Attributes:
        as_of: What was known then, UTC; None: everything.
        newest: The time of the newest predictions that were known, UTC.
        last_run: The run that ended last, as `headrace.pipelines.runs.newest` gives it; None where there was none.
        record: What that run wrote down; empty where there is nothing.
    """

    as_of: datetime | None
    newest: datetime
    last_run: Mapping[str, Any] | None
    record: Mapping[str, Any]


@dataclass(frozen=True)
class Extent:
    """What runs of the past rest on.

    Attributes:
        known_from: Nothing was known before, UTC; None where nothing is known at all.
        predictions: How many one run makes, about.
    """

    known_from: datetime | None
    predictions: int


class PastRuns(Protocol):
    """What a task needs for runs of the past, several at once: a backfill asks it."""

    def extent(self, home: Home, data_version: int) -> Extent:
        """Since when there is anything to predict from, and how much."""

    def due(self, home: Home, as_of: datetime) -> Sequence[Any]:
        """What is to be scored as of a time, in parts that other processes may do, all but the last side by side.

        The last part comes after all others are done. Nothing where nothing is to be scored; each can be pickled.
        """

    def score(self, home: Home, part: Any) -> int:
        """Score one part; returns the number of new facts. Repeating it stores nothing."""


@dataclass(frozen=True)
class Task(ABC):
    """What a system does with its model; made by `headrace.tasks.task_of`, and light: it opens nothing by itself.

    Attributes:
        system: The declaration.
        kind: Its name in ``task=``, and what ``GET /v1/systems/{s}`` calls it.
        action: What a system of this kind does, to follow its name: ``scores rows``.
        unit: What a key names.
        stateful: What is posted or streamed is a fact, and an answer depends on those before: a door keeps the past of
            every series, and there is a log in which they have one order. Otherwise each answer stands for itself.
        has_series: There is a known set of series, each with observations and predictions to be listed and read.
        splits: One body may be answered by two versions, the champion and a canary, each row by one.
        logs_features: What is posted may be logged with its features.
        drifts: It has `distributions`.
        strict: What is posted may have no columns but those of the contract.
        newest_by: The column of predictions whose greatest value is the newest.
    """

    system: System
    kind: ClassVar[str]
    action: ClassVar[str]
    unit: ClassVar[str] = "row"
    stateful: ClassVar[bool] = False
    has_series: ClassVar[bool] = False
    splits: ClassVar[bool] = False
    logs_features: ClassVar[bool] = False
    drifts: ClassVar[bool] = False
    strict: ClassVar[bool] = True
    newest_by: ClassVar[str] = "created_at"

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "kind" in cls.__dict__:
            other = _TASKS.get(cls.kind)
            if other is not None and (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
                message = (
                    f"{cls.__qualname__} calls itself {cls.kind!r}, as {other.__module__}.{other.__qualname__} does"
                )
                raise DeclarationError(message, where="kind", hint="choose another kind")
            _TASKS[cls.kind] = cls

    # What is predicted.

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """Columns of what is predicted, the first two those that are shown where there is little room."""

    @property
    def identity(self) -> list[str]:
        """Columns that tell what a prediction is about, beside when it was made."""
        return list(self.system.keys)

    @property
    def optional(self) -> tuple[str, ...]:
        """Columns of the contract that whoever asks may leave out, since they are predicted."""
        return ()

    @property
    def never_ahead(self) -> str | None:
        """The column that cannot be known before its event time; None: there is none."""
        return None

    @property
    def form(self) -> PredictionForm:
        """What predictions look like outside of the tables.

        Raises:
            UsageError: They have no such form, so that they stay in the tables.
        """
        message = f"{self.system.name} {self.action}, which has no form outside of the tables"
        raise UsageError(message, hint=f"headrace predictions {self.system.name}")

    @property
    def past(self) -> PastRuns | None:
        """Runs of the past; None: predictions are not made as of times, so there are none to make."""
        return None

    @property
    def request_schema(self) -> dict[str, Any]:
        """JSON Schema of what is posted: the contract, without what may be left out."""
        schema = self.system.contract.json_schema()
        required = [name for name in schema["required"] if name not in self.optional]
        return schema | {"required": required} | ({"additionalProperties": False} if self.strict else {})

    def door_schemas(self, home: Home, *, version: ModelVersion | None, predictor: Any) -> DoorSchemas | None:
        """The JSON Schemas of what is posted to a door and of its answer; None: nothing is posted.

        Args:
            home: Where the champion and the data are.
            version: Who answers; None while nobody does.
            predictor: What a door holds of that version, if it holds anything.
        """
        return None

    def answering(
        self, home: Home, version: ModelVersion, now: datetime
    ) -> tuple[RowAnswers | None, OnlineLookups | None]:
        """A version that a door can hold in memory, and what it looks up; None where the door cannot ask it row by row.

        What a door logs comes into the tables by `export`.

        Raises:
            ModelError: It was trained with another contract.
            HeadraceError: Its files, or what it looks up, cannot be read.
        """
        return None, None

    def text_of(self, row: Mapping[str, Any], suffix: str = "") -> Any:
        """What a row of predictions says, in the columns with this suffix: a number, or a text for people."""
        return ", ".join(str(row[f"{name}{suffix}"]) for name in self.columns)

    # A run.

    def newest(self, home: Home, as_of: datetime) -> datetime | None:
        """The newest event time that is stored and was observed by then; None where there is none, or no time."""
        from headrace.tasks.conditions import newest_time

        return newest_time(self.system, home, as_of)

    def features(
        self, home: Home, as_of: Sequence[datetime], *, data_version: int
    ) -> tuple[Snapshots | None, Sequence[int]]:
        """Store the features that runs as of these times (ascending) see before they predict, if there are any.

        Returns:
            What was read for them, which `predict` takes so that it is read once, and the number of rows per run.

        Raises:
            NotEnoughDataError: Nothing is known as of the first time.
        """
        return None, [0] * len(as_of)

    @abstractmethod
    def train(
        self, home: Home, *, as_of: datetime, data_version: int, now: datetime, because: str | None = None
    ) -> Trained:
        """Fit on what was known and put the fit before the gate; see `headrace.tasks.gate`.

        Args:
            home: Where everything is.
            as_of: What was known at this time (UTC) is learnt from.
            data_version: Logical version of the raw table.
            now: The clock's time; it is only written down.
            because: Why it is trained; handed to `admit`, which keeps it with the version.

        Raises:
            NotEnoughDataError: Too little is known.
            RegistryError: The tracking server cannot be reached.
        """

    def fall_back(self, home: Home, *, as_of: datetime, data_version: int, now: datetime, because: str) -> Trained:
        """As `train`, of the best baseline in the model's place; raises `UsageError` where there is none."""
        raise UsageError(f"{self.system.name} {self.action}, and has no baseline to serve", where="fallback")

    def objective(self, home: Home, *, as_of: datetime, data_version: int) -> Objective:
        """What a search for better settings asks: see `headrace.tasks.objective`; arguments as of `train`.

        Raises:
            UsageError: This task has none.
            NotEnoughDataError: Too little is known.
        """
        message = f"{self.system.name} {self.action}, and its task does not say how good a configuration is"
        raise UsageError(message, where="tune", hint="let the task have a method objective()")

    @abstractmethod
    def predict(
        self,
        home: Home,
        runs: Sequence[PinnedRun],
        *,
        now: datetime,
        threads: int | None = None,
        snapshots: Snapshots | None = None,
    ) -> Sequence[Predicted]:
        """Predict for every run, and store what is new. Repeating it with the same pins stores nothing.

        Args:
            home: Where everything is.
            runs: Ascending in time; their pins may differ in nothing else.
            now: The clock's time; it is only written down.
            threads: None is all that the home allows; no number depends on it.
            snapshots: From `features`, as of the same times.

        Raises:
            ArtefactError: The model's files differ from their digest.
        """

    def warnings(self, home: Home, predicted: Predicted, pins: Pins) -> list[str]:
        """What people should know about predictions that were made."""
        return []

    def summary(self, predicted: Predicted) -> PredictionSummary:
        """What a terminal shows of the predictions of a run."""
        name, frame = self.system.name, predicted.frame
        return PredictionSummary([f"\n{name}: {frame.height:,} predictions, {predicted.stored:,} new"])

    def stale(self, home: Home, *, as_of: datetime, data_version: int, origin: datetime | None = None) -> str | None:
        """That the newest value, or the one at `origin`, is far older than is usual; None where it is not."""
        return None

    @abstractmethod
    def monitor(self, home: Home, *, as_of: datetime, data_version: int) -> Monitored:
        """Score the predictions whose truth has become known, and sum up the monitoring window.

        Repeating it stores nothing new.
        """

    def export(self, home: Home, on_progress: Progress = silent) -> dict[str, int]:
        """Copy what a door logged since the last time into the tables, each entry once.

        Repeating it copies nothing; several processes may do it at once.

        Returns:
            How many were ``exported``, and what there was besides.

        Raises:
            LedgerError: The ledger cannot be read.
            StoreError: A table cannot be read or written.
            DeclarationError: The facts in this home are of another shape.
        """
        return {"exported": 0}

    # What is stored.

    @abstractmethod
    def read(
        self,
        home: Home,
        *,
        as_of: datetime | None = None,
        where: Mapping[str, str] | None = None,
        role: str | None = None,
    ) -> pl.DataFrame:
        """Stored predictions; see `headrace.pipelines.predictions.read`."""

    @abstractmethod
    def actuals(self, home: Home, predictions: pl.DataFrame, as_of: datetime | None) -> pl.DataFrame:
        """The truth of what was predicted, as it is known by a time (None: by now): `identity`, and ``actual``."""

    def served(self, home: Home) -> DailyErrors:
        """How wrong what was answered was, by the day of the runs.

        Raises:
            UsageError: This task does not score what a champion answered run by run.
        """
        message = f"{self.system.name} {self.action}, whose errors are not summed up by run"
        hint = "rules that look at errors are for systems that forecast"
        raise UsageError(message, where="schedule.retrain", hint=hint)

    def overall(self, home: Home, every: str) -> ErrorsOverTime:
        """How wrong everything that was predicted was, by all that is known.

        Args:
            home: Where the scores are.
            every: Times of the truth are put together so: ``1d``, ``1w``, ``1mo``.
        """
        return ErrorsOverTime({}, {}, [])

    def scores(self, home: Home, as_of: datetime | None = None) -> pl.DataFrame | None:
        """The scores of the monitoring window as they were known at a time (None: all); None while there is none."""
        return None

    def scores_by(
        self, home: Home, by: str, *, as_of: datetime | None = None, where: Mapping[str, str] | None = None
    ) -> ScoreTable | None:
        """The same scores by one thing, beside baselines; None while there is none.

        Args:
            home: Where they are.
            by: ``time``, ``version`` and what else the task keeps them by; empty: one row over everything.
            as_of: As they were known then; None: all that is known.
            where: Column to text: only what has these values.

        Raises:
            NotFoundError: They are not kept by that.
            UsageError: They are not kept by columns.
        """
        return None

    def measured(self, home: Home, scores: pl.DataFrame | None) -> dict[str, Any]:
        """Metrics of such scores, or of some of them: ``metrics over_time``, and what there is besides, JSON-ready."""
        return {"metrics": {}, "over_time": []}

    def anomalies(self, home: Home, times: Sequence[datetime], window: timedelta) -> pl.DataFrame | None:
        """Of each time (ascending, UTC) the values that were judged within a window before; None: none are."""
        return None

    def watched(self, home: Home) -> WatchedErrors | None:
        """What rules of monitoring ask about errors; None: they are not watched."""
        return None

    def distributions(self, home: Home, version: ModelVersion, segments: Sequence[str]) -> Distributions | None:
        """What a version learnt from and what came since, also by some columns; None: drift is not watched.

        Raises:
            HeadraceError: The version's files, or the tables, cannot be read.
        """
        return None

    @abstractmethod
    def report(self, home: Home, request: ReportRequest) -> TaskReport:
        """How good the predictions were, on what that rests, and what is predicted now."""

    def compared(self, home: Home, request: PairRequest, versions: Sequence[ModelVersion]) -> ComparedPairs:
        """Two versions on the pairs that both answered.

        Raises:
            UsageError: Versions of this kind are not compared.
            NotFoundError: They have no common pairs.
        """
        raise UsageError(f"{self.system.name} {self.action}, its versions are not compared", where="compare")

    # Evaluation, explanation, replay, repair.

    @abstractmethod
    def evaluate(self, home: Home, request: EvaluateRequest, data: EvaluationData) -> Evaluation:
        """How good predictions would have been, or are on rows that were not seen. Stores nothing.

        Raises:
            UsageError: The request is one of another kind of task.
            NotEnoughDataError: There is too little to judge by.
            NotFoundError: There is no model.
        """

    def explain(
        self,
        home: Home,
        version: ModelVersion,
        rows: pl.DataFrame,
        *,
        as_of: datetime,
        label: Any = None,
        words: bool = False,
    ) -> list[Explanation]:
        """Why a version says what it says of rows that are not stored.

        Args:
            home: Where the model is.
            version: Which.
            rows: Typed, of the contract.
            as_of: As of when stored features are looked up, UTC.
            label: The class to explain; None: of two the second, of several the one that is predicted.
            words: Tell the words of free texts by themselves.

        Raises:
            UsageError: The system forecasts series, or there is no such class.
            ExplainError: The model cannot tell.
        """
        raise UsageError(f"{self.system.name} {self.action}, it explains no rows", where="data")

    def explain_held(
        self,
        predictor: Any,
        version: int,
        rows: Sequence[Mapping[str, Any]],
        *,
        label: Any = None,
        words: bool = False,
    ) -> list[Explanation]:
        """As `explain`, by what a door holds: rows are decoded, and have what the version looks up.

        Args:
            predictor: From `answering`.
            version: Its number.
            rows: One or more.
            label: The class to explain.
            words: Tell the words of texts by themselves.

        Raises:
            UsageError: Rows of this kind are not explained, or there is no such class.
            ExplainError: The model cannot tell.
        """
        raise UsageError(f"{self.system.name} {self.action}, it explains no rows", where="data")

    def labels(self, home: Home, predictor: Any) -> Sequence[Any]:
        """The classes that can be explained; none where numbers are predicted.

        Args:
            home: Where the champion and the data are.
            predictor: From `answering`; None while nobody answers.
        """
        return ()

    def make_again(self, home: Home, pins: Pins, run_id: str, now: datetime) -> None:
        """Store again what a run stored, from its pins."""
        snapshots, _ = self.features(home, [pins.as_of], data_version=pins.data_version)
        self.predict(home, [PinnedRun(pins, run_id)], now=now, snapshots=snapshots)

    def score_again(self, home: Home, last: Pins) -> None:
        """Store all scores again, as known by the last run."""
        self.monitor(home, as_of=last.as_of, data_version=last.data_version)

    def first_steps(self, home: Home) -> str:
        """What leads to a first prediction, from where the home stands."""
        return f"headrace run {self.system.name}"

    # What can be done with a stored prediction alone, without the declaration that it was made by.

    @staticmethod
    @abstractmethod
    def owns(row: Mapping[str, Any]) -> bool:
        """Whether a stored prediction is one of this task's."""

    @staticmethod
    @abstractmethod
    def replay(home: Home, system: str, prediction_id: str, row: Mapping[str, Any], *, threads: int) -> dict[str, Any]:
        """Compute it again from its pins: ``id stored replayed identical``; see `headrace.pipelines.predictions`."""

    @staticmethod
    def explain_stored(
        home: Home,
        system: str,
        rows: Sequence[Mapping[str, Any]],
        *,
        label: Any = None,
        words: bool = False,
        threads: int = 1,
    ) -> list[Explanation]:
        """Why stored predictions have their values, in their order: from what replaying them reads.

        Raises:
            ReplayError: What it was made from is not there any more.
            ExplainError: The model cannot tell.
            ArtefactError: The model's files are gone or differ from their digest.
        """
        message = "predictions of this kind are not explained"
        raise ExplainError(message, where=system, hint=f"headrace trace {rows[0]['id']}")


_TASKS: dict[str, type[Task]] = {}
"""Those whose module was imported, by kind."""


def known_tasks() -> Mapping[str, type[Task]]:
    """Tasks whose module was imported, by kind, in the order in which they were."""
    return _TASKS
