"""The rule about predictions whose truth has not come: how good they are by their own probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from headrace.declaration import Duration
from headrace.errors import DeclarationError
from headrace.policy.monitoring.base import MonitorRule
from headrace.policy.monitoring.facts import MonitoringFacts
from headrace.policy.monitoring.rules import HIGHER_IS_BETTER

if TYPE_CHECKING:
    import polars as pl

    from headrace.contract import Contract


class EstimatedPerformance(MonitorRule):
    """A metric of classes is worse than on held-out rows, as far as the probabilities of the predictions tell.

    The value is the metric that is to be expected of the predictions of a window: of rows that are otherwise than those
    of the training, while what rows mean is the same. Once the truth of enough of them is known it may refute the
    estimate: the value is the better of the two.

    Without `warn` and `alarm` there is a warning where it is worse than on held-out rows, by more than chance and by
    more than a share.

    Attributes:
        metric: Such as ``accuracy``, ``log_loss``, ``auc`` or ``macro_f1``; None: that by which versions are compared.
        window: How far back predictions were made that count; None: `Monitoring.window`.
        truth: From this share of predictions with known truth on, it may refute the estimate; None: never.
        sure: So many standard errors of a metric of as many rows it must be worse.
        least: It must be worse by this share of what separates held-out rows from perfect.
        min_support: Predictions.

    >>> EstimatedPerformance("accuracy", warn=0.8).called
    'estimated accuracy'
    >>> EstimatedPerformance().called
    'estimated performance'
    """

    about_model: ClassVar[bool] = True
    of_scores: ClassVar[bool] = False
    kind: Literal["estimated_performance"] = "estimated_performance"
    metric: str | None = None
    window: Duration | None = None
    truth: float | None = Field(default=0.5, gt=0, le=1)
    sure: float = Field(default=3.0, ge=0)
    least: float = Field(default=0.1, ge=0)
    min_support: int = Field(default=100, ge=1)
    consecutive: int = Field(default=2, ge=1)
    hysteresis: float = Field(default=0.0, ge=0, lt=1)

    def __init__(self, metric: str | None = None, **fields: Any) -> None:
        fields.setdefault("worse", "lower" if metric in HIGHER_IS_BETTER else "higher")
        super().__init__(**({} if metric is None else {"metric": metric}), **fields)

    @property
    def title(self) -> str:
        """The metric."""
        return f"estimated {self.metric or 'performance'}"

    def check(self, contract: Contract) -> None:
        """Thresholds are in the right order, and of a metric that is named.

        Raises:
            DeclarationError: They are not.
        """
        if self.metric is None and (self.warn is not None or self.alarm is not None):
            raise DeclarationError("says a threshold, and not of what", where="metric", hint='metric="accuracy"')
        if self.warn is not None and self.alarm is not None:
            wrong = self.warn > self.alarm if self.worse == "higher" else self.warn < self.alarm
            if wrong:
                hint = f"{self.worse} values of {self.metric} are worse"
                raise DeclarationError("a warning comes before an alarm", where="warn", hint=hint)

    def measure(self, facts: MonitoringFacts) -> pl.DataFrame:
        """The metric of each window, as it is estimated, until the truth says that it is better."""
        import polars as pl

        frame = facts.estimates(None if self.metric is None else (self.metric,), self.window)
        columns = ["time", "value", "support", "warn", "alarm", "evidence"]
        if "reason" not in frame.columns:
            types = dict.fromkeys(columns[1:5], pl.Float64())
            return pl.DataFrame(schema={"time": pl.Datetime("us", "UTC"), **types, "evidence": pl.String()})
        told = pl.col("matured") >= pl.max_horizontal(pl.col("n") * (self.truth or 0), pl.lit(self.min_support))
        known = told & pl.lit(self.truth is not None)
        better = pl.max_horizontal if self.worse == "lower" else pl.min_horizontal
        value = pl.when(known).then(better("realised", "estimated")).otherwise("estimated")
        reasons = frame.filter(pl.col("reason").is_not_null())
        rows = frame.filter(pl.col("reason").is_null()).with_columns(
            value=value,
            support=pl.when(known).then("matured").otherwise("n"),
            warn=pl.lit(self.warn, pl.Float64) if self._declared else self._limit(known),
            alarm=pl.lit(self.alarm, pl.Float64),
            evidence=pl.struct("metric", "estimated", "realised", "matured", "held_out").struct.json_encode(),
        )
        lacking = [pl.lit(None, rows.schema[name]).alias(name) for name in columns[1:5]]
        reasons = reasons.select("time", *lacking, evidence=pl.struct("reason").struct.json_encode())
        return pl.concat([rows.select(columns), reasons.select(columns)]).sort("time")

    @property
    def _declared(self) -> bool:
        return self.warn is not None or self.alarm is not None

    def _limit(self, known: pl.Expr) -> pl.Expr:
        """What is worse than held-out rows by more than chance, and by more than a share."""
        import polars as pl

        higher = self.worse == "lower"
        held_out = pl.col("held_out")
        chance = self.sure * pl.when(known).then("realised_deviation").otherwise("deviation")
        distance = pl.max_horizontal(chance, self.least * (1 - held_out if higher else held_out))
        return held_out - distance if higher else held_out + distance
