"""The features of a system: named expressions, versioned by the digest of their definition."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from headrace.errors import DeclarationError, FeatureError
from headrace.features.expression import ORIGIN, CompileTarget, Expression, Operand, as_expression, from_dict
from headrace.features.history import HistoryPrimitive, StepAhead
from headrace.features.place import place_of
from headrace.features.row import Col, Literal
from headrace.features.scaling import bind, renamed, unscaled
from headrace.features.stored import StoredFeature

if TYPE_CHECKING:
    import polars as pl


class Features(Mapping[str, Expression]):
    """Names to expressions, in order. Immutable; `digest` is its version."""

    def __init__(self, items: Mapping[str, Operand] | Iterable[tuple[str, Operand]] = ()) -> None:
        self._items = {name: as_expression(value) for name, value in dict(items).items()}
        self._checked: tuple[object, ...] | None = None

    def __getitem__(self, name: str) -> Expression:
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __or__(self, other: Mapping[str, Operand]) -> Features:
        return Features(self._items | dict(other))

    def __repr__(self) -> str:
        return f"Features({', '.join(self._items)})"

    def at(self, step: timedelta) -> Features:
        """The features for a system of this step: the same ones, unless they were declared for whatever step it has."""
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Feature names in order."""
        return tuple(self._items)

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """Expressions in the order of the names."""
        return tuple(self._items.values())

    @property
    def digest(self) -> str:
        """Version of the definition: 12 hex digits, equal for equal names, order and trees."""
        text = json.dumps(self.as_list(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def lookback(self) -> timedelta:
        """How far before an origin the oldest value lies that any feature reads."""
        return max((e.lookback() for e in self.expressions), default=timedelta())

    def columns(self) -> frozenset[str]:
        """Columns that the features read."""
        return frozenset().union(*(e.columns() for e in self.expressions))

    def stored(self) -> tuple[StoredFeature, ...]:
        """What is looked up for a row, each once, in order."""
        nodes = (node for e in self.expressions for node in e.walk() if isinstance(node, StoredFeature))
        return tuple({node.column: node for node in nodes}.values())

    def renamed(self, names: Mapping[str, str]) -> Features:
        """The features over columns of other names."""
        return Features({name: renamed(e, names) for name, e in self._items.items()})

    def bind(self, level: Expression, scale: Expression) -> Features:
        """The features with every `scaled` filled in: less the level, in units of the scale."""
        return Features({name: bind(e, level, scale) for name, e in self._items.items()})

    def at_origin(self) -> Features:
        """The features that belong to the origin alone, in the target's own unit: what a series looks like there."""
        plain = {name: unscaled(e) for name, e in self._items.items()}
        return Features({name: e for name, e in plain.items() if place_of(e) == ORIGIN})

    def as_list(self) -> list[list[Any]]:
        """JSON-ready definition, in order; `from_list` reads it back."""
        return [[name, e.as_dict()] for name, e in self._items.items()]

    @classmethod
    def from_list(cls, data: list[list[Any]]) -> Features:
        """The features that `as_list` described."""
        return cls([(name, from_dict(tree)) for name, tree in data])

    def over(self, frame: pl.DataFrame, table: CompileTarget) -> pl.DataFrame:
        """The features of every row of a table, one column a feature.

        Args:
            frame: Rows with the columns that the features read. For features over history every series must be one
                contiguous run of regular steps in time order.
            table: What the expressions need to know of it.

        Raises:
            FeatureError: A feature cannot be computed; names it.
        """
        import polars as pl

        try:
            return frame.select([e.compile(table).alias(name) for name, e in self._items.items()])
        except pl.exceptions.PolarsError as error:
            raise FeatureError(f"a feature cannot be computed: {error}", where=self._culprit(frame, table)) from error

    def _culprit(self, frame: pl.DataFrame, table: CompileTarget) -> str:
        import polars as pl

        for name, expression in self._items.items():
            try:
                frame.head(1).select(expression.compile(table))
            except pl.exceptions.PolarsError:
                return f"features.{name}"
        return "features"

    def check(self, columns: frozenset[str], *, known_future: frozenset[str] | None, step: timedelta | None) -> None:
        """Refuse features that read unknown columns or, in a system that forecasts, would see the future.

        Args:
            columns: Columns of the contract.
            known_future: Columns whose value at the target time is known at the origin; None when the system does
                not forecast.
            step: The system's step.

        Raises:
            DeclarationError: Names the feature.
        """
        arguments = columns, known_future, step
        if arguments == self._checked:  # configuration makes a system anew, with the same features
            return
        for name, expression in self._items.items():
            where = f"features.{name}"
            if isinstance(expression, Literal) and isinstance(expression.value, str):
                message = f"the text {expression.value!r} is the same for every row"
                raise DeclarationError(message, where=where, hint=f'write col("{expression.value}") for the column')
            looked_up = {node.column for node in expression.walk() if isinstance(node, StoredFeature)}
            unknown = sorted(expression.columns() - columns - looked_up)
            if unknown:
                raise DeclarationError(
                    f"column {unknown[0]!r} is not in the contract",
                    where=where,
                    hint=f"the contract has {', '.join(sorted(columns))}",
                )
            if known_future is None:
                _refuse_history(expression, where)
            else:
                _refuse_stored(looked_up, where)
                _refuse_future(expression, known_future, where)
                _compile_once(expression, step, where)
        self._checked = arguments


def _refuse_history(expression: Expression, where: str) -> None:
    if any(isinstance(node, HistoryPrimitive | StepAhead) for node in expression.walk()):
        raise DeclarationError(
            "a feature over history needs a system that forecasts",
            where=where,
            hint="declare time=, step= and horizon=",
        )


def _refuse_stored(looked_up: set[str], where: str) -> None:
    if looked_up:
        raise DeclarationError(
            "a stored feature is looked up for a row",
            where=where,
            hint="make it a column of the contract, or use it in a system without a horizon",
        )


def _refuse_future(expression: Expression, known_future: frozenset[str], where: str) -> None:
    """A column outside every lag or window is read at the target time, which lies after the origin."""
    if isinstance(expression, HistoryPrimitive):
        return
    if isinstance(expression, Col) or not any(True for _ in expression.children()):
        future = sorted(expression.columns() - known_future)
        if future:
            raise DeclarationError(
                f"sees the future: {future[0]!r} at the target time is not known at the forecast origin",
                where=where,
                hint=f"use lag({future[0]!r}, '0h') for its newest value, or declare the column known_future=True",
            )
    for child in expression.children():
        _refuse_future(child, known_future, where)


def _compile_once(expression: Expression, step: timedelta | None, where: str) -> None:
    try:
        bind(expression, Literal(0.0), Literal(1.0)).compile(
            CompileTarget(time="time", step=step, ahead=1, years=(2000, 2000))
        )
    except DeclarationError as error:
        raise DeclarationError(error.message, where=where, hint=error.hint) from error
