"""Declared columns that a batch lacks: where a value may be missing, all of them are; any other column is needed."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from headrace.contract.column import Column
from headrace.contract.finding import Finding
from headrace.contract.malformed import declared_names
from headrace.contract.naming import hint_of_header
from headrace.errors import ContractBroken

if TYPE_CHECKING:
    import polars as pl

ABSENT = "columns"
"""The rule of findings about them."""


def with_absent(
    columns: Sequence[Column], frame: pl.DataFrame, needed: Collection[str | None]
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The frame with every declared column, and which of them it lacked.

    Args:
        columns: Those that are declared.
        frame: The rows as they came, under declared names.
        needed: Columns without which no row can be read, whether their values may be missing or not, and others that
            the frame must have although they are not declared.

    Raises:
        ContractBroken: It lacks one that is needed.
    """
    import polars as pl

    names = [column.name for column in columns]
    wanted = [*names, *(name for name in needed if name is not None and name not in names)]
    optional = {column.name for column in columns if column.nullable} - set(needed)
    absent = [name for name in wanted if name not in frame.columns]
    for name in absent:
        if name not in optional:
            near = near_name(name, wanted, frame)
            hint = f"found {', '.join(declared_names(frame.columns)) or 'no columns at all'}"
            hint += f"; if {near!r} is meant, say so: {_said(name, near)}" if near else ""
            raise ContractBroken(
                f"the source has no column {name!r}", where=name, hint=hint + hint_of_header(frame, name)
            )
    return frame.with_columns(pl.lit(None).alias(name) for name in absent), tuple(absent)


def absence(names: Iterable[str], declared: Collection[str], frame: pl.DataFrame) -> list[Finding]:
    """A finding for each column that the source lacks and that is taken as missing."""
    findings = []
    for name in names:
        near = near_name(name, declared, frame)
        suggestion = f"; is it {near!r}? then say so: {_said(name, near)}" if near else ""
        text = f"the source has no column {name!r}: it is missing in every row{suggestion}"
        findings.append(Finding(ABSENT, "warn", False, text, {"column": name}))
    return findings


def near_name(name: str, declared: Collection[str], frame: pl.DataFrame) -> str | None:
    """The undeclared column of a frame that may be meant by a name; None where none is like it."""
    free = [name for name in declared_names(frame.columns) if name not in declared]
    close = difflib.get_close_matches(name.lower(), [name.lower() for name in free], n=1, cutoff=0.5)
    return next((name for name in free if name.lower() == close[0]), None) if close else None


def _said(name: str, column_name: str) -> str:
    return f"Source(columns={{{name!r}: {column_name!r}}})"
