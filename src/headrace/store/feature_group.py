"""`FeatureGroup`: feature rows of one kind, by key and event time, with everything ever known about them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from headrace.errors import NotFoundError, UsageError
from headrace.store import failures
from headrace.store.delta import Table
from headrace.store.store import Store
from headrace.store.written import Written

if TYPE_CHECKING:
    import polars as pl

    from headrace.store.online import Online

_FILE = re.compile(r"[^/]+/features-(.+)\.json")


class FeatureGroup:
    """Features computed together. Rows are facts: (keys, time) says of what, ``known_at`` since when.

    Args:
        store: Where the rows are.
        system: The system it belongs to.
        name: Its name; the table is ``features-<name>``.
        keys: Columns that say what a row describes; values may be null.
        time: The event-time column, Datetime with a time zone.
        columns: Feature columns and their polars types.
        definition: What computes the features, as text or a digest of it: another definition is another
            version of every view over the group.
        online: How many of a key's newest event times can be looked up in ``store.online``: 1 for the latest values,
            more for the history that lags need, 0 for none.

    Attributes:
        fed: Its rows come from a topic: online first, and from there into the table; see `headrace.store.fed`.

    Raises:
        UsageError: A name is there twice; or the group is to be online, and the store has no online side or a column
            is of a type that it cannot hold.
    """

    def __init__(
        self,
        store: Store,
        system: str,
        name: str,
        *,
        keys: Sequence[str],
        time: str,
        columns: Mapping[str, pl.DataType],
        definition: str = "",
        online: int = 0,
    ) -> None:
        column_names = [*keys, time, "known_at", "_version", *columns]
        twice = sorted({c for c in column_names if column_names.count(c) > 1})
        if twice or not columns:
            reason = f"{twice[0]!r} is there twice" if twice else "there are no feature columns"
            raise UsageError(reason, where=f"feature group {name}")
        self.system, self.name, self.definition = system, name, definition
        self.keys, self.time, self.columns = tuple(keys), time, dict(columns)
        self.online, self.store = online, store
        self.table: Table = store.table(system, f"features-{name}")
        if online:
            _refuse_offline(self, store)

    fed = False
    _declared = False

    def __repr__(self) -> str:
        return f"FeatureGroup({self.system!r}, {self.name!r})"

    @property
    def online_side(self) -> Online:
        """Where the group is looked up by key.

        Raises:
            NotFoundError: It is not to be online.
        """
        if not self.online or self.store.online is None:
            raise NotFoundError("cannot be looked up by key", where=f"{self.system}/{self.name}", hint="say online=1")
        return self.store.online

    def write(self, frame: pl.DataFrame, *, corrected_at: datetime | None = None) -> Written:
        """Add what is new, once: writing the same frame again adds nothing.

        The table comes first, then the online side where the group is to be there. Should that fail, or the process be
        killed in between, the facts are stored and the next write brings them online, this one repeated or any other.

        Args:
            frame: keys, time, ``known_at`` (when each row's inputs were all known) and the feature columns.
            corrected_at: Where ``known_at`` is derived (event time plus a lag): the time at which differing
                values count as learned. See `Table.append`.

        Raises:
            UsageError: A column is missing, or one too many is there; or two rows of one key, time and known time
                have different values, so that none of them is what was known then.
            StoreError: A column has another type than declared, or the table cannot be written.
            OnlineUnavailableError: The table has the facts, the online side is away.
        """
        from headrace.store import schema

        order = [*self.keys, self.time, "known_at", *self.columns]
        schema.require(order, frame.columns, f"feature group {self.name}")
        schema.require(frame.columns, order, f"feature group {self.name}")
        frame = schema.conform(frame, schema.normal_types(self.columns, self.table.uri), self.table.uri)
        _refuse_contradictions(frame, [*self.keys, self.time, "known_at"], f"feature group {self.name}")
        written = self.append(frame, corrected_at=corrected_at)
        if self.online and self.store.online is not None and written.version:
            # The clock says only what may be forgotten there: no number depends on it.
            self.store.online.follow(self, now=datetime.now(UTC))
        return written

    def append(self, frame: pl.DataFrame, *, corrected_at: datetime | None = None) -> Written:
        """Add what is new to the table alone; as `write` otherwise, of a frame that is known to be good."""
        written = self.table.append(
            frame,
            identity=[*self.keys, self.time],
            compare=list(self.columns),
            window=self.time,
            corrected_at=corrected_at,
        )
        self._declare()
        return written

    def prepare(self, frame: pl.DataFrame) -> None:
        """Make the table where there is none yet, for rows like those of a frame, and leave word of the group."""
        self.table.create(frame, window=self.time, identity=[*self.keys, self.time])
        self._declare()

    def _declare(self) -> None:
        """Leave word of what the group is, for readers that know it by its name."""
        if not self._declared:
            names = {"keys": self.keys, "time": self.time, "columns": [*self.columns]}
            document = {**names, "definition": self.definition, "online": self.online}
            document |= {"fed": True} if self.fed else {}
            self.store.note(_file(self.system, self.name), json.dumps(document).encode())
            self._declared = True

    @classmethod
    def open(cls, store: Store, system: str, name: str) -> FeatureGroup:
        """The group as it was last written.

        Raises:
            NotFoundError: It was never written.
        """
        hint = "put it back from a backup, or write to the group"
        types, noted = store.table(system, f"features-{name}").schema(), store.noted(_file(system, name), hint)
        if noted is None or not types:
            raise NotFoundError(
                "there is no such feature group or view yet", where=f"{system}/{name}", hint="write to it"
            )
        with failures.intact(f"{store.uri}/{_file(system, name)}", hint):
            document = json.loads(noted)
            columns, fed = {column: types[column] for column in document.pop("columns")}, document.pop("fed", False)
            group = cls(store, system, name, columns=columns, **document)
            group.fed = fed
            return group

    @staticmethod
    def names(store: Store, system: str) -> list[str]:
        """The groups of a system that were written, sorted."""
        return [match[1] for match in map(_FILE.fullmatch, store.notes(system)) if match]

    def read(
        self,
        last: timedelta | None = None,
        *,
        as_of: datetime | None = None,
        version: int | None = None,
        columns: Sequence[str] | None = None,
    ) -> pl.DataFrame:
        """The latest values by (keys, time), ordered by time and keys: keys, time, then the feature columns.

        Args:
            last: Only rows newer than the newest known event time less this; None for all.
            as_of: Only what was known at this time, with a time zone.
            version: Logical version; None is the current one.
            columns: Feature columns; None is all of them.

        Raises:
            NotFoundError: Nothing was written yet, or there is no such version.
            UsageError: There is no such column.
        """
        import polars as pl

        picked = list(self.columns if columns is None else columns)
        where: list[pl.Expr] = []
        if last is not None:
            newest = self.table.collect(self.table.scan(version=version, as_of=as_of).select(pl.col(self.time).max()))
            where = [pl.col(self.time) > newest.item() - last] if newest.item() is not None else []
        return self.table.read(
            identity=[*self.keys, self.time],
            columns=[*self.keys, self.time, *picked],
            version=version,
            as_of=as_of,
            where=where,
            order=[self.time, *self.keys],
        )

    def versions(self) -> pl.DataFrame:
        """Logical versions, as `Table.versions` gives them."""
        return self.table.versions()

    def describe(self) -> dict[str, object]:
        """The definition, for the digest of a view: names and types, not where the rows are."""
        return {
            "system": self.system,
            "name": self.name,
            "keys": list(self.keys),
            "time": self.time,
            "columns": {name: str(dtype) for name, dtype in self.columns.items()},
            "definition": self.definition,
        }


def _file(system: str, name: str) -> str:
    return f"{system}/features-{name}.json"


def _refuse_contradictions(frame: pl.DataFrame, identity: Sequence[str], where: str) -> None:
    """Raise `UsageError` where rows of one identity differ, with how many there are and the first."""
    from headrace.store.facts import are_distinct

    if are_distinct(frame, identity):
        return
    distinct = frame.unique(maintain_order=True)
    differing = distinct.filter(distinct.select(identity).is_duplicated())
    if differing.height:
        first = ", ".join(f"{name} {value}" for name, value in differing.select(identity).row(0, named=True).items())
        cases = differing.select(identity).n_unique()
        raise UsageError(
            f"{cases} keys have different values at one time and known time; the first: {first}",
            where=where,
            hint="keep one row of each, or give the later one a later known_at",
        )


def _refuse_offline(group: FeatureGroup, store: Store) -> None:
    from headrace.store.online.records import refuse_types

    where = f"feature group {group.name}"
    if store.online is None:
        raise UsageError("the store has no online side", where=where, hint="Store(uri, online=Online(uri))")
    refuse_types(group.columns, where)
