"""FeatureSystem: what is declared of features that events update, which are the output: a feature group."""

from __future__ import annotations

from datetime import timedelta
from typing import Self

from pydantic import Field, model_validator

from headrace.contract.aggregation import Kind
from headrace.declaration import Duration, format_duration
from headrace.errors import DeclarationError
from headrace.features.expression import ORIGIN
from headrace.features.history import lag
from headrace.features.place import place_of
from headrace.features.stored import StoredFeature
from headrace.grid import steps_of
from headrace.lineage import digest_of
from headrace.sources.topics import Topics
from headrace.system import DeclaredSystem, FeatureSet, System

GROUP = "features"
"""The name of the feature group, which other systems look up as ``"SYSTEM/features"``."""
EVENT = "event"
"""The column of the group that tells which event a row came with: ``TOPIC-PARTITION-OFFSET``."""


class FeatureSystem(DeclaredSystem):
    """Features of a key that every event updates. Its output is a feature group, which models of rows look up.

    Events are put together by steps of every key, such as the minutes of a customer; features look back over the steps,
    the one that has just begun included. Each good event gives a row of the group: the features after it, known since
    the online side answers with them.

    Attributes:
        name: Lower-case letters, digits and underscores. The group is ``NAME/features``.
        contract: What a good event is.
        keys: Columns that tell whose features they are.
        time: Column of the event time.
        step: Length of the steps, such as ``1m``; windows are multiples of it.
        values: What the events of a step become: names to a column and one of ``sum mean last first min max count``,
            such as ``{"spent": ("amount", "sum"), "orders": ("amount", "count")}``. Missing in a step without events.
        features: Names to expressions over these: `lag`, `difference`, ``rolling_*``, and arithmetic of them.
        online: How many event times of a key can be looked up online; 1 is the newest.
        source: Where events come from in a batch.
        stream: How they come on a topic.

    Raises:
        DeclarationError: On any mistake, with the path of the field.

    >>> from headrace.contract import Column, Contract
    >>> from headrace.features import lag, rolling_sum
    >>> cards = FeatureSystem(
    ...     name="cards",
    ...     contract=Contract(columns=(Column("card", "category"), Column("at", "time"), Column("amount", "float"))),
    ...     keys=("card",), time="at", step="1m",
    ...     values={"spent": ("amount", "sum"), "last": ("amount", "last")},
    ...     features={"spent_1h": rolling_sum("spent", "1h"), "last": lag("last", "0h")},
    ... )
    >>> cards.steps
    61
    """

    keys: tuple[str, ...]
    time: str
    step: Duration
    values: dict[str, tuple[str, Kind]] = Field(min_length=1)
    features: FeatureSet
    online: int = Field(default=1, ge=1, le=10_000)

    @property
    def steps(self) -> int:
        """How many steps of a key the features look at, the newest included."""
        return self.features.lookback // self.step + 1

    @property
    def definition(self) -> str:
        """The version of what is computed: another one's rows are another group's."""
        return digest_of([self.state_definition, self.features.digest])

    @property
    def config_digest(self) -> str:
        """Digest of the whole declaration."""
        return digest_of(self.model_dump(mode="json"))

    @property
    def state_definition(self) -> str:
        """The version of what is remembered of a key."""
        return digest_of([self.keys, self.time, format_duration(self.step), sorted(self.values.items()), self.steps])

    @property
    def topics(self) -> Topics:
        """Its one topic in Kafka, and the group that reads it."""
        of = self.stream.topics
        names = {} if of.events is None else {"events": of.events}
        options = (of.partitions, of.replication, of.retention, of.create)
        return Topics(self.name, names, of.prefix, of.group, *options, kinds=("events",))

    @property
    def events(self) -> System:
        """A system with the same events: it reads, checks and keeps them as any other does."""
        from headrace.models import Forecaster

        read = self.columns
        columns = tuple(
            column.model_copy(update={"aggregate": "last"}) if column.name in read else column
            for column in self.contract.columns
        )
        return System(
            name=self.name,
            source=self.source,
            contract=self.contract.model_copy(update={"columns": columns}),
            keys=self.keys,
            target=read[0],
            time=self.time,
            step=self.step,
            horizon=self.step,
            features={name: lag(name, "0h") for name in read},
            model=Forecaster(),
            stream=self.stream,
        ).at(self.folder)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the events that are put together, one that is never missing first."""
        names = dict.fromkeys(column for column, _ in self.values.values())
        return tuple(sorted(names, key=lambda name: self.contract.column(name).nullable))

    @model_validator(mode="after")
    def _check(self) -> Self:
        columns = {column.name: column for column in self.contract.columns}
        self.check_name()
        fields = [("time", self.time), *((f"keys[{i}]", key) for i, key in enumerate(self.keys))]
        fields += [(f"values.{name}", column) for name, (column, _) in self.values.items()]
        for where, name in fields:
            if name not in columns:
                hint = f"the contract has {', '.join(columns)}"
                raise DeclarationError(f"column {name!r} is not in the contract", where=where, hint=hint)
        if columns[self.time].type != "time":
            raise DeclarationError(f"{self.time!r} is not a time column", where="time")
        for i, key in enumerate(self.keys):
            if columns[key].type in ("time", "float"):
                hint = "a text, an integer or a boolean is one"
                raise DeclarationError(
                    f"{key!r} is a {columns[key].type}, which is no key", where=f"keys[{i}]", hint=hint
                )
        for name, (column, _) in self.values.items():
            if columns[column].type not in ("float", "integer", "boolean") or column in self.keys:
                raise DeclarationError(f"{column!r} is no number of an event", where=f"values.{name}")
        if all(columns[column].nullable for column in self.columns):
            hint = "drop nullable=True of one of its columns"
            raise DeclarationError("an event needs a value that is never missing", where="values", hint=hint)
        if self.contract.aggregates:
            hint = "say what a step's events become in values="
            raise DeclarationError("a column of an event has no aggregate of its own", where="contract", hint=hint)
        self._check_features()
        return self

    def _check_features(self) -> None:
        if not self.features:
            raise DeclarationError("there are no features", where="features")
        for name, expression in self.features.items():
            where = f"features.{name}"
            if name in (*self.keys, self.time, EVENT, "known_at", "_version"):
                raise DeclarationError(f"the group has a column {name!r} already", where=where)
            unknown = sorted(expression.columns() - set(self.values))
            if any(isinstance(node, StoredFeature) for node in expression.walk()) or unknown:
                said = unknown[0] if unknown else "a stored feature"
                hint = f"features read values=: {', '.join(self.values)}"
                raise DeclarationError(f"{said!r} is not among the values", where=where, hint=hint)
            if expression.uses_time() or place_of(expression) != ORIGIN:
                hint = 'look back from the newest step: lag(x, "0h") is its value'
                raise DeclarationError("a feature of a key is made of its past alone", where=where, hint=hint)
            for node in expression.walk():
                for field in ("by", "window"):
                    if isinstance(length := getattr(node, field, None), timedelta):
                        steps_of(length, self.step, where=where)
