"""System: the one object a user declares."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    PrivateAttr,
    SerializeAsAny,
    ValidationError,
    model_validator,
)

from headrace.contract import Contract, apart, declaration_error
from headrace.contract.times import moment_of
from headrace.declaration import BUSINESS_DAY, MONTH, Declared, Duration, format_duration, parse_duration
from headrace.errors import DeclarationError
from headrace.features.view import Features
from headrace.grid import Cadence, Grid, steps_of
from headrace.grid.calendars import BUSINESS_DAYS, kind_of
from headrace.lineage import digest_of
from headrace.models.base import Model
from headrace.shaping import shaping
from headrace.sources import Source
from headrace.sources.events import Shape
from headrace.sources.messages.declared import Messages
from headrace.sources.stamps import Clock
from headrace.sources.topics import KINDS, Topics

if TYPE_CHECKING:
    from headrace.store.history import Series

FORMAT = 1
"""Part of every config digest: raise it when the same declaration starts to mean something else."""


def _never_or_duration(value: object) -> timedelta | None:
    if value is None or value == "never":
        return None
    duration = parse_duration(value)
    if duration <= timedelta():
        raise ValueError(f"{value!r} is no time at all; write never where there is none")
    return duration


Every = Annotated[
    timedelta | None,
    BeforeValidator(_never_or_duration),
    PlainSerializer(lambda v: "never" if v is None else format_duration(v), return_type=str, when_used="json"),
]
"""A duration, or ``"never"``."""

FeatureSet = Annotated[
    Features,
    BeforeValidator(lambda v: v if isinstance(v, Features) else Features(v)),
    PlainSerializer(lambda v: v.as_list(), when_used="json"),
]


class Schedule(Declared):
    """How often things are due.

    Attributes:
        predict: Time between runs.
        train: Time between trainings; ``"never"`` trains once, when there is no model.
        beat_baselines: Whether a new version takes the place only if it is better than the best baseline, the first
            one too.
    """

    predict: Every = timedelta(hours=1)
    train: Every = timedelta(days=7)
    beat_baselines: bool = False


class Monitoring(Declared):
    """What is watched.

    Attributes:
        baselines: Seasons of the seasonal-naive forecasts that are stored beside every prediction, and the last value.
        window: How far back from `as_of` matured predictions enter the metrics of a run.
    """

    baselines: tuple[Duration, ...] = (timedelta(days=1), timedelta(days=7))
    window: Duration = timedelta(days=30)

    @property
    def compared(self) -> tuple[timedelta, ...]:
        """The seasons of all baselines: no time at all is the last value's, which stands beside every forecast."""
        return (timedelta(), *self.baselines)


_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}").fullmatch


class StreamTopics(Declared):
    """Names of a stream's topics, and how those are made that are missing.

    Attributes:
        events: Name of the topic that events come on; like those below ``SYSTEM.events`` and so on if not given.
        predictions: Of the answers.
        dead_letters: Of bad events.
        late: Of events that came too late.
        state: Of the workers' state.
        series: Of the partition of each series.
        prefix: Before the names that are not given, and before the group's.
        group: The consumers' group; ``headrace.SYSTEM`` if not given. It begins the names of transactions, too.
        partitions: Of topics that are made.
        replication: Copies of topics that are made; the cluster's default if not given.
        retention: How long topics that are made keep what is on them; the state is kept. The cluster's default if not
            given.
        create: Whether missing topics are made; otherwise the stream says which are to be made, and how.
    """

    events: str | None = None
    predictions: str | None = None
    dead_letters: str | None = None
    late: str | None = None
    state: str | None = None
    series: str | None = None
    prefix: str = ""
    group: str | None = None
    partitions: int = Field(default=4, ge=1, le=10_000)
    replication: int | None = Field(default=None, ge=1, le=32_767)
    retention: Duration | None = None
    create: bool = True

    @model_validator(mode="after")
    def _legal(self) -> Self:
        given = {kind: name for kind in KINDS if (name := getattr(self, kind)) is not None}
        for name in given.values():
            if not _TOPIC(name) or name in (".", ".."):
                raise ValueError(f"{name!r} is no name of a topic: up to 249 of letters, digits, '.', '_' and '-'")
        if len(set(given.values())) < len(given):
            raise ValueError("two of the topics have one name")
        if self.prefix and not _TOPIC(self.prefix):
            raise ValueError(f"{self.prefix!r} cannot begin a topic's name: use letters, digits, '.', '_' and '-'")
        return self


class Stream(Messages):
    """How events on a Kafka topic are answered; how they are written in messages says `Messages`.

    Attributes:
        grace: An event this much older than the newest of its series still corrects what is known; an older one is
            set apart.
        ahead: An event time may be this much later than the time at which the broker got the event.
        clock: By what that time is known: ``auto`` is the broker's stamp, or the worker's clock where the topic has the
            producers' own stamps; ``message`` the stamp in any case, ``worker`` the worker's clock.
        unknown: What becomes of a series that the model was not fitted on: ``refuse`` sets its events apart,
            ``accept`` answers them once there are enough.
        mismatched: What becomes of an event that is not on the partition where its series was seen first, or whose key
            is not its series': ``refuse`` sets it apart, ``repartition`` sends it to that partition.
        idle: A series without an event for this long (by the clock) leaves the memory until its next one.
        batch: Events that are answered in one transaction at most.
        remembered: Of a system that scores rows, so many keys of each partition, the newest, are remembered with their
            answers: the same key again is the same prediction.
        topics: Names of the topics, and how those are made that are missing.
    """

    grace: Duration = timedelta(hours=1)
    ahead: Duration = timedelta(minutes=5)
    clock: Clock = "auto"
    unknown: Literal["refuse", "accept"] = "refuse"
    mismatched: Literal["refuse", "repartition"] = "refuse"
    idle: Every = timedelta(hours=24)
    batch: int = Field(default=16_000, ge=1, le=100_000)
    remembered: int = Field(default=100_000, ge=1, le=10_000_000)
    topics: StreamTopics = Field(default_factory=StreamTopics)


class System(Declared):
    """A model with everything around it, as one immutable declaration.

    With a `horizon` the system forecasts series: it has `time`, a regular `step`, and features relative to a forecast
    origin. Without one it scores rows.

    Attributes:
        name: Lower-case letters, digits and underscores.
        source: Where records come from.
        contract: What a good record is.
        keys: Columns that tell one series, or one row, from another; empty for a lone series.
        target: The column to predict.
        features: Names to expressions.
        model: What learns.
        time: Column of the event time.
        step: Time between two records of one series: ``15m``, ``1h``, or by the calendar of the zone of `time`: ``1d``,
            ``1w``, ``1mo``, ``1q``, ``1y``, ``1b`` (business days).
        phase: A time at which a step begins, such as ``2024-01-03`` for weeks from Wednesday on; in the zone of `time`
            where it has no offset. Not declared, it is that of most rows of the first ingest.
        horizon: How far ahead to predict.
        schedule: How often to predict and to train.
        monitoring: What is watched.
        stream: How events are answered.
        log_features: Whether a posted row is logged with the features that were computed for it.

    Raises:
        DeclarationError: On any mistake, with the path of the field.
    """

    name: str
    source: Source = Field(default_factory=Source)
    contract: Contract
    keys: tuple[str, ...] = ()
    target: str
    features: FeatureSet
    model: SerializeAsAny[Model]
    time: str | None = None
    step: Duration | None = None
    phase: str | None = None
    horizon: Duration | None = None
    schedule: Schedule = Field(default_factory=Schedule)
    monitoring: Monitoring = Field(default_factory=Monitoring)
    stream: Stream = Field(default_factory=Stream)
    log_features: bool = False
    _folder: Path | None = PrivateAttr(default=None)
    _found: tuple[Any, ...] | None = PrivateAttr(default=None)

    def __init__(self, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise declaration_error(error) from error

    @property
    def forecasts(self) -> bool:
        """Whether it forecasts series, rather than scoring rows."""
        return self.horizon is not None

    @property
    def folder(self) -> Path:
        """Where `system.py` lies; the current folder for a system made in a notebook."""
        return self._folder or Path.cwd()

    def at(self, folder: Path, again: Callable[[], System] | None = None) -> System:
        """The same system, found in `folder`.

        Args:
            folder: Where `system.py` lies.
            again: Finds it once more. Another process gets this in its place (it is what is pickled), because
                functions and classes of a user's own file can be imported nowhere else.
        """
        self._folder = folder
        self._found = None if again is None else (again, *self.__dict__.values())
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        """How to find it again; for one that was made or changed in a program, what it holds."""
        if self._found is not None:
            again, *fields = self._found
            if all(one is other for one, other in zip(fields, self.__dict__.values(), strict=True)):
                return again, ()
        return super().__reduce_ex__(protocol)

    @property
    def steps(self) -> int:
        """Length of the horizon in steps.

        Raises:
            DeclarationError: The system does not forecast.
        """
        if self.horizon is None or self.step is None:
            raise DeclarationError("this system does not forecast", where="horizon", hint="declare step= and horizon=")
        return self.horizon // self.step

    @property
    def cadence(self) -> Cadence | None:
        """Its steps as declared; None for a system without."""
        if self.step is None or self.time is None:
            return None
        column = self.contract.column(self.time)
        phase = None if self.phase is None else moment_of(column, self.phase)
        return Cadence(self.step, column.zone, phase, moved=column.align or self.contract.aggregates)

    @property
    def event_time(self) -> str:
        """The column of the event time.

        Raises:
            DeclarationError: The system has none.
        """
        if self.time is None:
            raise DeclarationError("this system has no event time", where="time")
        return self.time

    @property
    def identity(self) -> list[str]:
        """The columns that tell one record from another: the keys, and the event time where there is one."""
        return [*self.keys, *([self.time] if self.time is not None else [])]

    @property
    def known_ahead(self) -> tuple[str, ...]:
        """Columns whose values are known before their time, in the contract's order."""
        return tuple(c.name for c in self.contract.columns if c.known_ahead and c.name not in self.keys)

    @property
    def dates(self) -> str | None:
        """The zone whose days its steps are, where they are days or longer; runs and trainings go by its calendar."""
        if self.step is None or self.time is None or self.step < timedelta(days=1):
            return None
        return self.contract.column(self.time).zone

    def series(self, grid: Grid) -> Series:
        """How its table holds series, whose steps begin as `grid` says.

        Raises:
            DeclarationError: The system does not forecast.
        """
        from headrace.store.history import Series

        if self.step is None or self.horizon is None:
            raise DeclarationError("this system does not forecast", where="horizon", hint="declare step= and horizon=")
        columns, ahead = self._history_columns(), set(self.known_ahead)
        how = tuple(each for c in columns if (each := self.contract.column(c).aggregated) is not None)
        told = tuple(c for c in columns if c in ahead)
        return Series(self.keys, self.event_time, grid, columns, told, how, self.source.lag)

    def _history_columns(self) -> tuple[str, ...]:
        """Columns whose past is looked at, the target first."""
        return tuple(dict.fromkeys([self.target, *sorted(self.features.columns() - set(self.keys))]))

    @property
    def topics(self) -> Topics:
        """Its topics in Kafka."""
        of = self.stream.topics
        given = {kind: name for kind in KINDS if (name := getattr(of, kind)) is not None}
        partitions = of.partitions if self.keys else 1  # a lone series is on one
        made = (partitions, of.replication, of.retention, of.create, self.forecasts)
        return Topics(self.name, given, of.prefix, of.group, *made)

    @property
    def leads(self) -> dict[str, timedelta | Literal[True]]:
        """How long before its event time each column known ahead is known, True for always, if it forecasts."""
        rows = self.forecasts and not self.contract.aggregates  # an event tells nothing before it is known
        columns = {c.name: c.known_ahead for c in self.contract.columns} if rows else {}
        return {name: lead for name, lead in columns.items() if lead is not False and name not in self.identity}

    def event_shape(self, grid: Grid | None = None) -> Shape:
        """What its events look like on a topic; `grid` says when their steps begin, otherwise the declaration.

        Raises:
            DeclarationError: It does not forecast, or needs columns that are known ahead, which no event brings.
        """
        if self.cadence is None or self.horizon is None:
            raise DeclarationError("only a system that forecasts answers events", where="horizon")
        if self.known_ahead and self.features.columns() & set(self.known_ahead):
            raise DeclarationError("an event cannot bring what is known ahead", where="contract.columns")
        grid = grid or self.cadence.grid()
        return Shape(
            contract=self.contract,
            keys=self.keys,
            time=self.event_time,
            columns=self._history_columns(),
            grid=grid,
            lag=self.source.lag,
            grace=self.stream.grace,
            ahead=self.stream.ahead,
            aggregates=self.series(grid).aggregates,
        )

    def config(self) -> dict[str, Any]:
        """The whole declaration as JSON-ready data."""
        return self.model_dump(mode="json") | {"format": FORMAT}

    @property
    def config_digest(self) -> str:
        """Digest of what shapes the numbers."""
        return digest_of(self.made_from)

    @property
    def made_from(self) -> dict[str, str]:
        """What shapes the numbers, part by part; see `headrace.shaping`."""
        return shaping(self.config(), {*self.identity, self.target, *self.features.columns()})

    @model_validator(mode="before")
    @classmethod
    def _features_at_step(cls, data: dict[str, Any]) -> dict[str, Any]:
        features = data.get("features")
        try:
            step = parse_duration(data["step"])
        except (KeyError, ValueError):  # the field's own check names it
            return data
        if isinstance(features, Features):
            data = data | {"features": features.at(step)}
        return data | _watched(data.get("monitoring"), step)

    @model_validator(mode="after")
    def _check(self) -> System:
        columns = {column.name: column for column in self.contract.columns}
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise DeclarationError(
                f"{self.name!r} is not a good name", where="name", hint="use lower-case letters, digits and _"
            )
        if not self.keys and self.horizon is None:
            hint = "name the column that tells one row from another; a system with a horizon may be one series"
            raise DeclarationError("a system that scores rows needs a key column", where="keys", hint=hint)
        for where, name in [("target", self.target), *((f"keys[{i}]", k) for i, k in enumerate(self.keys))]:
            _known(name, columns, where)
        for field in ("columns", "constants"):
            for name in getattr(self.source, field):
                _known(name, columns, f"source.{field}.{name}")
        for name in self.stream.paths:
            _known(name, columns, f"stream.paths.{name}")
        if self.target in self.keys:
            raise DeclarationError(f"{self.target!r} is a key and cannot be the target", where="target")
        if self.time is not None:
            _known(self.time, columns, "time")
            if columns[self.time].type != "time":
                raise DeclarationError(f"{self.time!r} is not a time column", where="time")
        if self.time is None and all(columns[key].nullable for key in self.keys):
            raise DeclarationError(
                "one key at least must never be missing", where="keys", hint="drop its nullable=True"
            )
        self._check_labels()
        self._check_horizon()
        self._check_aggregates()
        if self.forecasts and self.log_features:
            raise DeclarationError("only the features of posted rows are logged", where="log_features")
        known_ahead = frozenset(self.known_ahead) if self.forecasts else None
        self.features.check(frozenset(columns), known_ahead=known_ahead, step=self.step)
        if not self.forecasts:
            self._check_target_leak()
        self.model.check(step=self.step, horizon=self.horizon)
        self._set_apart()
        return self

    def _set_apart(self) -> None:
        """Keep columns that have the names of the framework's own under others; see `headrace.contract.apart`."""
        names = apart.apart(self.contract.names, apart.FACTS)
        own = apart.SERIES if self.forecasts else apart.ROWS
        names |= apart.apart([*self.keys, *([] if self.forecasts else [self.target])], own)
        names |= apart.apart([] if self.time is None else [self.time], own - {"time"})
        if not names:
            return
        for moved in names.values():
            if moved in self.contract.names:
                raise DeclarationError(f"{moved!r} is kept for {apart.called(moved)!r}", where="contract.columns")
        self._refuse_fixed(names)
        source = self.source
        said = {**{name: name for name in names if name not in source.constants}, **source.columns}
        known_at = source.known_at
        if known_at is None and "known_at" in names and self.contract.column("known_at").type == "time":
            known_at = "known_at"  # needs no mention
        moved_source = {
            "columns": {names.get(name, name): theirs for name, theirs in said.items()},
            "constants": {names.get(name, name): text for name, text in source.constants.items()},
            "known_at": known_at,
        }
        self.__dict__.update(
            contract=self.contract.renamed(names),
            keys=tuple(names.get(key, key) for key in self.keys),
            target=names.get(self.target, self.target),
            time=None if self.time is None else names.get(self.time, self.time),
            features=self.features.renamed(names),
            source=source.model_copy(update=moved_source),
        )

    def _refuse_fixed(self, names: Mapping[str, str]) -> None:
        """What names columns in a way that cannot be told otherwise cannot read those that are kept apart."""
        for name, expression in self.features.items():
            for node in expression.walk():
                fixed = {*getattr(node, "roots", ()), *getattr(node, "key", ())} & names.keys()
                if fixed:
                    raise DeclarationError(
                        f"reads {min(fixed)!r}, which is the name of a column of the framework",
                        where=f"features.{name}",
                        hint=f"declare the column under another name, and say source.columns={{NAME: {min(fixed)!r}}}",
                    )

    def _check_horizon(self) -> None:
        if self.phase is not None:
            if self.cadence is None:
                raise DeclarationError("only a system with time= and step= has a phase", where="phase")
            moment_of(self.contract.column(self.event_time), self.phase)
        if self.horizon is None:
            return
        if self.contract.column(self.target).known_ahead:
            raise DeclarationError(f"{self.target!r} is to be forecast and cannot be known ahead", where="target")
        if self.time is None or self.step is None:
            field: Literal["time", "step"] = "time" if self.time is None else "step"
            raise DeclarationError("a system with a horizon needs it", where=field)
        _check_step(self.step)
        if self.horizon < self.step:
            raise DeclarationError(
                f"the horizon {format_duration(self.horizon)} is shorter than the step {format_duration(self.step)}",
                where="horizon",
            )
        durations = [("horizon", self.horizon)]
        durations += [(f"monitoring.baselines[{i}]", b) for i, b in enumerate(self.monitoring.baselines)]
        for where, duration in durations:
            if steps_of(duration, self.step, where=where) < 1:
                raise DeclarationError(f"{format_duration(duration)} is no time at all", where=where)

    def _check_labels(self) -> None:
        for place, column in enumerate(self.contract.columns):
            if column.label == "end" and (column.name != self.time or self.step is None):
                raise DeclarationError(
                    f"only the event time of a system with step= names steps, {column.name!r} is none",
                    where=f"contract.columns[{place}].label",
                )

    def _check_aggregates(self) -> None:
        """Where rows are events, every column whose past is looked at says how they are put together."""
        if not self.contract.aggregates:
            return
        places = {column.name: place for place, column in enumerate(self.contract.columns)}
        if not self.forecasts:
            first = next(column for column in self.contract.columns if column.aggregate is not None)
            where = f"contract.columns[{places[first.name]}].aggregate"
            raise DeclarationError("only a system that forecasts puts events together: it has steps", where=where)
        for name in (*self.keys, *self._history_columns()):
            column = self.contract.column(name)
            where = f"contract.columns[{places[name]}].aggregate"
            if name in self.keys and column.aggregate is not None:
                raise DeclarationError(f"{name!r} is a key, which tells series apart", where=where)
            if column.known_ahead:
                raise DeclarationError(
                    f"{name!r} is known ahead, and rows are events here, which tell nothing before they happen",
                    where=f"contract.columns[{places[name]}].known_ahead",
                    hint="put a plan into a system whose rows are the values of steps",
                )
            if name not in self.keys and column.aggregate is None:
                raise DeclarationError(
                    f"rows are events here, and nothing says what the events of a step make of {name!r}",
                    where=where,
                    hint="one of sum, mean, last, first, min, max, count",
                )

    def _check_target_leak(self) -> None:
        for name, expression in self.features.items():
            if self.target in expression.columns():
                raise DeclarationError(
                    f"reads the target {self.target!r}, which is not known when a row is scored",
                    where=f"features.{name}",
                )


def _known(name: str, columns: dict[str, Any], where: str) -> None:
    if name not in columns:
        raise DeclarationError(
            f"column {name!r} is not in the contract",
            where=where,
            hint=f"the contract has {', '.join(columns)}",
        )


def _watched(monitoring: object, step: timedelta) -> dict[str, Monitoring]:
    """What is watched, where that is not declared, on steps that a day is no multiple of.

    Last week's or last year's value, or the last one; and a year, or a dozen steps.
    """
    given = Monitoring() if monitoring is None else monitoring
    usual = Monitoring()
    if not isinstance(given, Monitoring) or step <= timedelta() or not usual.baselines[0] % step:
        return {}
    own = tuple(season for season in (*usual.baselines, 12 * MONTH) if not season % step) or (step,)
    watched: dict[str, object] = {"baselines": own, "window": max(usual.window, 12 * step)}
    left = {name: value for name, value in watched.items() if name not in given.model_fields_set}
    return {"monitoring": given.model_copy(update=left)}


def _check_step(step: timedelta) -> None:
    if step <= timedelta():
        raise DeclarationError("a step is longer than nothing", where="step")
    if kind_of(step) == BUSINESS_DAYS and step != BUSINESS_DAY:
        raise DeclarationError(
            f"{format_duration(step)} is no step", where="step", hint="business days are counted one by one: 1b"
        )
