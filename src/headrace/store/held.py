"""A table whose appends are held in memory: readers of it see them, nobody else does, until they are released or left.

So what depends on one another over a long stretch of time (forecasts, their scores, what follows from those) is made
at once, and stored in a few commits once it is known to stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.errors import NotFoundError
from headrace.store.delta import Table
from headrace.store.written import Written

if TYPE_CHECKING:
    import polars as pl
    from deltalake import DeltaTable

    from headrace.store.between import Between


@dataclass(frozen=True)
class HeldAppend:
    """Rows that an append would add, and how it was told to; it can be pickled.

    Attributes:
        rows: What was new, with ``known_at``, stamped with the `version` that the table would have.
        identity: As given to `Table.append`.
        compare: As given to `Table.append`.
        window: As given to `Table.append`.
        version: The logical version that they make, unless somebody else writes meanwhile.
    """

    rows: pl.DataFrame
    identity: tuple[str, ...]
    compare: tuple[str, ...]
    window: str
    version: int


class HeldTable(Table):
    """A table over another one as it is when it is first looked at, with what is appended to it in memory.

    For one thread. What others write meanwhile is not seen until it is released or left.

    Args:
        beneath: The table that is read, and that gets what is released.
    """

    def __init__(self, beneath: Table) -> None:
        super().__init__(beneath.uri, upkeep=beneath.upkeep)
        self._options, self.witness = beneath._options, beneath.witness  # noqa: SLF001  # of the same kind
        self.beneath = beneath
        self.held: list[HeldAppend] = []
        self._snapshot: DeltaTable | None = None

    def _open(self, *, write: bool = False) -> DeltaTable | None:
        """The table beneath, opened once."""
        if self._snapshot is None:
            self._snapshot = super()._open(write=write)
        return self._snapshot

    def exists(self) -> bool:
        """Whether the table was created, or holds rows."""
        return bool(self.held) or super().exists()

    def version(self) -> int:
        """The logical version that the table has once what is held is released."""
        return self.held[-1].version if self.held else super().version()

    def schema(self) -> dict[str, pl.DataType]:
        """Column types, those of held rows included."""
        types = super().schema()
        for append in self.held:
            types = dict(append.rows.schema) | types
        return types

    def append(  # type: ignore[override]  # what is held brings its own known times
        self, rows: pl.DataFrame, *, identity: Sequence[str], compare: Sequence[str], window: str
    ) -> Written:
        """Hold what is new in `rows`; arguments as of `Table.append`, for rows that carry their own known time."""
        from headrace.store import facts, schema
        from headrace.store.between import Between

        known = self.schema()
        rows = schema.conform(rows, {name: kind for name, kind in known.items() if name != facts.VERSION}, self.uri)
        version = self.version()
        if rows.is_empty():
            return Written(version, 0, 0)
        new = rows
        if known:
            lazy = self.scan(between=Between(window, rows[window].min(), rows[window].max()))
            columns = dict.fromkeys([*identity, *compare, facts.KNOWN, facts.VERSION])
            existing = self.collect(lazy.select(_picked(columns, known, rows)))
            new = facts.new_in_chain(existing, rows, identity, compare)
        if not new.is_empty():
            version += 1
            stamped = schema.stamp(new, version, window, identity)
            self.held.append(HeldAppend(stamped, tuple(identity), tuple(compare), window, version))
        return Written(version, new.height, rows.height - new.height)

    def scan(
        self,
        *,
        version: int | None = None,
        as_of: datetime | None = None,
        where: pl.Expr | None = None,
        between: Between | None = None,
    ) -> pl.LazyFrame:
        """All facts, stored and held; see `Table.scan`."""
        import polars as pl

        if not self.held:
            return super().scan(version=version, as_of=as_of, where=where, between=between)
        stored = None
        if super().exists():
            first = self.held[0].version - 1
            newest = first if version is None else min(version, first)
            stored = super().scan(version=newest, as_of=as_of, between=between)
        if version is not None and version > self.version():
            raise NotFoundError(f"there is no version {version}", where=self.uri, hint=f"newest: {self.version()}")
        lazy = pl.concat([append.rows.lazy() for append in self.held], how="diagonal_relaxed")
        if version is not None:
            lazy = lazy.filter(pl.col("_version") <= version)
        if as_of is not None:
            lazy = lazy.filter(pl.col("known_at") <= pl.lit(as_of, pl.Datetime("us", "UTC")))
        if between is not None:
            lazy = lazy.filter(between.holds())
        lazy = lazy if stored is None else pl.concat([stored, lazy], how="diagonal_relaxed")
        return lazy if where is None else lazy.filter(where)

    def take(self, appends: Sequence[HeldAppend]) -> None:
        """Hold what another process held, which saw the same table beneath and is about other facts.

        Appends that were told alike become one.
        """
        import polars as pl

        for append in appends:
            last = self.held[-1] if self.held else None
            options = (append.identity, append.compare, append.window)
            if last is not None and options == (last.identity, last.compare, last.window):
                self.held.pop()
                rows = [last.rows, append.rows.with_columns(pl.lit(last.version, pl.Int64).alias("_version"))]
                joined = pl.concat(rows, how="diagonal_relaxed")
                self.held.append(replace(last, rows=joined.sort(append.window, "known_at", maintain_order=True)))
                continue
            version = self.version() + 1
            rows_then = append.rows.with_columns(pl.lit(version, pl.Int64).alias("_version"))
            self.held.append(replace(append, rows=rows_then, version=version))

    def release(self, where: pl.Expr | None = None) -> bool:
        """Append what is held to the table beneath, and hold nothing any more.

        Args:
            where: Only rows for which it holds; the others are left.

        Returns:
            Whether the table has the version that readers of what was held were told: nobody else wrote meanwhile.

        Raises:
            StoreError: It cannot be written; what was not appended is still held.
        """
        expected = True
        while self.held:
            append = self.held[0]
            rows = append.rows.drop("_version")
            rows = rows if where is None else rows.filter(where)
            options: dict[str, Any] = {"identity": append.identity, "window": append.window}
            if not self._follow(rows, append.version, **options):  # somebody else wrote: what is new is looked for
                self.beneath.append(rows, compare=append.compare, **options)
                expected = False
            expected &= rows.height == append.rows.height
            self.held.pop(0)
        self._snapshot = None
        return expected

    def _follow(self, rows: pl.DataFrame, version: int, *, identity: Sequence[str], window: str) -> bool:
        """Store rows as a logical version, all of them new to the one before; False where that is not the newest."""
        from headrace.store import commits, schema
        from headrace.store.streams import FrameStream

        if rows.is_empty():
            return False
        snapshot = super()._open(write=True) or self._create(schema.conform(rows, None, self.uri), window, identity)
        types = self._schema_of(snapshot)
        if commits.version_of(snapshot) != version - 1:
            return False
        first = schema.stamp(schema.conform(rows, types, self.uri), version, window, identity)
        is_wider = bool(set(first.columns) - {*types})
        if not self._commit(snapshot, FrameStream(first, iter(())), version, is_wider):
            return False
        self._tidy(snapshot)
        return True

    def leave(self) -> None:
        """Forget what is held."""
        self.held.clear()
        self._snapshot = None


def _picked(columns: dict[str, None], known: dict[str, pl.DataType], rows: pl.DataFrame) -> list[pl.Expr]:
    """Columns, those that the table lacks as nulls."""
    import polars as pl

    return [pl.col(c) if c in known else pl.lit(None, rows.schema[c]).alias(c) for c in columns]
