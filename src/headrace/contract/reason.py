"""Reasons of bad rows by the rule that was broken: what is left of a reason without the row's own value."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

_VERBS = "(?:is|does|matches|were|was|has)"
_OWN = (
    (rf"(?s)^(.*?: )'.*?' ({_VERBS} .+)$", "$1$2"),  # a text
    (rf"(?s)^(.*?: )\S+ ({_VERBS} .+)$", "$1$2"),  # a number, a time
    (r"(?s)^(.*?: a value of type )\S+(?: .+)?$", "$1"),
    (r"^line \d+ (?:has|is) ([^:]+).*$", "$1"),
    (r"(?s)^((?:conflicting )?duplicate).*$", "$1"),
    (r" \(after [^)]*\)$", ""),
)
"""What differs between the reasons of two rows that broke one rule, and what is left of them."""


def labels_of(reason: pl.Expr) -> pl.Expr:
    """Reasons without values: equal for two rows that broke one rule.

    >>> import polars as pl
    >>> frame = pl.DataFrame({"reason": ["kwh: -5.0 is below the minimum 0", "line 7 has too few fields: 2 where 4"]})
    >>> frame.select(labels_of(pl.col("reason")))["reason"].to_list()
    ['kwh: is below the minimum 0', 'too few fields']
    """
    for pattern, left in _OWN:
        reason = reason.str.replace(pattern, left)
    return reason


def column_of(label: pl.Expr) -> pl.Expr:
    """What a label is about by its own words: the name before the first colon; null where there is none."""
    return label.str.extract(r"(?s)^(.*?): ")
