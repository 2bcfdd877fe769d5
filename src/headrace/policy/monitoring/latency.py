"""The rule about how long people wait for a prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from headrace.declaration import Duration
from headrace.errors import DeclarationError
from headrace.policy.monitoring.base import MonitorRule
from headrace.policy.monitoring.facts import MonitoringFacts

if TYPE_CHECKING:
    import polars as pl

    from headrace.contract import Contract


class Latency(MonitorRule):
    """Predictions over HTTP take long: the value is a quantile of the time to answer, in seconds.

    Serving processes count answers in windows of five minutes and keep these in the ledger. A window counts five
    minutes after it is over, so that every process has written it. A quantile is off by 6 % at most.

    Attributes:
        quantile: ``p50``, ``p95`` or ``p99``.
        warn: Beyond this there is a warning, in seconds.
        alarm: Beyond this there is an alarm, in seconds.
        window: How far back answers count; None: from one evaluation time to the next.
        min_support: Answers.

    >>> Latency("p99", warn=0.1, alarm=0.5, window="1h").called
    'latency p99'
    """

    kind: Literal["latency"] = "latency"
    quantile: Literal["p50", "p95", "p99"] = "p95"
    window: Duration | None = None
    min_support: int = Field(default=100, ge=1)
    consecutive: int = Field(default=2, ge=1)

    def __init__(self, quantile: str | None = None, **fields: Any) -> None:
        super().__init__(**({} if quantile is None else {"quantile": quantile}), **fields)

    @property
    def title(self) -> str:
        """The quantile."""
        return f"latency {self.quantile}"

    def check(self, contract: Contract) -> None:
        """It says a threshold, and a warning comes before an alarm.

        Raises:
            DeclarationError: It does not.
        """
        if self.warn is None and self.alarm is None:
            raise DeclarationError("says neither warn nor alarm", where="warn", hint="seconds: warn=0.1, alarm=0.5")
        if self.warn is not None and self.alarm is not None and self.warn > self.alarm:
            hint = "longer times are worse"
            raise DeclarationError("a warning comes before an alarm", where="warn", hint=hint)

    def measure(self, facts: MonitoringFacts) -> pl.DataFrame:
        """The quantile of each window, and the others as evidence."""
        import polars as pl

        frame = facts.latencies(self.window)
        evidence = pl.struct("p50", "p95", "p99").struct.json_encode()
        return frame.select("time", value=self.quantile, support="n", evidence=evidence)
