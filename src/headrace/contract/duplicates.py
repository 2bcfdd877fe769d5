"""Finds rows that say the same thing twice, and rows that contradict one another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.contract.column import Column
from headrace.contract.faults import RuleFault
from headrace.contract.twice import happens_twice

if TYPE_CHECKING:
    import polars as pl


COPY = "duplicate"
"""The label of a row that says what another of the same batch says."""


def without_copies(faults: list[RuleFault]) -> list[RuleFault]:
    """The faults that make a row bad where a copy is merely one row too many: what is left of it is nothing new.

    Where there are event times a copy may be an hour of a clock that was set back, and is bad.
    """
    others = [fault for fault in faults if fault.label != COPY]
    bad = [RuleFault(f.label, _and_bad(f, others), f.reason) for f in faults if f.label == COPY]
    return [fault for fault in (*others, *bad) if fault.mask.any()]


def _and_bad(copies: RuleFault, others: list[RuleFault]) -> pl.Series:
    """Which copies have another fault: of rows that contradict one another each has all its reasons."""
    bad = copies.mask & False
    for fault in others:
        bad = bad | fault.mask
    return copies.mask & bad


def duplicate_faults(
    work: pl.DataFrame, by: tuple[str, ...], good: pl.Series, time: Column | None = None, *, steps: bool = False
) -> list[RuleFault]:
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
    is_equal = pl.struct([*by, *values])
    rows = rows.with_columns(
        (~is_equal.is_first_distinct()).alias(":copy"),
        (pl.struct(values).n_unique().over(by) if values else pl.lit(1)).alias(":kinds"),
    )
    names = ", ".join(name for name in by if not name.startswith(":"))
    against = f"conflicting duplicate: different values for one {names}"
    against += "; rows that fall into one step are put together by Column(aggregate=...)" if steps else ""
    marks = (
        (COPY, rows.filter(":copy")[":row"], f"duplicate: an identical row with this {names} came before"),
        ("conflicting duplicate", rows.filter(pl.col(":kinds") > 1)[":row"], against),
    )
    faults = [
        RuleFault(label, _mask(work.height, row_index), pl.lit(text))
        for label, row_index, text in marks
        if row_index.len()
    ]
    if time is None or time.ambiguous not in ("earliest", "latest"):
        return faults
    reason = f"{time.name} happens twice in {time.zone} (clocks go back) and is read as the {time.ambiguous} of the two"
    hint = 'ambiguous="in_order" tells them apart by the order of the rows'
    texts = {label: f"{text}; {reason}: {hint}" for label, _, text in marks}
    clocks = happens_twice(time, work[time.name])
    backward = [RuleFault(fault.label, fault.mask & clocks, pl.lit(texts[fault.label])) for fault in faults]
    rest = [RuleFault(fault.label, fault.mask & ~clocks, fault.reason) for fault in faults]
    return [fault for fault in (*rest, *backward) if fault.mask.any()]


def _mask(rows: int, row_index: pl.Series) -> pl.Series:
    import polars as pl

    return pl.Series([False], dtype=pl.Boolean).new_from_index(0, rows).scatter(row_index, True)
