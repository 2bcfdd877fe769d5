"""What the API answers, as types. Fields that a newer server adds are passed over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct, field

State = Literal["good", "warning", "bad", "unknown"]
"""How something is; the worst of several comes first in a list of reasons."""


class ApiAnswer(Struct, frozen=True, kw_only=True, gc=False):
    """Base of all answers: immutable, compared by value."""


class Rights(ApiAnswer, frozen=True, kw_only=True):
    """What a token may do: `systems` by name with their scopes; `open`: no token is asked for."""

    open: bool
    name: str | None
    systems: Mapping[str, Sequence[str]]


class StateReason(ApiAnswer, frozen=True, kw_only=True):
    """One reason of a state, in words."""

    state: State
    says: str


class ChampionBrief(ApiAnswer, frozen=True, kw_only=True):
    """The version that answers, since when, and why it was trained."""

    version: int
    since: datetime | None = None
    because: str | None = None


class BesideBaseline(ApiAnswer, frozen=True, kw_only=True):
    """Errors over the monitoring window beside the best baseline's; a `skill` of 0.12 is 12 % better than it."""

    measure: str
    value: float | None
    baseline: str | None
    baseline_value: float | None
    skill: float | None
    n: int
    expected: int
    since: datetime | None = None
    until: datetime | None = None
    coverage: float | None = None
    nominal: float | None = None
    says: str = ""


class Freshness(ApiAnswer, frozen=True, kw_only=True):
    """How new the facts are; `series` is None of a system that has none."""

    newest: datetime
    known_at: datetime
    age_seconds: int
    series: int | None
    stale_series: int
    says: str


class RunBrief(ApiAnswer, frozen=True, kw_only=True):
    """A run that ended."""

    run_id: str
    as_of: datetime
    status: Literal["done", "failed"]
    created_at: datetime | None = None
    ended_at: datetime | None = None
    error: str | None = None
    model_version: int | None = None
    data_version: int | None = None
    predictions: int | None = None


class NextRun(ApiAnswer, frozen=True, kw_only=True):
    """When a run is due, and by how much it is late."""

    at: datetime
    late_seconds: int
    every_seconds: float


class RaisedAlert(ApiAnswer, frozen=True, kw_only=True):
    """A warning or an alarm; `closed_at` is None while it is open. `says` is one line."""

    id: str
    severity: Literal["warning", "alarm"]
    rule: str
    scope: Mapping[str, Any]
    value: float | None
    threshold: float | None
    raised_at: datetime
    alarm_at: datetime | None = None
    closed_at: datetime | None = None
    last: float | None = None
    support: int = 0
    evidence: Mapping[str, Any] = field(default_factory=dict)
    actions: Sequence[Mapping[str, Any]] = ()
    says: str = ""


class OpenAlerts(ApiAnswer, frozen=True, kw_only=True):
    """How many alerts are open, and the newest one."""

    open: int
    alarms: int
    warnings: int
    newest: RaisedAlert | None = None


class Status(ApiAnswer, frozen=True, kw_only=True):
    """How a system is, in words; `state` is the worst of its `reasons`."""

    system: str
    kind: str
    state: State
    says: str
    reasons: Sequence[StateReason]
    champion: ChampionBrief | None
    pending: Sequence[int]
    quality: BesideBaseline | None
    freshness: Freshness | None
    last_run: RunBrief | None
    next_run: NextRun | None
    alerts: OpenAlerts | None


class Overview(ApiAnswer, frozen=True, kw_only=True):
    """All systems; `counts` of systems by state."""

    state: State
    says: str
    counts: Mapping[str, int]
    systems: Sequence[Status]


class SystemBrief(ApiAnswer, frozen=True, kw_only=True):
    """What is served under a name; `contract` is JSON Schema of a row."""

    name: str
    kind: str
    keys: Sequence[str]
    target: str
    horizon: str | None
    step: str | None
    contract: Mapping[str, Any]
    model_version: int | None
    last_run: RunBrief | None
    ready: bool
    reason: str | None


class ScorePage(ApiAnswer, frozen=True, kw_only=True):
    """Metrics by one thing: of each row the `columns`, the `measures`, and those of baselines as NAME_measure."""

    by: str
    columns: Sequence[str]
    measure: str | None
    measures: Sequence[str]
    baselines: Sequence[str]
    nominal: float | None
    unit: str
    overall: Mapping[str, Any] | None
    rows: Sequence[Mapping[str, Any]]
    next: str | None = None


class SeriesScore(ApiAnswer, frozen=True, kw_only=True):
    """A series with its error beside the best baseline's, and how new it is."""

    keys: Mapping[str, str]
    newest: datetime | None
    stale: bool
    value: float | None = None
    baseline: str | None = None
    baseline_value: float | None = None
    skill: float | None = None
    n: int | None = None
    expected: int | None = None
    coverage: float | None = None
    bias: float | None = None


class SeriesPage(ApiAnswer, frozen=True, kw_only=True):
    """Series in order; `total` of all that were found, `stale` of these."""

    measure: str | None
    total: int
    stale: int
    rows: Sequence[SeriesScore]
    next: str | None = None


class ForecastStep(ApiAnswer, frozen=True, kw_only=True):
    """What was predicted of one time; `actual` where it was asked for and is known."""

    time: datetime
    value: float | None
    lower: float | None
    upper: float | None
    id: str
    served: str | None = None
    actual: float | None = None


class StoredForecast(ApiAnswer, frozen=True, kw_only=True):
    """Predictions of one series, and when and by which version the newest was made."""

    predictions: Sequence[ForecastStep]
    as_of: datetime | None
    model_version: int | None


class ObservedValue(ApiAnswer, frozen=True, kw_only=True):
    """A value that was observed."""

    time: datetime
    value: float | None


class RowPage(ApiAnswer, frozen=True, kw_only=True):
    """Rows of any columns, newest first."""

    rows: Sequence[Mapping[str, Any]]
    next: str | None = None


class RunPage(ApiAnswer, frozen=True, kw_only=True):
    """Runs, newest first."""

    runs: Sequence[RunBrief]
    next: str | None = None


class RunStep(ApiAnswer, frozen=True, kw_only=True):
    """One step of a run."""

    name: str
    seconds: float
    rows: int | None = None


class RunFailure(ApiAnswer, frozen=True, kw_only=True):
    """Why a run failed, and what the reference of errors says about it."""

    error: str
    message: str
    where: str | None = None
    hint: str | None = None
    raised_when: str | None = None
    what_to_do: str | None = None
    docs: str | None = None


class RunReport(RunBrief, frozen=True, kw_only=True):
    """A run with its steps, and why it failed."""

    system: str
    seconds: float | None = None
    steps: Sequence[RunStep] = ()
    failure: RunFailure | None = None
    ingested: int | None = None
    quarantined: int | None = None
    trained: Any = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    pins: Mapping[str, Any] | None = None
    findings: Sequence[Mapping[str, Any]] = ()
    served: Mapping[str, Any] | None = None
    resources: Mapping[str, Any] | None = None


class AlertPage(ApiAnswer, frozen=True, kw_only=True):
    """Alerts, newest first."""

    alerts: Sequence[RaisedAlert]
    next: str | None = None


class WhyLink(ApiAnswer, frozen=True, kw_only=True):
    """One thing that happened, in words."""

    time: datetime
    event: str
    text: str
    alert: str | None = None
    version: int | None = None


class WhyPage(ApiAnswer, frozen=True, kw_only=True):
    """What happened, newest first."""

    links: Sequence[WhyLink]
    next: str | None = None


class VersionBrief(ApiAnswer, frozen=True, kw_only=True):
    """A version of a model."""

    version: int
    state: Literal["champion", "challenger", "pending", "rejected", "archived"]
    as_of: datetime
    created_at: datetime
    metrics: Mapping[str, Any]
    cost: Mapping[str, Any] = field(default_factory=dict)
    because: str | None = None
    reason: str | None = None
    decided_by: str | None = None
    decided_at: datetime | None = None
    decision: str | None = None


class RankedVersion(VersionBrief, frozen=True, kw_only=True):
    """A version among others; `rank` 1 has the least error of its training."""

    rank: int | None = None
    importance: Mapping[str, Any] | None = None


class VersionList(ApiAnswer, frozen=True, kw_only=True):
    """All versions of a system, and their numbers in order of the error of their trainings."""

    models: Sequence[RankedVersion]
    measure: str | None = None
    ranking: Sequence[int] = ()


class VersionReport(VersionBrief, frozen=True, kw_only=True):
    """A version with all that is known of it."""

    digest: str
    pins: Mapping[str, Any]
    params: Mapping[str, Any]
    evidence: Mapping[str, Any] | None = None
    history: Sequence[Mapping[str, Any]] = ()
    importance: Mapping[str, Any] | None = None


class VersionCard(ApiAnswer, frozen=True, kw_only=True):
    """A model card; `learning_curve` where somebody asked for one."""

    version: int
    title: str
    subtitle: str
    markdown: str
    learning_curve: Mapping[str, Any] | None = None


class VersionPair(ApiAnswer, frozen=True, kw_only=True):
    """Two versions on what both answered; `line` says it in a sentence."""

    system: str
    versions: Sequence[int]
    pairs: int
    rows: int
    metrics: Mapping[str, Mapping[str, Any]]
    baselines: Mapping[str, Mapping[str, Any]]
    measure: str | None
    winner: int | None
    line: str
    differences: Mapping[str, Any] = field(default_factory=dict)
    answers: Mapping[str, Any] = field(default_factory=dict)
    costs: Mapping[str, Any] = field(default_factory=dict)


class ApartRow(ApiAnswer, frozen=True, kw_only=True):
    """A row that broke the contract; `row` is JSON as it came."""

    id: str
    known_at: datetime
    row: str
    reasons: Sequence[str]
    state: Literal["apart", "released"]
    time: datetime | None = None
    source: str | None = None
    place: int | None = None
    decided_at: datetime | None = None


class ApartPage(ApiAnswer, frozen=True, kw_only=True):
    """Rows that broke the contract, counted by reason and column."""

    system: str
    apart: int
    released: int
    counts: Sequence[Mapping[str, Any]]
    rows: Sequence[ApartRow]
    next: str | None = None


class TraceNode(ApiAnswer, frozen=True, kw_only=True):
    """A thing that a prediction was made from, or the prediction."""

    id: str
    kind: str
    title: str
    says: str
    facts: Mapping[str, Any]


class TraceEdge(ApiAnswer, frozen=True, kw_only=True):
    """What was made (`target`) of what (`source`)."""

    source: str
    target: str
    says: str


class TraceGraph(ApiAnswer, frozen=True, kw_only=True):
    """What a prediction was made from."""

    id: str
    system: str
    role: str
    nodes: Sequence[TraceNode]
    edges: Sequence[TraceEdge]


class Replayed(ApiAnswer, frozen=True, kw_only=True):
    """A prediction beside what its pins give again."""

    id: str
    stored: Any
    replayed: Any
    identical: bool


class AuditedWrite(ApiAnswer, frozen=True, kw_only=True):
    """A change that somebody asked for."""

    id: int
    at: datetime
    by: str
    action: str
    system: str
    target: str | None
    details: Mapping[str, Any]
    outcome: str
    request_id: str


class AuditPage(ApiAnswer, frozen=True, kw_only=True):
    """Changes, newest first."""

    entries: Sequence[AuditedWrite]
    next: str | None = None


class ReleasedRows(ApiAnswer, frozen=True, kw_only=True):
    """What became of rows that were to be released: `read` is the sum of all others."""

    system: str
    as_of: datetime
    read: int
    released: int
    repeated: int
    superseded: int
    pending: int
    kept: int
    reasons: Mapping[str, int] = field(default_factory=dict)
    version: int = 0


class SimulationProgress(ApiAnswer, frozen=True, kw_only=True):
    """What is being done, how many runs of that are done, and of how many."""

    stage: str
    count: int
    total: int


class SimulationBrief(ApiAnswer, frozen=True, kw_only=True):
    """A simulation that somebody asked for; `names` are those of its policies, in the order in which they are tried."""

    id: str
    system: str
    by: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    reason: str | None
    start: datetime
    end: datetime
    every: str
    policies: Mapping[str, Mapping[str, Any]]
    beside: Sequence[str]
    names: Sequence[str]
    runs: int
    progress: SimulationProgress


class SimulationReport(SimulationBrief, frozen=True, kw_only=True):
    """The same, with a document for each policy once it is done."""

    result: Sequence[Mapping[str, Any]] | None


class SimulationPage(ApiAnswer, frozen=True, kw_only=True):
    """Simulations, those asked for last first."""

    simulations: Sequence[SimulationBrief]
    next: str | None = None


class HealthFinding(ApiAnswer, frozen=True, kw_only=True):
    """One thing that was looked at, and what was found."""

    what: str
    status: str
    said: str


class HealthFindings(ApiAnswer, frozen=True, kw_only=True):
    """What is installed, reachable or misconfigured."""

    ok: bool
    findings: Sequence[HealthFinding]


class CheckedTables(ApiAnswer, frozen=True, kw_only=True):
    """Tables against the records of their commits."""

    ok: bool
    tables: Sequence[Mapping[str, Any]]


class StreamReport(ApiAnswer, frozen=True, kw_only=True):
    """How a stream is: `lag` events wait."""

    reachable: bool
    says: str
    lag: int
    partitions: Sequence[Mapping[str, int]]
    findings: Sequence[HealthFinding]


class LetterPage(ApiAnswer, frozen=True, kw_only=True):
    """Events that a stream set apart, and how many for reasons of each kind."""

    rows: Sequence[Mapping[str, Any]]
    kinds: Sequence[Mapping[str, Any]]
    next: str | None = None


class ResentLetters(ApiAnswer, frozen=True, kw_only=True):
    """What became of events that were to be sent again."""

    resent: int
    expired: int
    kept: int
