"""The rules that headrace brings: errors, coverage, what comes in, and what is predicted."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from headrace.declaration import Duration
from headrace.errors import DeclarationError
from headrace.policy.monitoring.base import MonitorRule
from headrace.policy.monitoring.facts import MonitoringFacts

if TYPE_CHECKING:
    import polars as pl

    from headrace.contract import Contract

HIGHER_IS_BETTER = frozenset({"accuracy", "auc", "macro_f1", "f1", "precision", "recall", "r2", "coverage"})
"""Metrics of which more is better; of all others less is."""
SYSTEM = "system"


class ScopedRule(MonitorRule):
    """Base of rules about the model's predictions, over the system or by columns.

    Attributes:
        by: Whose errors: ``system``, every ``series``, every step ahead (``horizon``), or by a column or several.
        window: How far back truth became known that counts; None: `Monitoring.window`.
    """

    about_model: ClassVar[bool] = True
    by: tuple[str, ...] = ()
    window: Duration | None = None
    consecutive: int = Field(default=2, ge=1)

    @field_validator("by", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        return _columns(value)

    @property
    def scope_title(self) -> str:
        """What follows the name of what is measured: ``by series``."""
        return f" by {', '.join(self.by)}" if self.by else ""

    def check(self, contract: Contract) -> None:
        """Columns are the contract's.

        Raises:
            DeclarationError: One is not.
        """
        unknown = [name for name in self.by if name not in (*contract.names, "series", "horizon")]
        if unknown:
            hint = f"system, series, horizon, or one of {', '.join(contract.names)}"
            raise DeclarationError(f"there is no column {unknown[0]!r}", where="by", hint=hint)


class Threshold(ScopedRule):
    """A metric beyond fixed values.

    Attributes:
        metric: Such as ``mape``, ``wape``, ``mase``, ``rmse``, ``mae`` or ``coverage`` of forecasts; of rows what the
            output has, such as ``accuracy``, ``log_loss`` or ``rmse``.
        min_support: Pairs of a prediction and its truth.

    >>> Threshold("mape", warn=0.2, alarm=0.3, by="series").called
    'mape by series'
    """

    kind: Literal["threshold"] = "threshold"
    metric: str
    min_support: int = Field(default=24, ge=1)

    def __init__(self, metric: str | None = None, **fields: Any) -> None:
        fields.setdefault("worse", "lower" if str(metric) in HIGHER_IS_BETTER else "higher")
        super().__init__(**_with_metric(metric, fields))

    @property
    def title(self) -> str:
        """The metric, and by what."""
        return f"{self.metric}{self.scope_title}"

    def check(self, contract: Contract) -> None:
        """It says a threshold, in the right order.

        Raises:
            DeclarationError: It says none, or a warning that is worse than an alarm.
        """
        super().check(contract)
        if self.warn is None and self.alarm is None:
            raise DeclarationError("says neither warn nor alarm", where="warn", hint="warn=0.2, alarm=0.3")
        if self.warn is not None and self.alarm is not None:
            wrong = self.warn > self.alarm if self.worse == "higher" else self.warn < self.alarm
            if wrong:
                hint = f"{self.worse} values of {self.metric} are worse"
                raise DeclarationError("a warning comes before an alarm", where="warn", hint=hint)

    def measure(self, facts: MonitoringFacts) -> pl.DataFrame:
        """The metric of each window and scope."""
        import polars as pl

        frame = facts.errors((self.metric,), self.by, self.window)
        value = pl.col(self.metric).abs() if self.metric == "bias" else pl.col(self.metric)
        return frame.select("time", *_scope(frame, "n", self.metric), value=value, support="n")


class WorseThanBaseline(ScopedRule):
    """Predictions are worse than those of the best baseline, by more than noise.

    The value is how much larger the error is, as a share of the baseline's; what counts as noise follows from how the
    stretches of the window differ.

    Attributes:
        warn: Beyond this share there is a warning.
        alarm: Beyond this share there is an alarm.
        sure: So many standard errors the difference must be away from the threshold.
        min_support: Pairs of a prediction and its truth.
        blocks: Fewer stretches with truth in the window tell nothing.
    """

    kind: Literal["worse_than_baseline"] = "worse_than_baseline"
    warn: float | None = 0.0
    alarm: float | None = 0.1
    sure: float = Field(default=3.0, ge=0)
    min_support: int = Field(default=100, ge=1)
    blocks: int = Field(default=7, ge=1)

    @property
    def title(self) -> str:
        """What it says, and by what."""
        return f"worse than baseline{self.scope_title}"

    def measure(self, facts: MonitoringFacts) -> pl.DataFrame:
        """How much worse than the best baseline, less what may be noise."""
        import polars as pl

        frame = facts.baselines(self.by, self.window).filter(pl.col("blocks") >= self.blocks)
        scope = _scope(frame, "baseline", "n", "loss", "baseline_loss", "blocks", "deviation")
        key = ["time", *scope]
        best = frame.sort(*key, "baseline_loss", "baseline").unique(key, keep="first", maintain_order=True)
        less = pl.col("loss") - pl.col("baseline_loss") - self.sure * pl.col("deviation").fill_null(0.0)
        evidence = pl.struct("baseline", "loss", "baseline_loss", "deviation").struct.json_encode()
        value = pl.when(pl.col("baseline_loss") > 0).then(less / pl.col("baseline_loss"))
        return best.select(*key, value=value, support="n", evidence=evidence)


class WorseThanHeldOut(ScopedRule):
    """The error is far larger than on the time that the model was held out on when it was trained.

    The value is the ratio of the two, or of what is missing to perfect where more is better.

    Attributes:
        metric: What is compared: one that the version has of its training and that scores know.
        warn: Beyond this ratio there is a warning.
        alarm: Beyond this ratio there is an alarm.
        min_support: Pairs of a prediction and its truth.
    """

    kind: Literal["worse_than_held_out"] = "worse_than_held_out"
    metric: str
    warn: float | None = 1.5
    alarm: float | None = 2.0
    min_support: int = Field(default=100, ge=1)

    def __init__(self, metric: str | None = None, **fields: Any) -> None:
        super().__init__(**_with_metric(metric, fields))

    @property
    def title(self) -> str:
        """The metric, and by what."""
        return f"{self.metric} worse than held out{self.scope_title}"

    def measure(self, facts: MonitoringFacts) -> pl.DataFrame:
        """The ratio of each window and scope."""
        import polars as pl

        promised = facts.held_out().filter(pl.col("metric") == self.metric).select("time", promised="value")
        frame = facts.errors((self.metric,), self.by, self.window)
        scope = _scope(frame, "n", self.metric)
        now, then = pl.col(self.metric), pl.col("promised")
        if self.metric in HIGHER_IS_BETTER:
            now, then = 1 - now, 1 - then
        evidence = pl.struct(held_out="promised", now=self.metric).struct.json_encode()
        joined = frame.join(promised, on="time", how="left", maintain_order="left")
        return joined.select("time", *scope, value=pl.when(then > 0).then(now / then), support="n", evidence=evidence)


class Coverage(ScopedRule):
    """Intervals hold the truth less often, or more often, than they should.

    The value is how far the coverage is outside the band that it should be in, as a share (0.05 is 5 points).

    Attributes:
        nominal: What the coverage should be; None: what the model says.
        sure: The band is so many standard errors wide on each side; the error is the larger of the binomial one and
            that which follows from how stretches differ.
        warn: Beyond this there is a warning.
        alarm: Beyond this there is an alarm.
        both: Whether intervals that are too wide count too.
        min_support: Pairs of an interval and a truth.
        blocks: Fewer stretches with truth in the window tell nothing.
    """

    kind: Literal["coverage"] = "coverage"
    nominal: float | None = Field(default=None, gt=0, lt=1)
    sure: float = Field(default=3.0, ge=0)
    warn: float | None = 0.02
    alarm: float | None = 0.1
    both: bool = False
    min_support: int = Field(default=100, ge=1)
    blocks: int = Field(default=7, ge=1)

    @property
    def title(self) -> str:
        """What it says, and by what."""
        return f"coverage{self.scope_title}"

    def measure(self, facts: MonitoringFacts) -> pl.DataFrame:
        """How far outside of the band."""
        import polars as pl

        nominal = facts.nominal() if self.nominal is None else self.nominal
        frame = facts.coverage(self.by, self.window).filter(pl.col("blocks") >= self.blocks)
        scope = _scope(frame, "n", "coverage", "blocks", "deviation")
        if nominal is None:
            return frame.clear().select("time", *scope, value="coverage", support="n")
        binomial = (nominal * (1 - nominal) / pl.col("n")).sqrt()
        band = self.sure * pl.max_horizontal(binomial, pl.col("deviation"))
        short = nominal - pl.col("coverage")
        distance = short.abs() if self.both else short
        evidence = pl.struct("coverage", band=band, nominal=pl.lit(nominal)).struct.json_encode()
        value = (distance - band).clip(lower_bound=0.0)
        return frame.select("time", *scope, value=value, support="n", evidence=evidence)


class Quarantined(MonitorRule):
    """The share of rows that were set apart, of those that came in.

    Attributes:
        warn: Beyond this share there is a warning.
        alarm: Beyond this share there is an alarm.
        window: How far back rows count.
        min_support: Rows that came in.
    """

    kind: Literal["quarantined"] = "quarantined"
    warn: float | None = 0.02
    alarm: float | None = 0.1
    window: Duration = timedelta(days=1)
    min_support: int = Field(default=20, ge=1)

    def measure(self, facts: MonitoringFacts) -> pl.DataFrame:
        """The share within the window."""
        import polars as pl

        rows = pl.col("rows") + pl.col("quarantined")
        share = pl.when(rows > 0).then(pl.col("quarantined") / rows)
        return facts.validation(self.window).select("time", value=share, support=rows)


class ContractWarnings(MonitorRule):
    """The contract warned of what came in.

    Attributes:
        warn: More warnings than this within the window are a warning.
        alarm: More than this are an alarm.
        window: How far back warnings count.
    """

    kind: Literal["contract_warnings"] = "contract_warnings"
    warn: float | None = 0
    window: Duration = timedelta(days=1)
    hysteresis: float = 0.0

    def measure(self, facts: MonitoringFacts) -> pl.DataFrame:
        """The number within the window."""
        return facts.validation(self.window).select("time", value="warnings")


class StaleSource(MonitorRule):
    """Nothing new became known for longer than usual.

    The value is the present pause as a multiple of the longest of the last hundred pauses.

    By series the pause of each lasts until the newest observation of any: of a source that is away as a whole tells the
    rule without `by`. Usual are the pauses within half of `ended` before its last observation.

    Attributes:
        warn: Beyond this multiple there is a warning.
        alarm: Beyond this multiple there is an alarm.
        at_least: A shorter pause is none.
        by: ``system``, or every ``series``.
        ended: A series that is silent for longer has ended, and is told of no more.
        pauses: A series of which fewer are known tells nothing.
        most: So many silent series have an alert of their own; the others are counted.

    >>> StaleSource(by="series").called
    'stale source by series'
    """

    kind: Literal["stale_source"] = "stale_source"
    warn: float | None = 3.0
    alarm: float | None = 10.0
    at_least: Duration = timedelta(hours=6)
    by: tuple[Literal["series"], ...] = ()
    ended: Duration = timedelta(days=30)
    pauses: int = Field(default=10, ge=1)
    most: int = Field(default=100, ge=1)

    @field_validator("by", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        return _columns(value)

    @property
    def title(self) -> str:
        """What it says, and by what."""
        return f"stale source{' by series' if self.by else ''}"

    def check(self, contract: Contract) -> None:
        """A series ends after it is silent.

        Raises:
            DeclarationError: It would end before.
        """
        if self.by and self.ended <= 2 * self.at_least:
            raise DeclarationError("must be longer than twice at_least", where="ended", hint='ended="30d"')

    def measure(self, facts: MonitoringFacts) -> pl.DataFrame:
        """The pause at each time, or of each series that is silent."""
        if not self.by:
            return _pause(facts.freshness(), "newest", self.at_least)
        return self._silent(facts.silences(self.at_least, self.ended))

    def _silent(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Those that are silent the longest; where none is, one row says so."""
        import polars as pl

        keys = _scope(frame, "known_at", "_observed", "_seconds", "_usual", "_pauses", "_alive")
        usual = pl.max_horizontal("_usual", pl.lit(self.at_least.total_seconds()))
        judged = (pl.col("_pauses") >= self.pauses).fill_null(value=False)
        frame = frame.with_columns(value=pl.when(judged).then(pl.col("_seconds") / usual).otherwise(0.0))
        limits = [limit for limit in (self.warn, self.alarm) if limit is not None]
        beyond = pl.col("value") > min(limits, default=float("inf"))
        since = pl.col("_observed").filter(beyond).max().over("time").dt.strftime("%Y-%m-%d %H:%M")
        frame = frame.with_columns(_silent=beyond.sum().over("time"), _since=since)
        words = pl.format("{} of {} series have no observation since {}", "_silent", "_alive", "_since")
        frame = frame.sort("time", beyond, "_seconds", *keys, descending=[False, True, True, *[False] * len(keys)])
        place = pl.int_range(pl.len()).over("time")
        rows = frame.filter((place < self.most) & ((pl.col("value") > 0) | (place == 0)))
        measured: dict[str, Any] = {"silent": "_silent", "series": "_alive", "seconds": "_seconds", "usual": "_usual"}
        evidence = pl.struct(says=words, last=pl.col("_observed").dt.to_string("iso"), **measured)
        return rows.select("time", *keys, "value", support="_alive", evidence=evidence.struct.json_encode())


class NothingPredicted(MonitorRule):
    """Nothing was predicted for longer than usual.

    The value is the present pause as a multiple of the longest of the last hundred pauses.

    Attributes:
        warn: Beyond this multiple there is a warning.
        alarm: Beyond this multiple there is an alarm.
        at_least: A shorter pause is none.
    """

    kind: Literal["nothing_predicted"] = "nothing_predicted"
    warn: float | None = 3.0
    alarm: float | None = 10.0
    at_least: Duration = timedelta(hours=6)

    def measure(self, facts: MonitoringFacts) -> pl.DataFrame:
        """The pause at each time."""
        return _pause(facts.predictions(), "last", self.at_least)


class Volume(MonitorRule):
    """Far fewer, or far more, rows came in than usual.

    The value is how many times fewer or more than the median of the stretches before.

    Attributes:
        warn: Beyond this ratio there is a warning.
        alarm: Beyond this ratio there is an alarm.
        past: So many stretches before tell what is usual; with fewer than half of them nothing is known.
    """

    kind: Literal["volume"] = "volume"
    warn: float | None = 3.0
    alarm: float | None = 10.0
    past: int = Field(default=28, ge=2)
    consecutive: int = Field(default=2, ge=1)

    def measure(self, facts: MonitoringFacts) -> pl.DataFrame:
        """Rows beside the usual number."""
        import polars as pl

        frame = facts.volume(self.past)
        rows, usual = pl.col("rows").clip(lower_bound=1), pl.col("usual")
        ratio = pl.max_horizontal(rows / usual, usual / rows)
        evidence = pl.struct("rows", "usual").struct.json_encode()
        return frame.select("time", value=pl.when(usual > 0).then(ratio), evidence=evidence)


class Drifted(MonitorRule):
    """Columns are distributed otherwise than in what a version was trained on that cannot have learnt what is recent.

    Which version it is says `DriftLimits.recent`.

    Attributes:
        warn: So many drifted columns, and more, are a warning.
        alarm: So many are an alarm.
        column: Only this column; None: all.
    """

    about_model: ClassVar[bool] = True
    kind: Literal["drifted"] = "drifted"
    warn: float | None = 0
    column: str | None = None
    consecutive: int = Field(default=2, ge=1)

    @property
    def title(self) -> str:
        """What drifted."""
        return "drifted" if self.column is None else f"drifted {self.column}"

    def measure(self, facts: MonitoringFacts) -> pl.DataFrame:
        """How many columns drifted, of those that matter."""
        import polars as pl

        frame = facts.drift()
        reasons = self._reasons(frame)
        if "drifted" not in frame.columns:
            return reasons
        if self.column is not None:
            reasons = pl.concat([reasons, self._unmeasured(frame)])
            frame = frame.filter(pl.col("name") == self.column)
        frame = frame.filter(pl.col("drifted").is_not_null())
        # A target is called as its prediction, and may be as a feature; of a segment there are rows where it drifted.
        roles = {"feature": "", "target": " (target)", "prediction": " (predicted)"}
        role = pl.col("role").replace_strict(roles)
        segment = pl.when(pl.col("segment") != "").then(pl.lit(" ") + pl.col("segment")).otherwise(pl.lit(""))
        named = pl.col("name") + role + segment
        drifted = pl.col("drifted") & pl.col("matters")
        names = named.filter(drifted).sort().str.join(", ")
        count = drifted.cast(pl.Int64).sum().cast(pl.Float64)
        frame = frame.group_by("time", maintain_order=True).agg(value=count, columns=names)
        return pl.concat([frame.select("time", "value", evidence=pl.struct("columns").struct.json_encode()), reasons])

    def _unmeasured(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Times at which other columns were measured, but not the one that the rule is about."""
        import polars as pl

        measured = frame.filter(pl.col("name").is_not_null())
        names = sorted(measured["name"].unique())
        times = measured.select("time").unique(maintain_order=True)
        times = times.join(measured.filter(pl.col("name") == self.column), on="time", how="anti")
        reason = f"drift of {self.column!r} is not measured; it is of {', '.join(names[:10])}"
        evidence = pl.struct(reason=pl.lit(reason)).struct.json_encode()
        return times.select("time", value=pl.lit(None, pl.Float64), evidence=evidence)

    def _reasons(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Times at which nothing could be measured, and why."""
        import polars as pl

        if "reason" not in frame.columns:
            schema = {"time": pl.Datetime("us", "UTC"), "value": pl.Float64(), "evidence": pl.String()}
            return pl.DataFrame(schema=schema)
        evidence = pl.struct("reason").struct.json_encode()
        rows = frame.filter(pl.col("reason").is_not_null())
        return rows.select("time", value=pl.lit(None, pl.Float64), evidence=evidence)


class Anomalous(MonitorRule):
    """Series whose values were unusual: anomalies within a window, at the rate of `Monitoring.false_alarms`.

    Attributes:
        warn: More anomalies of a series than this within the window are a warning.
        alarm: More than this are an alarm.
        window: How far back values became known that count; None: from one evaluation time to the next.

    >>> Anomalous(warn=1, window="3d").called
    'anomalous'
    """

    kind: Literal["anomalous"] = "anomalous"
    warn: float | None = 0
    window: Duration | None = None
    hysteresis: float = 0.0

    def measure(self, facts: MonitoringFacts) -> pl.DataFrame:
        """The number of anomalies of each series within the window."""
        import polars as pl

        frame = facts.anomalies(self.window)
        scope = _scope(frame, "n", "anomalies", "degree")
        evidence = pl.struct("degree").struct.json_encode()
        return frame.select("time", *scope, value="anomalies", support="n", evidence=evidence)


def _with_metric(metric: object, fields: dict[str, Any]) -> dict[str, Any]:
    """Fields with a metric, where one was named: else the field's own check says that it is missing."""
    return fields if metric is None else {"metric": metric, **fields}


def _columns(value: Any) -> Any:
    """What a rule is by: one name or several; none stands for the system."""
    names = (value,) if isinstance(value, str) else tuple(value)
    return () if names == (SYSTEM,) else names


def _scope(frame: pl.DataFrame, *others: str) -> list[str]:
    """Columns that make a scope."""
    return [name for name in frame.columns if name not in ("time", *others)]


def _pause(frame: pl.DataFrame, newest: str, least: timedelta) -> pl.DataFrame:
    """The pause since the newest time, as a multiple of the longest usual one."""
    import polars as pl

    pause = (pl.col("time") - pl.col(newest)).dt.total_seconds().cast(pl.Float64)
    usual = pl.max_horizontal(pl.col("usual"), pl.lit(least.total_seconds()))
    evidence = pl.struct(seconds=pause, usual="usual").struct.json_encode()
    value = pl.when(pl.col("usual").is_not_null()).then(pause / usual)
    return frame.select("time", value=value, evidence=evidence)
