"""The row form: features compiled to one plain Python function of one row, and to a loop over many.

A polars frame of one row costs a millisecond; the function costs microseconds. Both forms give the same values, bit for
bit: the primitives write their own lines here (`Expression.emit`), and a training compares the two on real rows before
a model is registered. A primitive without a row form still works, through a frame of one row; `RowFunction.slow` names
the features that do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headrace.errors import FeatureError
from headrace.features.expression import (
    BOOLEAN,
    FLOAT,
    INTEGER,
    NULL,
    TEXT,
    TIME,
    CompileTarget,
    Expression,
    NoRowForm,
    Value,
)

if TYPE_CHECKING:
    import polars as pl

NUMBERS = (FLOAT, INTEGER, BOOLEAN)
KIND_OF_COLUMN = {"category": TEXT}
"""Kinds of the columns whose contract type is called otherwise."""


@dataclass(frozen=True)
class RowFunction:
    """Features of one row.

    Attributes:
        call: Takes a decoded row, every contract column by name (missing ones None), and gives the features in order.
        names: The features' names.
        kinds: What each gives: ``float integer boolean text time null``.
        slow: The features that take the table's way.
        many: Takes columns of equal length by name and gives the features of every row, quicker than `call` in a loop.
            None where there are slow features or no column is read: then a table is the better way.
    """

    call: Callable[[Mapping[str, Any]], tuple[Any, ...]]
    names: tuple[str, ...]
    kinds: tuple[str, ...]
    slow: tuple[str, ...]
    many: Callable[[Mapping[str, Sequence[Any]]], list[tuple[Any, ...]]] | None


@dataclass
class Code:
    """The function being written: the `Writer` of the primitives. Nodes that occur twice are computed once.

    Attributes:
        types: Column name to contract type.
        time: The column of the row's time, if rows have one.
        columns: Column name to the variable that holds its value.
    """

    types: Mapping[str, str]
    time: str | None = None
    lines: list[str] = field(default_factory=list)
    names: dict[str, Any] = field(default_factory=dict)
    slow: set[str] = field(default_factory=set)
    columns: dict[str, str] = field(default_factory=dict)
    _done: dict[str, Value] = field(default_factory=dict)

    def value(self, node: Expression) -> Value:
        """The variable that holds a node's value."""
        known = self._done.get(node.digest)
        if known is None:
            written, memo, slow = len(self.lines), dict(self._done), set(self.slow)
            try:
                known = node.emit(self)
            except NoRowForm:
                del self.lines[written:]
                self._done, self.slow = memo, slow
                known = self._through_a_frame(node)
            self._done[node.digest] = known
        return known

    def set(self, source: str, kind: str) -> Value:
        """A new variable with the value of a Python expression over variables and constants."""
        name = f"v{len(self.lines)}"
        self.lines.append(f"{name} = {source}")
        return Value(name, kind)

    def set_if(self, names: Sequence[str], source: str, kind: str) -> Value:
        """`set`, but None where one of these names has the value None. Constants are not asked every time."""
        conditions = [f"{name} is None" for name in names if self.names.get(name) is None]
        return self.set(f"None if {' or '.join(conditions)} else {source}" if conditions else source, kind)

    def constant(self, value: Any) -> str:
        """The name of a constant. Values never enter the source as text."""
        name = f"c{len(self.names)}"
        self.names[name] = value
        return name

    def column(self, name: str) -> Value:
        """The value of a column of the row."""
        kind = self.types[name]
        variable = self.columns.setdefault(name, f"x{len(self.columns)}")
        return Value(variable, KIND_OF_COLUMN.get(kind, kind))

    def number(self, node: Expression) -> str:
        """A variable that holds a node's value as a float, or None."""
        value = self.value(node)
        if value.kind in (FLOAT, NULL):
            return value.name
        if value.kind not in NUMBERS:
            raise NoRowForm
        if self.names.get(value.name) is not None:
            return self.constant(float(self.names[value.name]))
        return self.set_if([value.name], f"float({value.name})", FLOAT).name

    def text(self, node: Expression) -> str:
        """A variable that holds a node's value as a text, as the table form writes it, or None."""
        value = self.value(node)
        if value.kind in (TEXT, NULL):
            return value.name
        known = self._done.get(f"text of {node.digest}")
        if known is None:
            written = {INTEGER: f"str({value.name})", BOOLEAN: f"'true' if {value.name} else 'false'"}.get(value.kind)
            if written is None:
                raise NoRowForm  # how a float or a time is written is for the table form alone to say
            known = self._done[f"text of {node.digest}"] = self.set_if([value.name], written, TEXT)
        return known.name

    def _through_a_frame(self, node: Expression) -> Value:
        import polars as pl

        schema = {name: dtype_of(self.types[name]) for name in _read(node, self.time)}
        table = CompileTarget(time=self.time)
        try:
            dtype = pl.DataFrame(schema=schema).select(node.compile(table).alias("value")).schema["value"]
        except pl.exceptions.PolarsError as error:
            raise FeatureError(f"cannot be computed for a row: {error}", where=node.op) from error
        expression = node.compile(table).alias("value")

        def evaluate(row: Mapping[str, Any]) -> Any:
            one = pl.DataFrame({name: [row[name]] for name in schema} or {"": [None]}, schema=schema or {"": pl.Null})
            return one.select(expression)["value"][0]

        self.slow.add(node.digest)
        return self.set(f"{self.constant(evaluate)}(row)", kind_of(dtype))


def compile_row(
    features: Mapping[str, Expression], types: Mapping[str, str], *, time: str | None = None
) -> RowFunction:
    """The features as one function of one row.

    Args:
        features: Names to expressions over single rows.
        types: Contract type of every column that they read.
        time: The column of the row's time, for calendars.

    Raises:
        FeatureError: A feature cannot be computed at all; names it.
    """
    code, values, slow = Code(types, time), [], []
    for name, expression in features.items():
        try:
            values.append(code.value(expression))
        except FeatureError as error:
            raise FeatureError(error.message, where=f"features.{name}", hint=error.hint) from error
        if any(node.digest in code.slow for node in expression.walk()):
            slow.append(name)
    result = f"({''.join(f'{v.name}, ' for v in values)})"
    loop = _loop(code, result) if code.columns and not slow else None
    return RowFunction(_function(code, result), tuple(features), tuple(v.kind for v in values), tuple(slow), loop)


def _function(code: Code, result: str) -> Callable[..., Any]:
    reads = [f"{variable} = row[{code.constant(name)}]" for name, variable in code.columns.items()]
    body = "".join(f"    {line}\n" for line in [*reads, *code.lines])
    return _made(f"def features(row):\n{body}    return {result}\n", code)


def _loop(code: Code, result: str) -> Callable[..., Any]:
    columns = ", ".join(f"columns[{code.constant(name)}]" for name in code.columns)
    body = "".join(f"        {line}\n" for line in code.lines)
    return _made(
        f"def features(columns):\n    rows = []\n    for {''.join(f'{x}, ' for x in code.columns.values())} in "
        f"zip({columns}, strict=True):\n{body}        rows.append({result})\n    return rows\n",
        code,
    )


def _made(source: str, code: Code) -> Callable[..., Any]:
    namespace = dict(code.names)
    # The source holds nothing but names made above and the primitives' own templates.
    exec(compile(source, "<features>", "exec"), namespace)  # noqa: S102
    function: Callable[..., Any] = namespace["features"]
    return function


def _read(node: Expression, time: str | None) -> list[str]:
    return sorted(node.columns() | ({time} if time is not None and node.uses_time() else set()))


def dtype_of(kind: str) -> pl.DataType:
    """The polars type of a column of a contract's type."""
    import polars as pl

    dtypes: dict[str, pl.DataType] = {
        "float": pl.Float64(),
        "integer": pl.Int64(),
        "boolean": pl.Boolean(),
        "time": pl.Datetime("us", "UTC"),
    }
    return dtypes.get(kind, pl.String())


def kind_of(dtype: pl.DataType) -> str:
    """The kind of a polars type's values.

    Raises:
        FeatureError: They are of none.
    """
    import polars as pl

    if dtype.is_float():
        return FLOAT
    if dtype.is_integer():
        return INTEGER
    for kind, known in ((BOOLEAN, pl.Boolean), (TEXT, pl.String), (TIME, pl.Datetime)):
        if dtype == known:
            return kind
    raise FeatureError(f"gives {dtype}, which is neither a number, a truth nor a text")
