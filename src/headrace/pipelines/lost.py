"""Rows that a file once had and has no longer: their facts stay, so a shrunken export must not pass for no news.

What a file had is kept in the home as one digest a row, of its keys and event time as they came. Rows that have gone
from the beginning of each series while others came at its end are no loss: the file tells a window of time.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headrace.files import write_whole
from headrace.home import Home
from headrace.lineage import digest_of
from headrace.sources import Records
from headrace.system import System

if TYPE_CHECKING:
    import polars as pl


class FileRows:
    """Notes which rows a file has, frame by frame, if it is one that says all that it ever had.

    Args:
        system: The declaration.
        records: From the file.
    """

    def __init__(self, system: System, records: Records) -> None:
        self._system, self._told = system, records.whole
        self._digests: list[pl.DataFrame] = []

    def take(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Note the rows of one frame; returns it as it came."""
        if self._told:
            self._digests.append(_digests(self._system, frame))
        return frame

    def read(self) -> pl.DataFrame | None:
        """A digest of every row; None where no file was read, or no row."""
        import polars as pl

        rows = pl.concat(self._digests) if self._digests else None
        return None if rows is None or rows.is_empty() else rows.unique("row", keep="first", maintain_order=True)


def lost_rows(home: Home, system: str, origin: str, now: pl.DataFrame) -> str | None:
    """What to say of rows that a file no longer has; None where there are none.

    Args:
        home: Where it is kept what the file had.
        system: Name of the system.
        origin: The file.
        now: From `FileRows`.
    """
    import polars as pl

    path = home.path / "cache" / system / f"rows-{digest_of(origin)}.parquet"
    try:
        had = pl.read_parquet(path, glob=False) if path.exists() else now.clear()
        had = had.select(pl.col(name).cast(dtype) for name, dtype in now.schema.items())
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        _write(path, now)
        message = str(error).splitlines()[0][:200]
        return f"{path} is damaged ({message}): whether {origin} lost rows is not known"
    rows = had.with_columns(lost=~pl.col("row").is_in(now["row"].implode()))
    new = now.filter(~pl.col("row").is_in(had["row"].implode()))
    rolled = new.height > 0 and _at_one_end(rows)
    if not rolled and rows["lost"].any():
        now = pl.concat([now, rows.filter("lost").drop("lost")])  # said until they are back
    _write(path, now)
    count = int(rows["lost"].sum())
    if rolled or not count:
        return None
    return f"{count:,} rows that {origin} had are no longer in it; what they said stays"


def _digests(system: System, frame: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    absent = [name for name in system.identity if name not in frame.columns]
    frame = frame.with_columns(pl.lit(None, pl.String).alias(name) for name in absent)
    series = (
        frame.select(system.keys).hash_rows()
        if system.keys
        else pl.repeat(0, frame.height, dtype=pl.UInt64, eager=True)
    )
    rows = frame.select(system.identity).hash_rows()
    return pl.DataFrame({"series": series, "row": rows})


def _at_one_end(rows: pl.DataFrame) -> bool:
    """Whether what is lost of each series is its first rows, or of each its last."""
    import polars as pl

    lost = pl.col("lost").cast(pl.Int8)
    first, last = (lost.cum_min(reverse=backwards).over("series") == lost for backwards in (False, True))
    return bool(rows.select(first.all() | last.all()).item())


def _write(path: Path, frame: pl.DataFrame) -> None:
    import io

    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.BytesIO()
    frame.write_parquet(text)
    write_whole(path, text.getvalue())
