"""Whether a table is what its commits wrote, and what of it can be put back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.errors import CorruptTableError, HeadraceError, StoreError
from headrace.store import failures
from headrace.store.delta import Table
from headrace.store.store import Store
from headrace.store.witness import CommitRecord

if TYPE_CHECKING:
    import polars as pl

_ABOUT_RECORDS = ("_records/", "_tables/")


@dataclass(frozen=True)
class Checked:
    """What a look at a table found.

    Attributes:
        rows: Facts in it, corrected ones included; None where they cannot be counted.
        problems: What is wrong, in words; empty for a table that is whole.
        files: Paths of data files that are gone or changed.
    """

    rows: int | None
    problems: tuple[str, ...]
    files: tuple[str, ...] = ()


def check(table: Table, *, deep: bool = False) -> Checked:
    """Compare a table with the records of its commits.

    Args:
        table: The table.
        deep: Read every file too, and compare its digest. Without it names, sizes and counts are looked at.
    """
    problems: list[str] = []
    damaged: dict[str, str] = {}
    try:
        damaged_records: list[str] = []
        records = table.witness.records(damaged_records)
        problems += [f"{path} is damaged: it records nothing any more" for path in damaged_records]
        problems += _record_problems(table, [Path(path).name for path in damaged_records])
        problems += _log_problems(table, records)
        files = table.files()
        damaged = _file_problems(table, files, records, deep)
        problems += damaged.values()
        rows = int(files["num_records"].sum())
        if deep and not damaged and files.height:
            problems += _row_problems(table, rows)
    except HeadraceError as error:
        return Checked(None, (*problems, str(error).split("\n")[0]))
    except Exception as error:
        if not failures.is_storage_failure(error) and not isinstance(error, ValueError):
            raise
        return Checked(None, (*problems, f"cannot be read: {str(error).splitlines()[0][:200]}"))
    return Checked(rows, tuple(dict.fromkeys(problems)), tuple(path for path in damaged if "_log/" not in path))


def damaged(table: Table) -> list[str]:
    """Data files of a table that are gone or have other bytes than were written."""
    sizes = dict(table.files().select("path", "size_bytes").iter_rows())
    changed = {path for record in table.witness.records() for path in table.witness.changed(record)}
    return [path for path, size in sizes.items() if path in changed or table.witness.size(path) != size]


def note_problem(store: Store, name: str) -> str | None:
    """What is wrong with a small file beside the tables, `<system>/<name>`; None where it is whole.

    Raises:
        StoreError: The storage cannot be reached.
    """
    try:
        store.noted(name)
    except CorruptTableError as error:
        return f"it does not hold what was written to it: {error.hint}"
    return None


def restore(table: Table) -> list[int]:
    """Put back commits that the log lost or that were changed, as they were written; returns their numbers.

    A newest commit that is cut off in the middle, of a writer that was killed before it told anybody, is taken away.

    Records that are gone are made again from what is there, where all of it can be read.

    Raises:
        StoreError: The storage cannot be written.
    """
    if table.witness.mark is not None:
        table.witness.mark.seal()
    if (half := table.witness.half()) is not None:
        table.witness.without_half(half)
    records = table.witness.records()
    lost = {record.commit for record in table.witness.lost(records)}
    mended = []
    for record in records:
        if record.commit in lost or _log_name(record.commit) in table.witness.changed(record):
            table.witness.restore(record)
            mended.append(record.commit)
    checkpoint = table.witness.bad_checkpoint()
    if checkpoint is not None:
        table.witness.without_checkpoint(checkpoint)
    damaged_records: list[str] = []
    table.witness.records(damaged_records)
    bad = [int(Path(path).stem) for path in damaged_records]
    if not [text for text in check(table, deep=True).problems if not text.startswith(_ABOUT_RECORDS)]:
        table.witness.record([*table.witness.unrecorded(), *(n for n in bad if table.witness.holds(n))])
    return mended


def refuse_altered(store: Store, system: str) -> None:
    """Look whether a table of a system lost its newest commit, or has another one than was written.

    Raises:
        CorruptTableError: One did, or has: what is made from it now would not be what was made before.
        StoreError: The storage cannot be reached.
    """
    for name in store.tables(system):
        table = store.table(system, name)
        try:
            recorded, committed = table.witness.recorded(), table.witness.committed()
            wrong = table.witness.unsound()
        except OSError as error:
            raise StoreError(f"cannot be listed: {error}", where=table.uri) from error
        if committed < recorded:
            raise table.behind(recorded, committed)
        if wrong is not None:
            raise wrong


def _record_problems(table: Table, damaged_records: list[str]) -> Iterator[str]:
    for commit in table.witness.unrecorded():
        if f"{commit:020}.json" not in damaged_records:
            yield f"_records/{commit:020}.json is gone: what that commit wrote cannot be checked any more"
    if table.witness.mark is not None and table.witness.recorded() >= 0 and (problem := table.witness.mark.problem()):
        yield f"{table.witness.mark.path} {problem}"


def _log_problems(table: Table, records: list[CommitRecord]) -> Iterator[str]:
    committed, recorded = table.witness.committed(), table.witness.recorded()
    if recorded > committed:
        yield f"behind its records: commit {recorded} was made, and the log ends at {committed}"
    for record in table.witness.lost(records):
        yield f"{_log_name(record.commit)} is gone"
    for commit in table.witness.altered(records):
        yield f"{_log_name(commit)} has other bytes than were written"
    if (checkpoint := table.witness.bad_checkpoint()) is not None:
        committed = table.witness.size(checkpoint) is not None
        yield f"{checkpoint} {'has other bytes than were written' if committed else 'is gone'}"


def _file_problems(table: Table, files: pl.DataFrame, records: list[CommitRecord], deep: bool) -> dict[str, str]:
    """By path, what is wrong with each file, and which rows it holds."""
    problems: dict[str, str] = {}
    holds: dict[str, str] = {}
    for path, size, rows, first, last in files.iter_rows():
        versions = f"version {first}" if first == last else f"versions {first} to {last}"
        holds[path] = f" ({rows:,} rows of {versions})"
        there = table.witness.size(path)
        if there is None:
            problems[path] = f"{path} is gone{holds[path]}"
        elif there != size:
            problems[path] = f"{path} has {there} bytes and should have {size}{holds[path]}"
    if deep:
        for path in (path for record in records for path in table.witness.changed(record)):
            if path in holds or "_log/" in path:
                problems.setdefault(path, f"{path} has other bytes than were written{holds.get(path, '')}")
    return problems


def _row_problems(table: Table, counted: int) -> Iterator[str]:
    """Read every column of every row."""
    import polars as pl

    counts = pl.len().alias("rows"), pl.all().count().name.prefix("of ")  # a column may be called rows too
    read = table.collect(table.scan().select(counts))["rows"].item()
    if read != counted:
        yield f"{read} rows where its log counts {counted}"


def _log_name(commit: int) -> str:
    return f"_delta_log/{commit:020}.json"
