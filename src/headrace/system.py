"""System: the one object a user declares."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, SerializeAsAny, ValidationError, model_validator

from headrace.contract import Contract, apart, declaration_error
from headrace.contract.times import moment_of
from headrace.declaration import BUSINESS_DAY, Duration, Every, Located, format_duration, parse_duration
from headrace.errors import DeclarationError
from headrace.features.view import Features
from headrace.grid import Cadence, Grid, steps_of
from headrace.grid.calendars import BUSINESS_DAYS, kind_of
from headrace.hooks import hears
from headrace.lineage import digest_of
from headrace.metrics import STORED
from headrace.models.base import Model
from headrace.models.series import SeriesModel
from headrace.models.tabular import Tabular, declared_values
from headrace.models.wrapped import as_model
from headrace.monitoring import Monitoring, watched
from headrace.schedule import Schedule
from headrace.shaping import shaping
from headrace.sources import Source
from headrace.sources.events import LEAST_JUMP, EventShape
from headrace.sources.messages.declared import Messages
from headrace.sources.stamps import Clock
from headrace.sources.stream_topics import StreamPredictions, StreamTopics
from headrace.sources.topics import KINDS, Topics
from headrace.tuning.declared import Tuning

if TYPE_CHECKING:
    from headrace.store.history import SeriesLayout

FORMAT = 1
"""Part of every config digest: raise it when the same declaration starts to mean something else."""


FeatureSet = Annotated[
    Features,
    BeforeValidator(lambda v: v if isinstance(v, Features) else Features(v)),
    PlainSerializer(lambda v: v.as_list(), when_used="json"),
]


class Stream(Messages):
    """How events on a Kafka topic are answered; how they are written in messages says `Messages`.

    Attributes:
        allowed_lateness: An event this much older than the newest of its series still corrects what is known; an older
            one is set apart.
        max_clock_skew: An event time may be this much later than the time at which the broker got the event.
        jump: An event this much later than the newest of its series, and more than ten steps, is set apart, because its
            clock may be wrong. ``never``: there is no limit.
        agreeing: The last of so many events in a row that are that far after their series, each later than the one
            before, is believed.
        clock: By what that time is known: ``auto`` is the broker's stamp, or the worker's clock where the topic has the
            producers' own stamps; ``message`` the stamp in any case, ``worker`` the worker's clock.
        unseen_series: What becomes of a series that the model was not fitted on: ``reject`` sets its events apart,
            ``accept`` answers them once there are enough.
        mismatched: What becomes of an event that is not on the partition where its series was seen first, or whose key
            is not its series': ``reject`` sets it apart, ``repartition`` sends it to that partition.
        idle: A series without an event for this long (by the clock) leaves the memory until its next one.
        batch: Events that are answered in one transaction at most.
        remembered: So many keys of rows, or ids of events, of each partition, the newest, are remembered: the same key
            again is the same prediction.
        topics: Names of the topics, and how those are made that are missing.
        predictions: What predictions are written in.
    """

    allowed_lateness: Duration = timedelta(hours=1)
    max_clock_skew: Duration = timedelta(minutes=5)
    jump: Every = timedelta(days=30)
    agreeing: int = Field(default=2, ge=2, le=1_000_000)
    clock: Clock = "auto"
    unseen_series: Literal["reject", "accept"] = "reject"
    mismatched: Literal["reject", "repartition"] = "reject"
    idle: Every = timedelta(hours=24)
    batch: int = Field(default=16_000, ge=1, le=100_000)
    remembered: int = Field(default=100_000, ge=1, le=10_000_000)
    topics: StreamTopics = Field(default_factory=StreamTopics)
    predictions: StreamPredictions = Field(default_factory=StreamPredictions)


class DeclaredSystem(Located, ABC):
    """What a system with a model and one of features both declare.

    Attributes:
        name: Lower-case letters, digits and underscores.
        source: Where records come from.
        contract: What a good record is.
        keys: Columns that tell one series, or one row, from another; empty for a lone series.
        time: Column of the event time.
        features: Names to expressions.
        stream: How events are answered.

    Raises:
        DeclarationError: On any mistake, with the path of the field.
    """

    name: str
    source: Source = Field(default_factory=Source)
    contract: Contract
    keys: tuple[str, ...] = ()
    time: str | None = None
    features: FeatureSet = Features()
    stream: Stream = Field(default_factory=Stream)

    def __init__(self, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise declaration_error(error) from error

    @property
    @abstractmethod
    def config_digest(self) -> str:
        """Digest of what shapes the numbers."""

    def check_name(self) -> None:
        """Refuse a name that cannot be that of a folder, a topic and a route.

        Raises:
            DeclarationError: It is none of lower-case letters, digits and underscores.
        """
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            hint = "use lower-case letters, digits and _"
            raise DeclarationError(f"{self.name!r} is not a good name", where="name", hint=hint)


class System(DeclaredSystem):
    """A model with everything around it, as one immutable declaration.

    With a `horizon` the system forecasts series: it has `time`, a regular `step`, and features relative to a forecast
    origin. Without one it scores rows, unless a `task` of your own says what it does.

    Attributes:
        target: The column to predict.
        model: What learns.
        task: What the system does with its model, where it is not told by the `horizon`: the kind of a task of your
            own; see `headrace.tasks`.
        step: Time between two records of one series: ``15m``, ``1h``, or by the calendar of the zone of `time`: ``1d``,
            ``1w``, ``1mo``, ``1q``, ``1y``, ``1b`` (business days).
        phase: A time at which a step begins, such as ``2024-01-03`` for weeks from Wednesday on; in the zone of `time`
            where it has no offset. Not declared, it is that of most rows of the first ingest.
        horizon: How far ahead to predict.
        schedule: How often to predict and to train.
        monitoring: What is watched.
        tuning: Which settings are searched, and how; see `Tuning`.
        hooks: Functions and objects of yours that are told what was done; see `headrace.hooks`.
        description: What it does, in a sentence or two; stands on the model card.
        intended_use: What its predictions are for, and what not; stands on the model card.
        log_features: Whether a posted row is logged with the features that were computed for it.
        train_on: What a training learns from: ``recomputed``, the features of every row computed anew, or ``served``,
            those that were logged for a row when it was asked for, and computed for the others.

    Raises:
        DeclarationError: On any mistake, with the path of the field.
    """

    target: str
    model: SerializeAsAny[Model]
    task: str | None = None
    step: Duration | None = None
    phase: str | None = None
    horizon: Duration | None = None
    schedule: Schedule = Field(default_factory=Schedule)
    monitoring: Monitoring = Field(default_factory=Monitoring)
    tuning: Tuning = Field(default_factory=Tuning)
    hooks: tuple[Any, ...] = Field(default=(), exclude=True)
    description: str = ""
    intended_use: str = ""
    log_features: bool = False
    train_on: Literal["recomputed", "served"] = "recomputed"

    @property
    def forecasts(self) -> bool:
        """Whether it forecasts series, rather than scoring rows."""
        return self.horizon is not None

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
        return list(dict.fromkeys([*self.keys, *([self.time] if self.time is not None else [])]))

    @property
    def known_future(self) -> tuple[str, ...]:
        """Columns whose values are known before their time, in the contract's order."""
        return tuple(c.name for c in self.contract.columns if c.known_future and c.name not in self.keys)

    @property
    def dates(self) -> str | None:
        """The zone whose days its steps are, where they are days or longer; runs and trainings go by its calendar."""
        if self.step is None or self.time is None or self.step < timedelta(days=1):
            return None
        return self.contract.column(self.time).zone

    def series(self, grid: Grid) -> SeriesLayout:
        """How its table holds series, whose steps begin as `grid` says.

        Raises:
            DeclarationError: The system does not forecast.
        """
        from headrace.store.history import SeriesLayout

        if self.step is None or self.horizon is None:
            raise DeclarationError("this system does not forecast", where="horizon", hint="declare step= and horizon=")
        columns, ahead = self._history_columns(), set(self.known_future)
        aggregate = tuple(each for c in columns if (each := self.contract.column(c).aggregated) is not None)
        known_names = tuple(c for c in columns if c in ahead)
        return SeriesLayout(self.keys, self.event_time, grid, columns, known_names, aggregate, self.source.lag)

    def _history_columns(self) -> tuple[str, ...]:
        """Columns whose past is looked at, the target first."""
        return tuple(dict.fromkeys([self.target, *sorted(self.features.columns() - set(self.keys))]))

    @property
    def topics(self) -> Topics:
        """Its topics in Kafka."""
        of = self.stream.topics
        names_given = {kind: name for kind in KINDS if (name := getattr(of, kind)) is not None}
        partitions = of.partitions if self.keys else 1  # a lone series is on one
        options = (partitions, of.replication, of.retention, of.create, self.forecasts)
        return Topics(self.name, names_given, of.prefix, of.group, *options)

    @property
    def leads(self) -> dict[str, timedelta | Literal[True]]:
        """How long before its event time each column known in advance is known, True for always, if it forecasts."""
        rows = self.forecasts and not self.contract.aggregates  # an event tells nothing before it is known
        columns = {c.name: c.known_future for c in self.contract.columns} if rows else {}
        return {name: lead for name, lead in columns.items() if lead is not False and name not in self.identity}

    def event_shape(self, grid: Grid | None = None) -> EventShape:
        """What its events look like on a topic; `grid` says when their steps begin, otherwise the declaration.

        Raises:
            DeclarationError: It does not forecast, or needs columns that are known in advance, which no event brings.
        """
        if self.cadence is None or self.horizon is None:
            raise DeclarationError("only a system that forecasts answers events", where="horizon")
        if self.known_future and self.features.columns() & set(self.known_future):
            raise DeclarationError("an event cannot bring what is known in advance", where="contract.columns")
        grid = grid or self.cadence.grid()
        return EventShape(
            contract=self.contract,
            keys=self.keys,
            time=self.event_time,
            columns=self._history_columns(),
            grid=grid,
            lag=self.source.lag,
            allowed_lateness=self.stream.allowed_lateness,
            max_clock_skew=self.stream.max_clock_skew,
            aggregates=self.series(grid).aggregates,
            retracts=self.source.retracts,
            jump=None if self.stream.jump is None else max(self.stream.jump // grid.step, LEAST_JUMP),
            agreeing=self.stream.agreeing,
            false_alarms=self.monitoring.false_alarms,
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
        if "model" in data:
            data = data | {"model": as_model(data["model"], forecasts=data.get("horizon") is not None)}
        try:
            step = parse_duration(data["step"])
        except (KeyError, ValueError):  # the field's own check names it
            return data
        if isinstance(features, Features):
            data = data | {"features": features.at(step)}
        return data | watched(data.get("monitoring"), step)

    @model_validator(mode="after")
    def _check(self) -> System:
        columns = {column.name: column for column in self.contract.columns}
        self.check_name()
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
        self._check_event_id()
        for place, hook in enumerate(self.hooks):
            hears(hook, f"hooks[{place}]")
        self._check_horizon()
        self._check_aggregates()
        self._check_logged()
        self._check_actions()
        known_future = frozenset(self.known_future) if self.forecasts else None
        self.features.check(frozenset(columns), known_future=known_future, step=self.step)
        if not self.forecasts:
            self._check_target_leak()
        self._check_model()
        self._check_retrain()
        scopes = self.keys if self.forecasts and self.task is None else None
        has_series = self.forecasts or self.task is not None
        self.monitoring.check(self.contract, scopes, self._measured(), self._drifting(), has_series=has_series)
        beside = [name for name in self.contract.names if name != self.target]
        self.monitoring.drift.check(self.keys if self.forecasts else beside)
        self._set_apart()
        return self

    def _measured(self) -> tuple[str, ...] | None:
        """The metrics of its predictions; None where a task or an output of your own says which there are."""
        if self.task is not None:
            return None
        if self.forecasts:
            return STORED["forecast"]
        if not isinstance(self.model, Tabular):
            return None
        values = declared_values(self.contract.column(self.target)) if self.model.discrete else ()
        sizes = (range(2), range(3)) if values is None else (values,)
        measured = [STORED.get(self.model.output(tuple(size))) for size in sizes]
        if None in measured:
            return None
        return tuple(dict.fromkeys(name for names in measured for name in names or ()))

    def _drifting(self) -> tuple[str, ...] | None:
        """What drift is measured of: features and the target; None where a task of your own says that."""
        if self.task is not None:
            return None
        features = self.features.at_origin() if self.forecasts else self.features
        names = [name for name, item in features.items() if not self.forecasts or item.columns()]
        return tuple(dict.fromkeys([*names, self.target]))

    def _check_retrain(self) -> None:
        if self.schedule.cooldown < timedelta():
            raise DeclarationError("is no time to wait", where="schedule.cooldown")
        for place, rule in enumerate(self.schedule.retrain):
            try:
                rule.check(self.contract)
            except DeclarationError as error:
                where = ".".join(filter(None, (f"schedule.retrain[{place}]", error.where)))
                raise DeclarationError(error.message, where=where, hint=error.hint) from error

    def _check_model(self) -> None:
        target, groups = self.contract.column(self.target), getattr(self.model, "groups", None)
        for column in getattr(self.model, "columns_of_condition", ()):
            _known(column, {one.name: one for one in self.contract.columns}, "model.learn_from")
        if groups is not None:
            _known(groups, {column.name: column for column in self.contract.columns}, "model.groups")
        if self.model.reads_features and not self.features.names:
            raise DeclarationError("there are none for the model to learn from", where="features")
        if not callable(getattr(self.model, "fit", None)) and not hasattr(self.model, "members"):
            hint = "a model of rows: Classifier(members=(...)); of series: FrameForecaster(model=...)"
            raise DeclarationError(f"{type(self.model).__name__} has no fit", where="model", hint=hint)
        self.model.check(target=target, features=self.features, step=self.step, horizon=self.horizon)
        if self.forecasts and not isinstance(self.model, SeriesModel):
            hint = "Forecaster(), or a forecaster of your own: FrameForecaster(model=...)"
            raise DeclarationError(f"a {type(self.model).__name__} forecasts no series", where="model", hint=hint)

    def _set_apart(self) -> None:
        """Keep columns that have the names of the framework's own under others; see `headrace.contract.apart`."""
        names = apart.apart(self.contract.names, apart.FACTS)
        places_form = apart.SERIES if self.forecasts else apart.ROWS
        names |= apart.apart([*self.keys, *([] if self.forecasts else [self.target])], places_form)
        names |= apart.apart([] if self.time is None else [self.time], places_form - {"time"})
        if not names:
            return
        for moved in names.values():
            if moved in self.contract.names:
                raise DeclarationError(f"{moved!r} is kept for {apart.called(moved)!r}", where="contract.columns")
        self._refuse_fixed(names)
        source = self.source
        columns_said = {**{name: name for name in names if name not in source.constants}, **source.columns}
        known_at = source.known_at
        if known_at is None and "known_at" in names and self.contract.column("known_at").type == "time":
            known_at = "known_at"  # needs no mention
        moved_source = {
            "columns": {names.get(name, name): source_name for name, source_name in columns_said.items()},
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
        if self.contract.column(self.target).known_future:
            raise DeclarationError(f"{self.target!r} is to be forecast and cannot be known in advance", where="target")
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

    def _check_actions(self) -> None:
        """A search that alarms start has something to search."""
        monitoring = self.monitoring
        if not self.tuning.space and "retune" in map(monitoring.action_of, monitoring.watched):
            message, hint = "an alarm retunes, and nothing says what is searched", "declare tuning=Tuning(space={...})"
            raise DeclarationError(message, where="monitoring.on_alarm", hint=hint)

    def _check_logged(self) -> None:
        if self.forecasts and self.log_features:
            raise DeclarationError("only the features of posted rows are logged", where="log_features")
        if self.train_on == "served" and not self.log_features:
            message, hint = "no features are logged that a training could learn from", "declare log_features=True"
            raise DeclarationError(message, where="train_on", hint=hint)

    def _check_event_id(self) -> None:
        event_id = self.stream.event_id
        if event_id is None:
            return
        if not self.forecasts:
            raise DeclarationError("a row is told from others by its keys", where="stream.event_id")
        kind, _, name = event_id.partition(":")
        if kind == "column":
            columns = {column.name: column for column in self.contract.columns if column.name != self.time}
            _known(name, columns, "stream.event_id")

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
            if column.known_future:
                raise DeclarationError(
                    f"{name!r} is known in advance, and rows are events here, which tell nothing before they happen",
                    where=f"contract.columns[{places[name]}].known_future",
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
        hint = f"the contract has {', '.join(columns)}"
        raise DeclarationError(f"column {name!r} is not in the contract", where=where, hint=hint)


def _check_step(step: timedelta) -> None:
    if step <= timedelta():
        raise DeclarationError("a step is longer than nothing", where="step")
    if kind_of(step) == BUSINESS_DAYS and step != BUSINESS_DAY:
        hint = "business days are counted one by one: 1b"
        raise DeclarationError(f"{format_duration(step)} is no step", where="step", hint=hint)
