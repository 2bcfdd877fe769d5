"""The features that posted rows were logged with, as a table: to train on, and to see what a model saw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from headrace.features.served import ServedFeatures
from headrace.home import Home
from headrace.identity import decoded, features_of
from headrace.system import System

if TYPE_CHECKING:
    import polars as pl

TABLE = "logged_features"
PREFIX = "f_"
"""Before the features' names in the table: a column of its own may be called as one of them."""
_TEXTS, _NUMBERS = "t_", "n_"
"""In place of `PREFIX` where a feature of this name was of the other type before: a column has one type for ever."""


def store(system: System, home: Home, logged: pl.DataFrame) -> int:
    """Store the features of predictions that were logged with them, each once; returns how many predictions had any.

    A feature is a column, `f_NAME`: numbers (truths as 0 and 1), or texts. A model with other features widens the
    table; one that makes texts of what was numbers under the same name has them in `t_NAME`, and numbers of what was
    texts in `n_NAME`. Beside them are the row's keys, and its time where rows have one.

    Args:
        system: The declaration.
        home: Where the table is.
        logged: Rows of the predictions table.

    Raises:
        StoreError: The table cannot be written.
    """

    features_found = [features_of(text) for text in logged["inputs"]]
    places = [i for i, features in enumerate(features_found) if features is not None]
    if not places:
        return 0
    names = sorted({name for i in places for name in features_found[i] or ()})
    table = home.table(system.name, TABLE)
    schema = table.schema()
    columns = [
        c for name in names for c in _columns(name, [(features_found[i] or {}).get(name) for i in places], schema)
    ]
    about = ["id", *system.keys, "as_of", "known_at", "created_at", "model_version", "feature_version"]
    frame = logged[places].select(about).with_columns(*_times(system, logged["inputs"][places].to_list()), *columns)
    table.append(frame, identity=["id"], compare=["model_version"], window="as_of")
    return len(places)


def read(
    system: System, home: Home, rows: pl.DataFrame, *, feature_version: str, as_of: datetime, version: int
) -> ServedFeatures:
    """What rows were served with: the first that each got from features of a version.

    Args:
        system: The declaration.
        home: Where the table is; what is only logged so far is not seen.
        rows: Typed rows with the system's identity.
        feature_version: Which features.
        as_of: Only what was served by then, UTC.
        version: Of the table; 0 where there is none.

    Raises:
        StoreError: The table cannot be read.
    """
    import polars as pl

    table, identity = home.table(system.name, TABLE), system.identity
    columns = table.schema() if version else {}
    if not {*identity} <= {*columns}:  # none yet, or all from before rows' times were told
        return ServedFeatures(pl.repeat(False, rows.height, dtype=pl.Boolean, eager=True), pl.DataFrame())
    known_by = pl.lit(as_of, pl.Datetime("us", "UTC"))
    condition = (pl.col("feature_version") == feature_version) & (pl.col("created_at") <= known_by)
    names = [name for name in columns if name.startswith((PREFIX, _TEXTS, _NUMBERS)) and name not in identity]
    lazy = table.scan(version=version, as_of=as_of, where=condition).select(*identity, "created_at", "id", *names)
    first = table.collect(lazy).sort("created_at", "id").unique(identity, keep="first").drop("created_at")
    first = first.with_columns(pl.col(name).cast(rows.schema[name]) for name in identity)
    rows_found = rows.select(identity).join(first, on=identity, how="left", nulls_equal=True, maintain_order="left")
    return _served(rows_found["id"].is_not_null(), rows_found.select(names))


def _times(system: System, inputs: list[str]) -> list[pl.Series]:
    """The rows' own times, if rows have one."""
    import polars as pl

    if system.time is None:
        return []
    times = [decoded(text, {system.time: "time"})[system.time] for text in inputs]
    utc = [None if time is None else time.astimezone(UTC) for time in times]
    return [pl.Series(system.time, utc, dtype=pl.Datetime("us", "UTC"))]


def _columns(name: str, values: list[Any], schema: Mapping[str, Any]) -> Iterator[pl.Series]:
    """The values of a feature, numbers and texts apart, beside the columns that the table has."""
    import polars as pl

    texts = [value if isinstance(value, str) else None for value in values]
    numbers = [None if value is None or isinstance(value, str) else float(value) for value in values]
    first = schema.get(PREFIX + name)
    if any(value is not None for value in numbers):
        first = first or pl.Float64()
        yield pl.Series((_NUMBERS if first == pl.String else PREFIX) + name, numbers, dtype=pl.Float64)
    if any(value is not None for value in texts):
        first = first or pl.String()
        yield pl.Series((PREFIX if first == pl.String else _TEXTS) + name, texts, dtype=pl.String)


def _served(known: pl.Series, rows_found: pl.DataFrame) -> ServedFeatures:
    """What rows were served with, from the table's columns: of a feature that has two, the one that most rows have."""
    import polars as pl

    columns: dict[str, list[pl.Series]] = {}
    for column in rows_found.iter_columns():
        columns.setdefault(column.name[len(PREFIX) :], []).append(column)
    values = []
    for name, parts in columns.items():
        first_column, *rest = sorted(parts, key=lambda column: column.null_count())
        values.append(first_column.alias(name))
        for other in rest:
            known = known & other.is_null()
    return ServedFeatures(known, pl.DataFrame(values))
