"""Rules over single rows, compiled to polars expressions over the typed columns."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from headrace.contract.column import Column
from headrace.contract.faults import RAW, WRITTEN, RuleFault, said, shown
from headrace.contract.table import rules_of
from headrace.errors import DeclarationError

if TYPE_CHECKING:
    import polars as pl

    from headrace.grid import Grid

    Compiled = tuple[str, pl.Expr, pl.Expr]


def row_faults(columns: tuple[Column, ...], work: pl.DataFrame) -> list[RuleFault]:
    """What the typed values of each row break: ranges, value sets, patterns.

    Raises:
        DeclarationError: A pattern that the table form cannot run.
    """
    compiled = [rule for column in columns for rule in _compile(column, work)]
    return run(compiled, work)


def run(compiled: list[Compiled], work: pl.DataFrame) -> list[RuleFault]:
    """Evaluates all rules in one pass and keeps those that some row breaks."""
    import polars as pl

    if not compiled or not work.height:
        return []
    tests = [test.fill_null(False).alias(str(place)) for place, (_, test, _) in enumerate(compiled)]
    try:
        masks = work.select(tests)
    except pl.exceptions.ComputeError as error:
        raise DeclarationError(f"a rule cannot be computed: {error}", where="contract.columns") from error
    return [
        RuleFault(label, mask, reason)
        for (label, _, reason), mask in zip(compiled, masks.get_columns(), strict=True)
        if mask.any()
    ]


def time_rules(time: str, grid: Grid | None, latest: datetime | None, work: pl.DataFrame) -> list[Compiled]:
    """Rules for the event time of these rows: the beginning of a step of the grid, and not after ``latest``.

    Where times name the end of a step, that is what is told, and what may not lie in the future.
    """
    import polars as pl

    value = pl.col(WRITTEN if WRITTEN in work.columns else time)
    shown_value = value.dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ")
    rules: list[Compiled] = []
    if latest is not None:
        reason = f"is in the future (after {latest.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ})"
        rules.append((f"{time}: is in the future", value > latest.astimezone(UTC), said(time, shown_value, reason)))
    if grid is not None:
        rules.append((f"{time}: {grid.fault}", pl.lit(grid.off(work[time])), said(time, shown_value, grid.fault)))
    return rules


def _compile(column: Column, work: pl.DataFrame) -> Iterator[Compiled]:
    import polars as pl

    name, dtype = column.name, work.schema[column.name]
    typed = shown(name, dtype)
    came = shown(RAW + name, work.schema[RAW + name]) if column.textual else typed
    for rule in rules_of(column):
        shown_value = came if rule.keyword in ("values", "pattern", "forbids") else typed
        test = rule.broken(pl.col(name), dtype)
        yield f"{name}: {rule.said.removeprefix('is ')}", test, said(name, shown_value, rule.said)
