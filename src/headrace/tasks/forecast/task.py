"""The task of a system with a horizon: forecast the next steps of every series. Each method opens its own room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from headrace.errors import UsageError
from headrace.home import Home
from headrace.lineage import Pins
from headrace.tasks.base import Monitored, PinnedRun, Predicted, Progress, ReportRequest, Task, silent
from headrace.tasks.sections import PredictionSummary, TaskReport

if TYPE_CHECKING:
    import polars as pl

    from headrace.registry import ModelVersion, Trained
    from headrace.store.snapshots import Snapshots
    from headrace.tasks.evaluation import ErrorsOverTime, EvaluateRequest, EvaluationData
    from headrace.tasks.explanation import Explanation
    from headrace.tasks.forecast.distributions import SeriesDistributions
    from headrace.tasks.forecast.evaluation import RollingOrigins
    from headrace.tasks.forecast.form import ForecastForm
    from headrace.tasks.forecast.inference import PredictedSeries
    from headrace.tasks.forecast.objective import ForecastObjective
    from headrace.tasks.forecast.past import ForecastRuns
    from headrace.tasks.forecast.served import ServedScores
    from headrace.tasks.forecast.watched import ForecastErrors
    from headrace.tasks.paired import ComparedPairs, PairRequest
    from headrace.tasks.schemas import DoorSchemas
    from headrace.tasks.score_table import ScoreTable


@dataclass(frozen=True)
class ForecastTask(Task):
    """Forecasts series; see `headrace.tasks.base.Task`."""

    kind: ClassVar[str] = "forecast"
    drifts: ClassVar[bool] = True
    action: ClassVar[str] = "forecasts"
    unit: ClassVar[str] = "series"
    stateful: ClassVar[bool] = True
    has_series: ClassVar[bool] = True
    strict: ClassVar[bool] = False
    newest_by: ClassVar[str] = "as_of"

    @property
    def columns(self) -> tuple[str, ...]:
        """The time that is forecast, and the numbers."""
        return (self.system.event_time, "value", "lower", "upper")

    @property
    def identity(self) -> list[str]:
        """A series and a time."""
        return self.system.identity

    @property
    def never_ahead(self) -> str | None:
        """The target."""
        return self.system.target

    @property
    def form(self) -> ForecastForm:
        """See `headrace.tasks.forecast.form`."""
        from headrace.tasks.forecast.form import ForecastForm

        return ForecastForm(self.system)

    @property
    def past(self) -> ForecastRuns:
        """See `headrace.tasks.forecast.past`."""
        from headrace.tasks.forecast.past import ForecastRuns

        return ForecastRuns(self.system)

    def door_schemas(self, home: Home, *, version: ModelVersion | None, predictor: Any) -> DoorSchemas | None:
        """An event, where events can be answered."""
        from headrace.tasks.forecast.posting import posting

        return posting(self.system, home, version)

    def newest(self, home: Home, as_of: datetime) -> datetime | None:
        """Of values of the target: what is known ahead lies in the future."""
        import polars as pl

        from headrace.tasks.conditions import newest_time

        return newest_time(self.system, home, as_of, pl.col(self.system.target).is_not_null())

    def features(
        self, home: Home, as_of: Sequence[datetime], *, data_version: int
    ) -> tuple[Snapshots | None, Sequence[int]]:
        """What every series looks like at the origins."""
        from headrace.tasks.forecast.features import features, look

        snapshots = look(self.system, home, as_of, data_version=data_version)
        return snapshots, features(self.system, home, snapshots, as_of)

    def train(
        self, home: Home, *, as_of: datetime, data_version: int, now: datetime, because: str | None = None
    ) -> Trained:
        """One model for all series."""
        from headrace.tasks.forecast.training import train

        series = home.series(self.system)
        return train(self.system, home, series, as_of=as_of, data_version=data_version, now=now, because=because)

    def fall_back(self, home: Home, *, as_of: datetime, data_version: int, now: datetime, because: str) -> Trained:
        """The naive forecast that was best so far, for all series."""
        from headrace.tasks.forecast.training import train

        known: dict[str, Any] = {"as_of": as_of, "data_version": data_version}
        return train(self.system, home, home.series(self.system), **known, now=now, because=because, instead=because)

    def objective(self, home: Home, *, as_of: datetime, data_version: int) -> ForecastObjective:
        """By backtests."""
        from headrace.tasks.forecast.objective import ForecastObjective

        return ForecastObjective(self.system, home, as_of=as_of, data_version=data_version)

    def predict(
        self,
        home: Home,
        runs: Sequence[PinnedRun],
        *,
        now: datetime,
        threads: int | None = None,
        snapshots: Snapshots | None = None,
    ) -> Sequence[PredictedSeries]:
        """Every series as of each run's time, in one pass over the history."""
        from headrace.tasks.forecast.inference import predict

        return predict(self.system, home, runs, now=now, threads=threads, snapshots=snapshots)

    def warnings(self, home: Home, predicted: Predicted, pins: Pins) -> list[str]:
        """A source that went stale, series without a forecast, and columns that should be known ahead."""
        from headrace.tasks.forecast.inference import PredictedSeries, silent_series

        assert isinstance(predicted, PredictedSeries)
        pins_read: dict[str, Any] = {"as_of": pins.as_of, "data_version": pins.data_version}
        told = [self.stale(home, **pins_read, origin=predicted.origin), silent_series(self.system, predicted.skipped)]
        blank = [
            f"{name} is declared known in advance, but none of the next {self.system.steps} steps has it"
            for name in predicted.blank
        ]
        return [text for text in told if text is not None] + blank

    def summary(self, predicted: Predicted) -> PredictionSummary:
        """The horizon's sum per series beside each baseline's, and series without a model's forecast."""
        from headrace.tasks.forecast.inference import PredictedSeries
        from headrace.tasks.forecast.summary import summary

        assert isinstance(predicted, PredictedSeries)
        return summary(self.system, predicted)

    def stale(self, home: Home, *, as_of: datetime, data_version: int, origin: datetime | None = None) -> str | None:
        """By how long values of the last month took to become known."""
        from headrace.tasks.forecast.inference import stale

        origin = self.newest(home, as_of) if origin is None else origin
        return None if origin is None else stale(self.system, home, origin, as_of=as_of, data_version=data_version)

    def monitor(self, home: Home, *, as_of: datetime, data_version: int) -> Monitored:
        """By event time and series, and by run."""
        from headrace.tasks.forecast.monitoring import monitor

        return monitor(self.system, home, as_of=as_of)

    def export(self, home: Home, on_progress: Progress = silent) -> dict[str, int]:
        """Posted events as facts, their answers as predictions, each computed again on the way."""
        from headrace.tasks.forecast.export import export

        return export(self.system, home, on_progress)

    def read(
        self,
        home: Home,
        *,
        as_of: datetime | None = None,
        where: Mapping[str, str] | None = None,
        role: str | None = None,
    ) -> pl.DataFrame:
        """The newest revision of each."""
        from headrace.lineage import ANSWERED
        from headrace.tasks.forecast.inference import read_predictions

        return read_predictions(self.system, home, as_of=as_of, where=where, role=role or ANSWERED)

    def distributions(self, home: Home, version: ModelVersion, segments: Sequence[str]) -> SeriesDistributions:
        """Of features at forecast origins, the target and the forecasts."""
        from headrace.tasks.forecast.distributions import SeriesDistributions

        return SeriesDistributions(self.system, home, version, tuple(segments), home.raw(self.system).version())

    def actuals(self, home: Home, predictions: pl.DataFrame, as_of: datetime | None) -> pl.DataFrame:
        """By series and event time."""
        from headrace.tasks.forecast.inference import actuals

        return actuals(self.system, home, predictions, as_of)

    def overall(self, home: Home, every: str) -> ErrorsOverTime:
        """By the scores of series."""
        from headrace.tasks.forecast.overall import overall

        return overall(self.system, home, every)

    def served(self, home: Home) -> ServedScores:
        """By the scores of runs."""
        from headrace.tasks.forecast.served import ServedScores

        return ServedScores(self.system, home)

    def anomalies(self, home: Home, times: Sequence[datetime], window: timedelta) -> pl.DataFrame:
        """By series."""
        from headrace.tasks.forecast.anomalies import counted

        return counted(self.system, home, times, window)

    def watched(self, home: Home) -> ForecastErrors:
        """By scores of series, or of runs for steps ahead."""
        from headrace.tasks.forecast.watched import ForecastErrors

        return ForecastErrors(self.system, home)

    def scores(self, home: Home, as_of: datetime | None = None) -> pl.DataFrame | None:
        """By event time and series."""
        from headrace.tasks.forecast.monitoring import read_scores

        return read_scores(self.system, home, as_of)

    def scores_by(
        self, home: Home, by: str, *, as_of: datetime | None = None, where: Mapping[str, str] | None = None
    ) -> ScoreTable | None:
        """By time, run, step ahead, series, or a key."""
        from headrace.tasks.forecast.by import scores_by

        return scores_by(self.system, home, by, as_of=as_of, where=where)

    def measured(self, home: Home, scores: pl.DataFrame | None) -> dict[str, Any]:
        """Over all, and by event time."""
        from headrace.tasks.forecast.monitoring import measured

        return measured(self.system, scores)

    def report(self, home: Home, request: ReportRequest) -> TaskReport:
        """Errors over time and by step ahead, and the largest and worst series."""
        from headrace.tasks.forecast.report import report

        return report(self.system, home, request)

    def evaluate(self, home: Home, request: EvaluateRequest, data: EvaluationData) -> RollingOrigins:
        """From rolling origins."""
        from headrace.tasks.forecast.evaluation import evaluate

        return evaluate(self.system, home, request, data)

    def compared(self, home: Home, request: PairRequest, versions: Sequence[ModelVersion]) -> ComparedPairs:
        """A pair is one step of one forecast."""
        from headrace.tasks.forecast.pairs import ForecastPairs

        return ForecastPairs(self.system, home, request, versions).result()

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
        """Refused: a forecast follows from a series' history, not from a row."""
        hint = "leave rows out: its newest forecasts are explained"
        raise UsageError(f"{self.system.name} forecasts series, it scores no rows", where="data", hint=hint)

    def text_of(self, row: Mapping[str, Any], suffix: str = "") -> Any:
        """The number."""
        return row[f"value{suffix}"]

    @staticmethod
    def owns(row: Mapping[str, Any]) -> bool:
        """Whatever is not a row's."""
        return True

    @staticmethod
    def replay(home: Home, system: str, prediction_id: str, row: Mapping[str, Any], *, threads: int) -> dict[str, Any]:
        """From the series as it was known."""
        from headrace.tasks.forecast.inference import replay

        return replay(home, system, prediction_id, row, threads=threads)

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
        """From the series as they were known."""
        from headrace.tasks.forecast.explained import explain_stored

        return explain_stored(home, system, rows, label=label, words=words, threads=threads)
