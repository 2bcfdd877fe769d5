"""Rows with a target, in portions of what the raw table holds: more of them than memory should hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from headrace.errors import ModelError
from headrace.home import RAW, Home
from headrace.store.portions import read_portions
from headrace.system import System
from headrace.tasks.rows.fitting import fulfilling
from headrace.tasks.rows.lookups import Lookups
from headrace.tasks.rows.outputs.declared import model_of

if TYPE_CHECKING:
    import polars as pl


class Portion(NamedTuple):
    """Some of the rows.

    Attributes:
        rows: Those to learn from, with what is looked up for them.
        apart: How many more there were that the model's `learn_from` sets apart.
        stored: The version of every feature group that was read.
    """

    rows: pl.DataFrame
    apart: int
    stored: dict[str, int]


@dataclass(frozen=True)
class Portions:
    """The rows with a target that were known, in order of their keys, read as often as they are asked for.

    Attributes:
        system: The declaration.
        home: Where the table is.
        columns: What is read.
        as_of: What was known then.
        version: The table's.
    """

    system: System
    home: Home
    columns: tuple[str, ...]
    as_of: datetime
    version: int

    def facts(self) -> int:
        """How many facts have a target: at least as many as there are rows."""
        import polars as pl

        table = self.home.table(self.system.name, RAW)
        lazy = table.scan(version=self.version, as_of=self.as_of, where=pl.col(self.system.target).is_not_null())
        return int(table.collect(lazy.select(pl.len())).item())

    def __iter__(self) -> Iterator[Portion]:
        """Portions with rows to learn from, or that set some apart.

        Raises:
            ModelError: A feature group was written meanwhile: rows would learn from different versions.
        """
        import polars as pl

        system, stored = self.system, dict[str, int]()
        lookups = Lookups.of(system.features, system, self.home)
        for rows in read_portions(
            self.home.table(system.name, RAW),
            identity=system.identity,
            columns=self.columns,
            version=self.version,
            as_of=self.as_of,
            where=pl.col(system.target).is_not_null(),
        ):
            kept = rows.filter(fulfilling(model_of(system), rows))
            joined, versions = lookups.join(kept, self.as_of)
            stored = stored or versions
            if versions != stored:
                changed = ", ".join(name for name, version in versions.items() if version != stored.get(name))
                raise ModelError("was written while rows were read", where=changed, hint="train again")
            yield Portion(joined, rows.height - kept.height, stored)
