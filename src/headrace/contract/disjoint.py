"""Rows without event times in parts: arranged anew so that rows which may be duplicates stand in one part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.contract.absent import with_absent
from headrace.contract.declared import Contract
from headrace.contract.naming import under_names
from headrace.contract.parse import parse_columns

if TYPE_CHECKING:
    import polars as pl

AT_ONCE = 200_000
"""Bounds memory."""
_HASH = ":keys"


def by_keys(
    contract: Contract, frames: Iterable[pl.DataFrame], keys: tuple[str, ...], folder: Path, at_once: int = AT_ONCE
) -> Iterator[pl.DataFrame]:
    """The rows of all frames, in frames of which no two have typed keys in common.

    Rows whose keys are in one frame alone stay there, in their order; the others follow, those of one key
    together and in their order. Until all frames have come their rows are in files; of each a hash is in memory.

    Args:
        contract: What the rows must look like.
        frames: The rows as they came, with declared names.
        keys: What tells rows from one another.
        folder: For the files; whoever made it deletes it.
        at_once: Rows with keys of other frames that stand in one part, about.
    """
    import polars as pl

    paths, hashes = list[Path](), list[pl.Series]()
    for place, frame in enumerate(frames):
        hashed = _hashes(contract, frame, keys)
        paths.append(folder / f"came-{place}.arrow")
        frame.with_columns(hashed).write_ipc(paths[-1], compression="uncompressed")
        hashes.append(hashed.drop_nulls().unique())
    every = pl.concat(hashes)
    common = every.filter(every.is_duplicated()).unique()
    moved = 0
    for path in paths:
        frame = read_frame(path)
        stays = ~frame[_HASH].is_in(common.implode()).fill_null(False)
        moved += frame.height - int(stays.sum())
        yield frame.filter(stays).drop(_HASH)
    groups = -(-moved // at_once)
    for group in range(groups):
        some = common.filter(common % groups == group)
        parts = [frame.filter(frame[_HASH].is_in(some.implode())) for frame in map(read_frame, paths)]
        yield pl.concat(parts, how="diagonal_relaxed").drop(_HASH)


def read_frame(path: Path) -> pl.DataFrame:
    """A frame that was written to a file of Arrow, in memory of its own."""
    import polars as pl

    return pl.read_ipc(path)


def _hashes(contract: Contract, frame: pl.DataFrame, keys: tuple[str, ...]) -> pl.Series:
    """A number of the typed keys of each row; null where one is missing that may not be: such a row is bad anyway."""
    import polars as pl

    frame, _ = with_absent(contract.columns, under_names(frame, contract.names), ())
    columns = [contract.column(key) for key in keys]
    values = pl.DataFrame([parsed.values for parsed in parse_columns(columns, frame, keys)])
    needed = [pl.col(column.name).is_not_null() for column in columns if not column.nullable]
    hashed = values.hash_rows().alias(_HASH)
    return values.select(pl.when(pl.all_horizontal(True, *needed)).then(hashed)).to_series().alias(_HASH)
