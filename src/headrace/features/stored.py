"""A feature that is looked up: what a feature group, or a view over several, knows of the row's key."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from headrace.declaration import format_duration, parse_duration
from headrace.errors import DeclarationError
from headrace.features.expression import CodeWriter, CompileTarget, Expression, Value

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, eq=False)
class StoredFeature(Expression):
    """A stored feature by key, as it was known at the row's time.

    The value stands in a column of its own, which is put beside the row's before the features are computed: by the
    point-in-time join for a table, by a look-up of the online side for a request. Both forms then read that column.
    """

    op = "stored"
    group: str
    feature: str
    key: tuple[str, ...]
    ttl: timedelta | None = None

    @property
    def column(self) -> str:
        """The column that holds its values."""
        age = "" if self.ttl is None else f" {format_duration(self.ttl)}"
        return f"{self.group}[{','.join(self.key)}{age}].{self.feature}"

    def columns(self) -> frozenset[str]:
        return frozenset((self.column, *self.key))

    def polars(self, table: CompileTarget) -> pl.Expr:
        import polars as pl

        return pl.col(self.column)

    def emit(self, code: CodeWriter) -> Value:
        return code.column(self.column)


def stored(
    group: str, feature: str, *, key: str | tuple[str, ...], ttl: str | timedelta | None = None
) -> StoredFeature:
    """The latest known value of a stored feature; missing where there is none. For systems that score rows.

    Args:
        group: The feature group or view: ``"customers"``, or ``"shop/customers"`` for another system's.
        feature: Its column.
        key: The row's columns that hold its keys, in their order.
        ttl: How old the value may be, by event time, such as ``"30d"``; an older one is missing. A view has its own.

    Raises:
        DeclarationError: There is no key, or the duration cannot be read.
    """
    columns = (key,) if isinstance(key, str) else tuple(key)
    if not columns:
        raise DeclarationError("a look-up needs a key", where=f"stored({group!r}, {feature!r})")
    return StoredFeature(group, feature, columns, None if ttl is None else parse_duration(ttl))
