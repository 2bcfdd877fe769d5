"""Conditions on stored rows that were given as texts: each text is read as a value of its column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from headrace.contract.value import value_of
from headrace.errors import NotFoundError, UsageError
from headrace.home import PREDICTIONS, Home
from headrace.lineage import ANSWERED, CANARY
from headrace.system import System

if TYPE_CHECKING:
    import polars as pl

    from headrace.store import Table


def conditions(types: Mapping[str, pl.DataType], where: Mapping[str, str]) -> list[pl.Expr]:
    """Expressions of which all hold for the rows that have these values.

    Args:
        types: The columns that there are, with their types.
        where: Column to text; see `value_of`. An empty text is a missing value too.

    Raises:
        UsageError: There is no such column, or a text is no value of its column.
    """
    import polars as pl

    found = []
    for name, text in where.items():
        if name not in types:
            raise NotFoundError(f"no column {name!r}", where="--where", hint=f"there are {', '.join(types)}")
        try:
            value = value_of(text, types[name])
        except ValueError as error:
            raise UsageError(str(error), where=f"--where {name}", hint=f"{name} is {types[name]}") from error
        column = pl.col(name).cast(pl.String) if isinstance(value, str) else pl.col(name)
        matching = column == pl.lit(value)
        found.append(matching.fill_null(True) if value == "" else column.is_null() if value is None else matching)
    return found


def refuse_unknown(system: System, home: Home, where: Mapping[str, str]) -> None:
    """Tell a series, or a row, that never was from one without the predictions that were asked for.

    Raises:
        NotFoundError: No fact and no prediction has these keys.
    """
    keys = {name: text for name, text in where.items() if name in system.keys}
    tables = (home.raw(system), home.table(system.name, PREDICTIONS))
    if keys and not any(_has(table, keys) for table in tables):
        raise no_series(system, list(keys.values()))


def no_series(system: System, key: Sequence[str]) -> NotFoundError:
    """The error of a key that no fact and no prediction has."""
    subject = "series" if system.forecasts else "row"
    return NotFoundError(f"{system.name} has no {subject} {', '.join(key)}"[:200])


def _has(table: Table, keys: Mapping[str, str]) -> bool:
    if not table.exists():
        return False
    lazy = table.scan()
    types = dict(lazy.collect_schema())
    if not keys.keys() <= types.keys():
        return False
    return table.collect(lazy.filter(*conditions(types, keys)).select(list(keys)).head(1)).height > 0


def newest_time(system: System, home: Home, as_of: datetime, where: pl.Expr | None = None) -> datetime | None:
    """The newest event time that is stored and was known; of those facts that hold, where that is asked."""
    import polars as pl

    table = home.raw(system)
    if system.time is None or not table.exists():
        return None
    known = table.scan(as_of=as_of)
    known = known if where is None else known.filter(where)
    newest: datetime | None = table.collect(known.select(pl.col(system.time).max())).item()
    return newest


def none_yet(system: str, role: str, hint: str) -> NotFoundError:
    """The error for predictions of a role that there are none of; the hint is for those that were answered."""
    if role == ANSWERED:
        return NotFoundError("no predictions yet", where=system, hint=hint)
    share = "=SHARE" if role == CANARY else ""
    return NotFoundError(
        f"no {role} has said anything yet", where=system, hint=f"headrace serve {system} --{role} VERSION{share}"
    )
