"""`Table`: append-only facts in one Delta table. The only file that imports deltalake."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.errors import CorruptTableError, NotFoundError, UsageError, WriteConflictError
from headrace.store import commits, failures, location, panics
from headrace.store.between import Between, wanted
from headrace.store.streams import FrameStream
from headrace.store.upkeep import Upkeep
from headrace.store.witness import Witness
from headrace.store.written import Written

if TYPE_CHECKING:
    import polars as pl
    from deltalake import DeltaTable

    from headrace.store import facts
    from headrace.store.facts import AppendRule, RowParts
    from headrace.store.marks import CommitMark

_COMPACTION = "headrace.compaction"
_ATTEMPTS = 60
_LONGEST_PAUSE = 0.5


class Table:
    """Append-only facts, each with the time it became known and the logical version that brought it.

    Every row has two columns of the store's own: ``known_at`` (Datetime ``us`` UTC, given by the caller) and
    ``_version`` (Int64, stamped by the commit). A logical version n is the set of rows with
    ``_version <= n``, whatever files they are in: compaction, vacuum and log clean-up keep every version.

    The object holds no state and no open file; it may be shared by threads and pickled.

    Args:
        uri: Folder or object-store URI of the table; it need not exist yet.
        storage_options: Credentials and endpoint of the object store, never shown in errors.
        upkeep: When to compact.
        mark: Where the store notes how far the table came.
    """

    def __init__(
        self,
        uri: str | Path,
        storage_options: Mapping[str, str] | None = None,
        *,
        upkeep: Upkeep | None = None,
        mark: CommitMark | None = None,
    ) -> None:
        self.uri = location.normal(uri)
        self.upkeep = upkeep or Upkeep()
        self._options = location.options(self.uri, storage_options)
        self.witness = Witness(self.uri, self._options, mark)

    def __repr__(self) -> str:
        return f"Table({self.uri!r})"

    def exists(self) -> bool:
        """Whether the table was created. Raises `StoreError` where the storage cannot be reached."""
        return self._open() is not None

    def version(self) -> int:
        """The current logical version: 0 while there is no table or no row."""
        snapshot = self._open()
        return 0 if snapshot is None else commits.version_of(snapshot)

    def id(self) -> str:
        """What tells this table from another one that is made under its name later; empty while there is none."""
        snapshot = self._open()
        return "" if snapshot is None else str(snapshot.metadata().id)

    def schema(self) -> dict[str, pl.DataType]:
        """Column types, ``known_at`` and ``_version`` included; empty while there is no table."""
        snapshot = self._open()
        return {} if snapshot is None else self._schema_of(snapshot)

    def versions(self) -> pl.DataFrame:
        """All logical versions, oldest first: ``version`` (Int64), ``committed_at`` (UTC), ``rows`` (Int64).

        ``committed_at`` is null for commits older than the log is kept (`Upkeep.keep_log`).
        """
        import polars as pl

        snapshot = self._open()
        schema = {"version": pl.Int64(), "committed_at": pl.Datetime("us", "UTC")}
        if snapshot is None:
            return pl.DataFrame(schema={**schema, "rows": pl.Int64()})
        with self._failures():
            times = [
                (int(entry[commits.VERSION_KEY]), datetime.fromtimestamp(entry["timestamp"] / 1000, UTC))
                for entry in snapshot.history()
                if commits.VERSION_KEY in entry
            ]
        counted = self._scan(snapshot).group_by(pl.col("_version").alias("version"))
        rows = self.collect(counted.agg(pl.len().cast(pl.Int64).alias("rows")))
        log = pl.DataFrame(times, schema=schema, orient="row")
        return rows.join(log, on="version", how="left").select("version", "committed_at", "rows").sort("version")

    def append(
        self,
        rows: pl.DataFrame,
        *,
        identity: Sequence[str],
        compare: Sequence[str],
        window: str,
        corrected_at: datetime | None = None,
        part: RowParts | None = None,
        awaited: str | None = None,
    ) -> Written:
        """Add what is new in `rows`, and nothing else: sending the same rows again adds nothing.

        Safe with any number of processes at once: the loser of a race looks again at what is new by then. The rows
        are durable when this returns; killed at any moment, either all of the version is there or nothing of it. New
        columns widen the table (earlier rows read null there); columns that the rows lack are null. The first append
        creates the table.

        Args:
            rows: Facts with ``known_at``, `identity`, `compare`, `window` and any further columns.
            identity: What a fact is about; may hold nulls, which equal one another.
            compare: The values: a fact that repeats them says nothing new.
            window: A column that never changes between the facts of one identity: its event time, or a key where
                there is none. Only stored facts between its least and greatest value in `rows` are looked at.
            corrected_at: None where rows carry their own known time: each is compared with the fact known before it.
                A time T where the source has none and ``known_at`` is derived: then a row is compared with what was
                known at T, and one that differs is a correction known from T on.
            part: With `corrected_at`, where rows tell a part of what there is to know: see `facts.RowParts`.
            awaited: One of `compare` that is not known yet where it is missing: a row without it has the value that
                was known before, and stored facts without it that are known after a new value get it.

        Raises:
            UsageError: A named column is missing, or `corrected_at` has no time zone.
            StoreError: A column cannot be stored or has another type than the table's, no space, no access.
            CorruptTableError: A file of the table is missing or damaged.
            WriteConflictError: Other writers won every race.
        """
        from headrace.store import facts, schema

        schema.require([*identity, *compare, window, "known_at"], rows.columns, self.uri)
        if not identity:
            raise UsageError("a fact needs at least one identity column", where=self.uri)
        if corrected_at is not None:
            corrected_at = location.instant(corrected_at, "corrected_at")
        schema.conform(rows, None, self.uri)
        schema.require_time("known_at", rows.schema["known_at"], self.uri)
        if window not in identity or rows.schema[window].is_temporal():
            schema.require_time(window, rows.schema[window], self.uri)
        for column in (window, "known_at"):
            schema.require_filled(rows, column, self.uri)
        if rows.is_empty():
            return Written(self.version(), 0, 0)
        rule = facts.AppendRule(corrected_at, part, awaited)
        for attempt in range(_ATTEMPTS):
            written = self._try_append(rows, identity, compare, window, rule)
            if written is not None:
                return written
            time.sleep(random.uniform(0.25, 1.0) * min(_LONGEST_PAUSE, 0.004 * 2 ** min(attempt, 10)))
        raise WriteConflictError(
            f"other writers won the race {_ATTEMPTS} times in a row",
            where=self.uri,
            hint="write in fewer, larger appends",
        )

    def _try_append(
        self, rows: pl.DataFrame, identity: Sequence[str], compare: Sequence[str], window: str, rule: AppendRule
    ) -> Written | None:
        """One attempt against a fresh snapshot; None when another writer was first."""
        import polars as pl

        from headrace.store import facts, schema

        snapshot = self._open(write=True) or self._create(schema.conform(rows, None, self.uri), window, identity)
        table_schema, version = self._schema_of(snapshot), commits.version_of(snapshot)
        rows = schema.conform(rows, table_schema, self.uri)
        # Of many rows the news are found while those before are written, by a snapshot that the writer does not hold.
        opened = snapshot if rows.height <= facts.PART else self._open()
        if opened is None or opened.version() != snapshot.version():
            return None
        news = facts.NewRows()
        new = self._news(opened, rows, identity, compare, window, rule, news)
        parts = (schema.stamp(pl.concat(each), version + 1, window, identity) for each in new)
        first = next(parts, None)
        if first is None:
            return Written(version, 0, rows.height)
        widened = bool(set(first.columns) - {*table_schema, facts.VERSION})
        if not self._commit(snapshot, FrameStream(first, parts), version + 1, widened):
            return None
        self._tidy(snapshot)
        return Written(version + 1, news.new, rows.height - news.new, news.restated)

    def create(self, rows: pl.DataFrame, *, window: str, identity: Sequence[str]) -> None:
        """See to it that the table is there, with the columns of these rows, of which none is added."""
        from headrace.store import schema

        empty = schema.conform(rows.clear(), None, self.uri)
        while (opened := self._open(write=True) or self._create(empty, window, identity)) is not None:
            version = commits.version_of(opened) + 1
            first = schema.stamp(empty, version, window, identity)
            if set(first.columns) <= {*self._schema_of(opened)} or self._commit(
                opened, FrameStream(first, iter(())), version, True
            ):
                return

    def news(
        self,
        rows: pl.DataFrame,
        *,
        identity: Sequence[str],
        compare: Sequence[str],
        window: str,
        corrected_at: datetime | None = None,
        part: RowParts | None = None,
        awaited: str | None = None,
    ) -> pl.DataFrame:
        """Those of the rows that `append` would add now; arguments and errors are its own, but nothing is written."""
        import polars as pl

        from headrace.store import facts, schema

        snapshot = self._open()
        if snapshot is None or rows.is_empty():
            return rows
        rows = schema.conform(rows, self._schema_of(snapshot), self.uri)
        rule = facts.AppendRule(corrected_at, part, awaited)
        new = self._news(snapshot, rows, identity, compare, window, rule, facts.NewRows())
        return pl.concat([rows.clear(), *(own for own, _ in new)])

    def _news(
        self,
        snapshot: DeltaTable,
        rows: pl.DataFrame,
        identity: Sequence[str],
        compare: Sequence[str],
        window: str,
        rule: AppendRule,
        news: facts.NewRows,
    ) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        """The rows that say something new, counted, in parts by `window`, each with stored facts that it completes."""
        from headrace.store import facts

        for some in facts.in_parts(rows, window):
            existing = self._facts_between(snapshot, some, [*identity, *compare], window)
            new = rule.news(existing, some, identity, compare)
            news.new += new.height
            news.restated += facts.restated(existing, new, identity)
            if not new.is_empty():
                yield new, rule.again(existing, new, identity)

    def scan(
        self,
        *,
        version: int | None = None,
        as_of: datetime | None = None,
        where: pl.Expr | None = None,
        between: Between | None = None,
    ) -> pl.LazyFrame:
        """All facts, corrected ones included, lazily: files and row groups outside the filters are not read.

        Collect it with `collect`, which tells failures in the framework's errors.

        Args:
            version: Only facts of logical versions up to this one; None is the version current now.
            as_of: Only facts known at this time.
            where: Any filter over single facts.
            between: Another one.

        Raises:
            NotFoundError: There is no such table or version.
            UsageError: `as_of` has no time zone.
        """
        import polars as pl

        snapshot = self._open()
        if snapshot is None:
            raise NotFoundError("there is no such table yet", where=self.uri)
        if version is not None and not 0 <= version <= (newest := commits.version_of(snapshot)):
            raise NotFoundError(f"there is no version {version}", where=self.uri, hint=f"the newest is {newest}")
        known_by = None if as_of is None else location.instant(as_of, "as_of")
        lazy = self._scan(snapshot, between, version, known_by)
        if version is not None:
            lazy = lazy.filter(pl.col("_version") <= version)
        if known_by is not None:
            lazy = lazy.filter(pl.col("known_at") <= pl.lit(known_by, pl.Datetime("us", "UTC")))
        return lazy if where is None else lazy.filter(where)

    def read(
        self,
        *,
        identity: Sequence[str],
        columns: Sequence[str] | None = None,
        version: int | None = None,
        as_of: datetime | None = None,
        where: pl.Expr | Sequence[pl.Expr] = (),
        fixed: Sequence[str] = (),
        between: Between | None = None,
        order: Sequence[str] | None = None,
    ) -> pl.DataFrame:
        """The latest fact of every identity, by (known_at, _version).

        Args:
            identity: What a fact is about, as given to `append`.
            columns: Columns of the result; None is all of them.
            version: Logical version to read; None is the current one.
            as_of: Only what was known at this time.
            where: Filters. One that looks at `identity` and `fixed` columns only is applied while reading,
                and files outside it are skipped; any other is applied to the latest facts, since earlier it
                would bring back facts that a correction replaced. Give them apart, not joined by ``&``.
            fixed: Columns that never change between the facts of one identity, such as its event time.
            between: A range of such a column.
            order: Columns to sort by. None: by `identity`, so equal arguments give equal frames. Empty: as
                it comes.

        Raises:
            NotFoundError: There is no such table or version.
            UsageError: There is no such column.
            CorruptTableError: A file of the table is missing or damaged.
        """
        import polars as pl

        from headrace.store import facts, schema

        lazy = self.scan(version=version, as_of=as_of, between=between)
        column_names = lazy.collect_schema().names()
        names = list(columns) if columns is not None else column_names
        filters = [where] if isinstance(where, pl.Expr) else list(where)
        early = [f for f in filters if {*f.meta.root_names()} <= {*identity, *fixed}]
        after = [f for f in filters if not {*f.meta.root_names()} <= {*identity, *fixed}]
        sorting = list(identity if order is None else order)
        used = [*identity, *names, *sorting, *(c for f in filters for c in f.meta.root_names())]
        schema.require(used, column_names, self.uri)
        lazy = lazy.filter(*early) if early else lazy
        frame = facts.latest(self.collect(lazy.select(*dict.fromkeys([*used, "known_at", "_version"]))), identity)
        frame = frame.filter(*after) if after else frame
        frame = frame.sort(sorting, maintain_order=True) if sorting else frame
        return frame.select(names)

    def collect(self, lazy: pl.LazyFrame) -> pl.DataFrame:
        """Collect a frame made from `scan`. Raises `CorruptTableError` and `StoreError`, as `read` does."""
        with self._failures():
            return lazy.collect()

    def compact(self) -> bool:
        """Merge small files, write a checkpoint, delete replaced files and log entries past their keeping.

        Every logical version stays readable. False when another process compacted at the same time.

        Raises:
            NotFoundError: There is no such table.
            CorruptTableError: A file of the table is missing or damaged.
        """
        snapshot = self._open()
        if snapshot is None:
            raise NotFoundError("there is no such table yet", where=self.uri)
        return self._compact(snapshot)

    def _compact(self, snapshot: DeltaTable) -> bool:
        with self._failures(), panics.hidden(self.uri):
            if not self._merge(snapshot):
                return False
            snapshot.create_checkpoint()
            self.witness.keep(snapshot.version())
            hours = int(self.upkeep.keep_files.total_seconds() // 3600)
            snapshot.vacuum(hours, dry_run=False, enforce_retention_duration=False)
            snapshot.cleanup_metadata()
            self.witness.forget(set(self.files()["path"]))
        return True

    def _merge(self, snapshot: DeltaTable) -> bool:
        """Write the rows of the small files anew, in order of version; False when another process was first.

        Not by the library's own compaction: of two that start from one snapshot both commit, and every row
        is there twice (deltalake 1.6.6 neither sees that conflict nor writes application transactions
        there). Replacing a range of versions does both.
        """
        import polars as pl
        from deltalake import write_deltalake
        from deltalake.exceptions import CommitFailedError

        first, count, _ = commits.unmerged(snapshot)
        if count < 2:
            return True
        last, turn = commits.version_of(snapshot), (snapshot.transaction_version(_COMPACTION) or 0) + 1
        small, spans = self._scan(snapshot), commits.spans(snapshot, first, commits.ROW_GROUP)

        def rows(span: tuple[int, int]) -> pl.DataFrame:
            part = self.collect(small.filter(pl.col("_version").is_between(*span)))
            return part.sort("_version", maintain_order=True)

        stream = FrameStream(rows(spans[0]), map(rows, spans[1:]))
        try:
            with stream.told():
                write_deltalake(
                    snapshot,
                    stream.reader(),
                    mode="overwrite",
                    predicate=f"_version >= {first} AND _version <= {last}",
                    target_file_size=commits.FILE_SIZE,
                    writer_properties=commits.writer(stream.schema),
                    commit_properties=commits.properties(_COMPACTION, turn),
                )
        except CommitFailedError as error:
            if not failures.lost_race(error):
                raise
            return False
        return True

    def _tidy(self, snapshot: DeltaTable) -> None:
        """Compact when an append left many small files, or enough for a large one. Looks at the log in memory only."""
        _, count, size = commits.unmerged(snapshot)
        if count >= self.upkeep.small_files or (count > 1 and size >= commits.ENOUGH):
            self._compact(snapshot)

    def _open(self, *, write: bool = False) -> DeltaTable | None:
        """The table as it is now; None where there is none.

        Raises:
            CorruptTableError: It is behind the records of its own commits, or one of them is empty. An object store,
                which loses none, is asked only before something is written.
        """
        looked = write or location.is_local(self.uri)
        with self._failures():
            recorded = self.witness.recorded() if looked else -1  # first: another process may commit meanwhile
            wrong = self.witness.unsound()
        if wrong is not None:
            raise wrong
        with self._failures():
            snapshot = commits.opened(self.uri, self._options)
        current = -1 if snapshot is None else snapshot.version()
        if current < recorded:
            raise self.behind(recorded, current)
        return snapshot

    def behind(self, recorded: int, there: int) -> CorruptTableError:
        """The error for a table whose log ends at `there`, though commits up to `recorded` were made."""
        mark = self.witness.mark
        return failures.behind(self.uri, recorded, there, None if mark is None else mark.where)

    def files(self) -> pl.DataFrame:
        """The table's data files: ``path size_bytes num_records``, each with its ``first`` and ``last`` version.

        A path is below the table's folder. Empty without a table.
        """
        import polars as pl

        snapshot, numbers = self._open(), ("size_bytes", "num_records", "first", "last")
        if snapshot is None:
            return pl.DataFrame(schema={"path": pl.String} | dict.fromkeys(numbers, pl.Int64))
        actions = pl.DataFrame(snapshot.get_add_actions(flatten=True))
        if actions.is_empty():
            return pl.DataFrame(schema={"path": pl.String} | dict.fromkeys(numbers, pl.Int64))
        return actions.select(
            "path", *numbers[:2], pl.col("min._version").alias("first"), pl.col("max._version").alias("last")
        )

    def drop(self, paths: Sequence[str]) -> None:
        """Take data files out of the table, by a commit of its own: their rows are gone from every version.

        For files that cannot be read any more, whose rows are to be written again. Raises `WriteConflictError` when
        another writer commits at the same time.
        """
        snapshot = self._open(write=True)
        if snapshot is not None and paths:
            with self._failures():
                self.witness.drop(snapshot.version() + 1, paths)

    def remove(self, predicate: str) -> int:
        """Take the rows that an SQL predicate holds for out of every version; returns how many there were.

        Raises `StoreError` when another writer commits something that it contradicts at the same time.
        """
        if (snapshot := self._open(write=True)) is None:
            return 0
        with self._failures(), panics.hidden(self.uri):
            deletion = snapshot.delete(predicate)
            self.witness.keep(snapshot.version())
        return int(deletion["num_deleted_rows"])

    def _create(self, rows: pl.DataFrame, window: str, identity: Sequence[str]) -> DeltaTable:
        """An empty table for rows like these, or the one that another process made meanwhile."""
        from deltalake import DeltaTable
        from deltalake.exceptions import CommitFailedError

        from headrace.store import schema

        empty = schema.stamp(rows.clear(), 0, window, identity)
        with self._failures(), panics.hidden(self.uri):
            if location.is_local(self.uri):
                Path(self.uri).mkdir(parents=True, exist_ok=True)
            try:
                DeltaTable.create(
                    location.by_url(self.uri),
                    empty.schema,  # exports the Arrow schema protocol
                    mode="ignore",
                    configuration=self.upkeep.configuration(),
                    storage_options=self._options,
                )
            except CommitFailedError as error:
                if not failures.lost_race(error):
                    raise
            self.witness.keep(0)
            return DeltaTable(location.by_url(self.uri), storage_options=self._options)

    def _commit(self, snapshot: DeltaTable, rows: FrameStream, version: int, widened: bool) -> bool:
        """Commit `rows` as logical version `version`; False when another writer was first."""
        from deltalake import PostCommitHookProperties, write_deltalake
        from deltalake.exceptions import CommitFailedError

        with self._failures(), panics.hidden(self.uri):
            try:
                with rows.told():
                    write_deltalake(
                        snapshot,
                        rows.reader(),
                        mode="append",
                        # Only when needed: it commits the schema anew, which conflicts with every other writer.
                        schema_mode="merge" if widened else None,
                        target_file_size=commits.FILE_SIZE,
                        writer_properties=commits.writer(rows.schema),
                        commit_properties=commits.properties(commits.APP, version),
                        post_commithook_properties=PostCommitHookProperties(cleanup_expired_logs=False),
                    )
            except CommitFailedError as error:
                if not failures.lost_race(error):
                    raise
                return False
            self.witness.keep(snapshot.version())
        return True

    def _facts_between(
        self, snapshot: DeltaTable, rows: pl.DataFrame, columns: Sequence[str], window: str
    ) -> pl.DataFrame:
        """Stored facts whose `window` lies within the rows' (columns + known_at + _version)."""
        import polars as pl

        lazy = self._scan(snapshot, Between(window, rows[window].min(), rows[window].max()))
        names = set(self._schema_of(snapshot))
        column_names = dict.fromkeys([*columns, "known_at", "_version"])
        picked = [pl.col(c) if c in names else pl.lit(None, rows.schema[c]).alias(c) for c in column_names]
        return self.collect(lazy.select(picked))

    def _scan(
        self,
        snapshot: DeltaTable,
        between: Between | None = None,
        version: int | None = None,
        as_of: datetime | None = None,
    ) -> pl.LazyFrame:
        """All rows of a range; files that can hold none up to a version and a known time are not looked at."""
        import polars as pl

        with self._failures():
            files = pl.DataFrame(snapshot.get_add_actions(flatten=True))
            selected = wanted(files, between, version, as_of)
            self.witness.require(selected.select("path", "size_bytes").iter_rows())
            if between is not None and selected.is_empty():
                return pl.LazyFrame(schema=self._schema_of(snapshot))
            lazy = self._lazy(snapshot, files)
            return lazy if between is None else lazy.filter(between.holds())

    def _lazy(self, snapshot: DeltaTable, files: pl.DataFrame) -> pl.LazyFrame:
        """All rows of a snapshot. `scan_delta` goes by URLs, so a folder whose path is another URL is read by alias."""
        import polars as pl

        if not location.is_local(self.uri) or location.is_plain(self.uri):
            return pl.scan_delta(snapshot, storage_options=self._options)
        root, schema = location.alias(self.uri), self._schema_of(snapshot)
        if files.is_empty():
            return pl.LazyFrame(schema=schema)
        paths = [f"{root}/{name}" for name in files["path"]]
        return pl.scan_parquet(paths, schema=schema, missing_columns="insert", extra_columns="ignore", glob=False)

    def _schema_of(self, snapshot: DeltaTable) -> dict[str, pl.DataType]:
        import polars as pl

        return dict(pl.Schema(snapshot.schema()))  # exports the Arrow schema protocol

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Tells the storage libraries' failures in the framework's errors; anything else passes unchanged."""
        import polars as pl

        try:
            yield
        except (Exception, pl.exceptions.PanicException) as error:
            if not failures.is_storage_failure(error):
                raise
            typed = failures.translate(error, self.uri)
            panic = isinstance(error, pl.exceptions.PanicException)
            if typed.where == self.uri and (panic or isinstance(typed, CorruptTableError)):
                typed = location.damaged_file(self.uri) or typed
            raise typed from error
