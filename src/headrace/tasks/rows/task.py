"""The task of a system without a horizon: score rows, each for itself. Each method opens its own room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from headrace.home import Home
from headrace.lineage import Pins
from headrace.tasks.base import Monitored, PinnedRun, Predicted, Progress, ReportRequest, Task, silent
from headrace.tasks.sections import PredictionSummary, TaskReport

if TYPE_CHECKING:
    import polars as pl

    from headrace.registry import ModelVersion, Trained
    from headrace.store.snapshots import Snapshots
    from headrace.tasks.evaluation import EvaluateRequest, Evaluation, EvaluationData
    from headrace.tasks.explanation import Explanation
    from headrace.tasks.paired import ComparedPairs, PairRequest
    from headrace.tasks.rows.distributions import RowDistributions
    from headrace.tasks.rows.form import RowForm
    from headrace.tasks.rows.lookups import Lookups
    from headrace.tasks.rows.objective import RowObjective
    from headrace.tasks.rows.outputs.base import Output
    from headrace.tasks.rows.predictor import RowPredictor
    from headrace.tasks.rows.watched import RowErrors
    from headrace.tasks.schemas import DoorSchemas
    from headrace.tasks.score_table import ScoreTable


@dataclass(frozen=True)
class RowTask(Task):
    """Scores rows; see `headrace.tasks.base.Task`."""

    kind: ClassVar[str] = "rows"
    drifts: ClassVar[bool] = True
    action: ClassVar[str] = "scores rows"
    splits: ClassVar[bool] = True
    logs_features: ClassVar[bool] = True

    @property
    def columns(self) -> tuple[str, ...]:
        """The target, and what its output shows beside it."""
        from headrace.tasks.rows.outputs.declared import output_with

        return (self.system.target, *output_with(self.system, ()).shown)

    @property
    def optional(self) -> tuple[str, ...]:
        """The target, which is asked for."""
        return (self.system.target,)

    @property
    def form(self) -> RowForm:
        """See `headrace.tasks.rows.form`."""
        from headrace.tasks.rows.form import RowForm

        return RowForm(self.system)

    def door_schemas(self, home: Home, *, version: ModelVersion | None, predictor: Any) -> DoorSchemas:
        """A row, and what is said of it: by the version that answers, or as it is declared while none does."""
        from headrace.tasks.rows.posting import posting

        return posting(self.system, self._output(home, predictor), self.request_schema)

    def answering(self, home: Home, version: ModelVersion, now: datetime) -> tuple[RowPredictor, Lookups | None]:
        """Its predictor, and what its features look up."""
        from headrace.tasks.rows.champion import taken_up

        predictor, lookups = taken_up(self.system, home, version, now)
        return predictor, lookups or None

    def train(
        self, home: Home, *, as_of: datetime, data_version: int, now: datetime, because: str | None = None
    ) -> Trained:
        """On rows with a target."""
        from headrace.tasks.rows.inference import export
        from headrace.tasks.rows.training import train

        if self.system.train_on == "served":  # what was answered up to now is to be learnt from
            export(self.system, home)
        return train(self.system, home, as_of=as_of, data_version=data_version, now=now, because=because)

    def fall_back(self, home: Home, *, as_of: datetime, data_version: int, now: datetime, because: str) -> Trained:
        """The best of the model's declared baselines."""
        from headrace.tasks.rows.training import train

        known: dict[str, Any] = {"as_of": as_of, "data_version": data_version}
        return train(self.system, home, **known, now=now, because=because, instead=because)

    def objective(self, home: Home, *, as_of: datetime, data_version: int) -> RowObjective:
        """By held-out rows."""
        from headrace.tasks.rows.objective import RowObjective

        return RowObjective(self.system, home, as_of=as_of, data_version=data_version)

    def predict(
        self,
        home: Home,
        runs: Sequence[PinnedRun],
        *,
        now: datetime,
        threads: int | None = None,
        snapshots: Snapshots | None = None,
    ) -> Sequence[Predicted]:
        """Every row whose target is missing."""
        from headrace.tasks.rows.inference import predict

        return [predict(self.system, home, run.pins, run.run_id, now) for run in runs]

    def summary(self, predicted: Predicted) -> PredictionSummary:
        """How many rows were predicted, and what; they can be asked for one by one, too."""
        from headrace.tasks.rows.summary import summary

        return summary(self.system, predicted)

    def monitor(self, home: Home, *, as_of: datetime, data_version: int) -> Monitored:
        """By day, model version and what was predicted; what was answered up to now is looked at too."""
        from headrace.tasks.rows.monitoring import monitor

        self.export(home)
        return monitor(self.system, home, as_of=as_of, data_version=data_version)

    def export(self, home: Home, on_progress: Progress = silent) -> dict[str, int]:
        """Answers as predictions, and what was said beside them."""
        from headrace.tasks.rows import inference, shadows

        counts = {"exported": inference.export(self.system, home, on_progress=on_progress)}
        exported = shadows.export(self.system, home, on_progress=on_progress)
        return counts | ({"shadows": exported} if exported else {})

    def read(
        self,
        home: Home,
        *,
        as_of: datetime | None = None,
        where: Mapping[str, str] | None = None,
        role: str | None = None,
    ) -> pl.DataFrame:
        """Stored and logged ones."""
        from headrace.lineage import SHADOW
        from headrace.tasks.rows import inference, shadows

        if role == SHADOW:
            return shadows.read(self.system, home, as_of=as_of, where=where)
        return inference.read(self.system, home, as_of=as_of, where=where, role=role)

    def distributions(self, home: Home, version: ModelVersion, segments: Sequence[str]) -> RowDistributions:
        """Of the features of rows, their target and the answers."""
        from headrace.tasks.rows.distributions import RowDistributions

        return RowDistributions(self.system, home, version, tuple(segments), home.raw(self.system).version())

    def actuals(self, home: Home, predictions: pl.DataFrame, as_of: datetime | None) -> pl.DataFrame:
        """By the keys of rows."""
        from headrace.tasks.rows.monitoring import truth_of

        rows = predictions.select(self.identity).unique(maintain_order=True)
        return truth_of(self.system, home, rows, as_of, home.raw(self.system).version()).select(
            *self.identity, "actual"
        )

    def watched(self, home: Home) -> RowErrors:
        """By pairs of predictions and truth, also by any column of the contract."""
        from headrace.tasks.rows.watched import RowErrors

        return RowErrors(self.system, home)

    def scores(self, home: Home, as_of: datetime | None = None) -> pl.DataFrame | None:
        """By day, model version and what was predicted."""
        from headrace.tasks.rows.monitoring import read_scores

        return read_scores(self.system, home, as_of)

    def scores_by(
        self, home: Home, by: str, *, as_of: datetime | None = None, where: Mapping[str, str] | None = None
    ) -> ScoreTable | None:
        """By day, or by model version."""
        from headrace.tasks.rows.by import scores_by

        return scores_by(self.system, home, by, as_of=as_of, where=where)

    def measured(self, home: Home, scores: pl.DataFrame | None) -> dict[str, Any]:
        """Over all, by day, and by model version."""
        from headrace.tasks.rows.monitoring import measured

        return measured(self.system, home, scores)

    def report(self, home: Home, request: ReportRequest) -> TaskReport:
        """What its output shows of its scores."""
        from headrace.tasks.rows.report import report

        return report(self.system, home, request)

    def evaluate(self, home: Home, request: EvaluateRequest, data: EvaluationData) -> Evaluation:
        """The champion on held-out rows."""
        from headrace.tasks.rows.holdout import holdout

        return holdout(self.system, home, request, data)

    def compared(self, home: Home, request: PairRequest, versions: Sequence[ModelVersion]) -> ComparedPairs:
        """A pair is one row."""
        from headrace.tasks.rows.pairs import RowPairs

        return RowPairs(self.system, home, request, versions).result()

    def explain_held(
        self,
        predictor: Any,
        version: int,
        rows: Sequence[Mapping[str, Any]],
        *,
        label: Any = None,
        words: bool = False,
    ) -> list[Explanation]:
        """Each row for itself."""
        from headrace.tasks.rows.explained import explain_decoded

        return explain_decoded(predictor.model, version, rows, label=label, words=words)

    def labels(self, home: Home, predictor: Any) -> Sequence[Any]:
        """Of the version that answers, or as they are declared."""
        return self._output(home, predictor).classes

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
        """Each row for itself."""
        from headrace.tasks.rows.explained import explain_rows

        return explain_rows(self.system, home, version, rows, as_of=as_of, label=label, words=words)

    def text_of(self, row: Mapping[str, Any], suffix: str = "") -> Any:
        """The target, and in parentheses what its output shows beside it."""
        target, *values = (row[f"{name}{suffix}"] for name in self.columns)
        numbers = ", ".join("-" if value is None else f"{value:.4f}" for value in values)
        return f"{target:.4f} ({numbers})" if isinstance(target, float) else f"{target} ({numbers})"

    def score_again(self, home: Home, last: Pins) -> None:
        """Of all that was logged, from its begin on."""
        from headrace.tasks.rows import inference, monitoring

        inference.export(self.system, home, after=0)
        monitoring.monitor(self.system, home, as_of=last.as_of, data_version=last.data_version)

    def first_steps(self, home: Home) -> str:
        """A run, or rows to score."""
        from headrace.tasks.rows.inference import first_steps

        return first_steps(self.system, home)

    @staticmethod
    def owns(row: Mapping[str, Any]) -> bool:
        """One with inputs of its own; an answer to an event, which is a series' next value, has them too."""
        return "inputs" in row and "event_id" not in row

    @staticmethod
    def replay(home: Home, system: str, prediction_id: str, row: Mapping[str, Any], *, threads: int) -> dict[str, Any]:
        """From its own inputs."""
        from headrace.tasks.rows.inference import replay

        return replay(home, system, prediction_id, row)

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
        """From their own inputs."""
        from headrace.tasks.rows.explained import explain_stored

        return explain_stored(home, system, rows, label=label, words=words)

    def _output(self, home: Home, predictor: RowPredictor | None) -> Output:
        from headrace.tasks.rows.outputs.declared import output_of

        return output_of(self.system, home) if predictor is None else predictor.model.output
