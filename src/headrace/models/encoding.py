"""What a model of rows sees: features as floats, with all that had to be learnt for it fitted once and kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headrace.errors import DeclarationError, FeatureError
from headrace.features.group import TargetMean
from headrace.features.text import TextColumn
from headrace.features.view import Features
from headrace.models.groups import GroupMeans
from headrace.models.rowcode import function_of

if TYPE_CHECKING:
    import polars as pl

Array = NDArray[np.float64]

NUMBER, CATEGORY, GROUP = "number", "category", "group"
_NAN = float("nan")


@dataclass(frozen=True)
class Encoder:
    """Turns feature values into floats, in a table and in a row alike. NaN is a missing value.

    Numbers and truths stay as they are; an infinite one, such as after a division by zero, is missing. A category
    becomes its place among the `levels` seen at the fit; one that was not seen is missing. The keys of a `TargetMean`
    become its fitted mean.

    Attributes:
        names: Features in order.
        roles: ``number``, ``category`` or ``group`` per feature.
        levels: The code of every category that was seen, by feature.
        groups: The fitted means, by feature.
    """

    names: tuple[str, ...]
    roles: tuple[str, ...]
    levels: Mapping[str, Mapping[str, float]]
    groups: Mapping[str, GroupMeans]

    @classmethod
    def fit(cls, features: Features, frame: pl.DataFrame, target: Array) -> Encoder:
        """The encoder of these training rows.

        Args:
            features: The definitions.
            frame: Their values, one column a feature.
            target: Shape (rows,).

        Raises:
            DeclarationError: A feature is of a kind that cannot become a number.
        """
        roles = tuple(_role(name, features[name], frame[name]) for name in frame.columns)
        levels: dict[str, Mapping[str, float]] = {}
        groups: dict[str, GroupMeans] = {}
        for name, role in zip(frame.columns, roles, strict=True):
            expression = features[name]
            if role == CATEGORY:
                seen = frame[name].drop_nulls().unique().sort().to_list()
                levels[name] = {level: float(i) for i, level in enumerate(seen)}
            elif isinstance(expression, TargetMean):
                groups[name] = GroupMeans.fit(expression, frame[name].to_list(), target)
        return cls(tuple(frame.columns), roles, levels, groups)

    @property
    def categorical(self) -> tuple[int, ...]:
        """Places of the features that hold category codes."""
        return tuple(i for i, role in enumerate(self.roles) if role == CATEGORY)

    def width(self, place: int) -> int:
        """How many levels the category at that place has."""
        return len(self.levels[self.names[place]])

    def matrix(self, frame: pl.DataFrame) -> Array:
        """Floats of many rows: shape (rows, features), C-contiguous.

        Args:
            frame: One column a feature.
        """
        return _stacked([self._column(name, frame[name]) for name in self.names])

    def matrix_of(self, columns: Iterable[Sequence[Any]]) -> Array:
        """`matrix` of columns of plain values, in the order of the names."""
        return _stacked([self._floats(name, values) for name, values in zip(self.names, columns, strict=True)])

    def training_matrix(self, frame: pl.DataFrame, target: Array) -> Array:
        """`matrix` of the very rows of the fit: each is left out of the means of its own groups."""
        columns = []
        for name in self.names:
            if name in self.groups:
                columns.append(np.array(self.groups[name].left_out(frame[name].to_list(), target)))
            else:
                columns.append(self._column(name, frame[name]))
        return _stacked(columns)

    def _column(self, name: str, values: pl.Series) -> Array:
        import polars as pl

        if name in self.levels or name in self.groups:
            return self._floats(name, values.to_list())
        return _finite_ones(values.cast(pl.Float64).fill_null(_NAN).to_numpy())

    def _floats(self, name: str, values: Sequence[Any]) -> Array:
        if name in self.groups:
            return self.groups[name].means(values)
        if name in self.levels:
            values = list(map(self.levels[name].get, values))
        return _finite_ones(np.array(values, dtype=np.float64))  # None becomes NaN

    def row(self, values: Sequence[Any]) -> list[float]:
        """Floats of one row.

        Args:
            values: Features in order, as a `RowFunction` gives them.
        """
        return self._row(values)

    @cached_property
    def _row(self) -> Callable[[Sequence[Any]], list[float]]:
        """`row` without its loop."""
        names: dict[str, Any] = {"nan": _NAN, "inf": math.inf}
        codes = []
        for place, name in enumerate(self.names):
            value = f"v{place}"
            if name in self.levels:
                names[f"get{place}"] = self.levels[name].get
                codes.append(f"get{place}({value}, nan)")
            elif name in self.groups:
                names[f"mean{place}"] = self.groups[name].mean
                codes.append(f"nan if {value} is None else mean{place}({value})")
            else:
                codes.append(f"nan if {value} is None else x if -inf < (x := float({value})) < inf else nan")
        return function_of(len(codes), (), f"[{', '.join(codes)}]", names)

    def _coder(self, name: str) -> Callable[[Any], float]:
        if name in self.groups:
            return self.groups[name].mean
        if name in self.levels:
            table = self.levels[name]
            return lambda text: table.get(text, _NAN)
        return _finite

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; `from_dict` reads it back."""
        return {
            "names": self.names,
            "roles": self.roles,
            "levels": {name: dict(table) for name, table in self.levels.items()},
            "groups": {name: group.as_dict() for name, group in self.groups.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], features: Features) -> Encoder:
        """What `as_dict` described, with the features that it belongs to."""
        groups = {}
        for name, group in data["groups"].items():
            expression = features[name]
            if not isinstance(expression, TargetMean):
                raise TypeError(f"{name} has means but is no target_mean")
            groups[name] = GroupMeans.from_dict(expression, group)
        return cls(tuple(data["names"]), tuple(data["roles"]), data["levels"], groups)


def _finite(value: Any) -> float:
    found = float(value)
    return found if math.isfinite(found) else _NAN


def _finite_ones(values: Array) -> Array:
    return np.where(np.isfinite(values), values, _NAN)


def _role(name: str, expression: Any, values: pl.Series) -> str:
    import polars as pl

    if isinstance(expression, TargetMean):
        return GROUP
    if isinstance(expression, TextColumn):
        raise DeclarationError("this model does not read free text", where=f"features.{name}", hint="use col(...)")
    if values.dtype.is_numeric() or values.dtype in (pl.Boolean, pl.Null):
        return NUMBER
    if values.dtype == pl.String:
        return CATEGORY
    raise FeatureError(f"gives {values.dtype}, which a model cannot read", where=f"features.{name}")


def _stacked(columns: list[Array]) -> Array:
    return np.ascontiguousarray(np.column_stack(columns), dtype=np.float64)
