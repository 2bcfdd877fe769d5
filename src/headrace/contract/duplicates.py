"""Finds rows that say the same thing twice, and rows that contradict one another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.contract.column import Column
from headrace.contract.faults import Fault
from headrace.contract.twice import happens_twice

if TYPE_CHECKING:
    import polars as pl


def duplicate_faults(
    work: pl.DataFrame, by: tuple[str, ...], good: pl.Series, time: Column | None = None, *, steps: bool = False
) -> list[Fault]:
    """Duplicates of ``by`` among the rows that are good so far: keys, event time, and a known time of the rows' own.

    Rows that say themselves that they became known at different times are corrections, and good. Of identical copies
    the first is kept. Different values contradict one another: none is kept, because nothing says which holds.

    Args:
        work: The working frame with the typed columns.
        by: What may occur once; nothing is checked when it is empty.
        good: Which rows are good so far; the others can prove nothing.
        time: The column of the event time, if there is one.
        steps: Whether event times are steps, into which several rows can fall.
    """
    import polars as pl

    if not by or not good.any():
        return []
    typed = [name for name in work.columns if not name.startswith("raw:")]
    # Most batches have none, which sorted hashes tell in a fraction of the memory that a table of all rows takes.
    hashes = work.select(by).hash_rows()
    ordered = hashes.sort()
    if not (ordered == ordered.shift(1)).any():
        return []
    rows = work.select(typed).with_row_index(":row").filter(hashes.is_duplicated() & good)
    rows = rows.filter(rows.select(by).is_duplicated())
    if not rows.height:
        return []
    values = [name for name in typed if name not in by]
    same = pl.struct([*by, *values])
    rows = rows.with_columns(
        (~same.is_first_distinct()).alias(":copy"),
        (pl.struct(values).n_unique().over(by) if values else pl.lit(1)).alias(":kinds"),
    )
    what = ", ".join(name for name in by if not name.startswith(":"))
    against = f"conflicting duplicate: different values for one {what}"
    against += "; rows that fall into one step are put together by Column(aggregate=...)" if steps else ""
    found = (
        ("duplicate", rows.filter(":copy")[":row"], f"duplicate: an identical row with this {what} came before"),
        ("conflicting duplicate", rows.filter(pl.col(":kinds") > 1)[":row"], against),
    )
    faults = [Fault(label, _mask(work.height, which), pl.lit(text)) for label, which, text in found if which.len()]
    if time is None or time.ambiguous not in ("earliest", "latest"):
        return faults
    told = f"{time.name} happens twice in {time.zone} (clocks go back) and is read as the {time.ambiguous} of the two"
    hint = 'ambiguous="in_order" tells them apart by the order of the rows'
    texts = {label: f"{text}; {told}: {hint}" for label, _, text in found}
    clocks = happens_twice(time, work[time.name])
    back = [Fault(each.label, each.mask & clocks, pl.lit(texts[each.label])) for each in faults]
    rest = [Fault(each.label, each.mask & ~clocks, each.reason) for each in faults]
    return [each for each in (*rest, *back) if each.mask.any()]


def _mask(rows: int, which: pl.Series) -> pl.Series:
    import polars as pl

    return pl.Series([False], dtype=pl.Boolean).new_from_index(0, rows).scatter(which, True)
