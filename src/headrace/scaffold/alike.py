"""Rows of a file that are alike: by a key that several of them share, or by a kind that stands within a text.

Two people on one ticket, or two orders of one customer, tell about each other. What is known of a key is known of few
rows, though, so it is drawn towards what is known of more: of the rows that are of the same kinds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.scaffold.wording import quoted

if TYPE_CHECKING:
    import polars as pl

_SHARED = 0.2
"""Share of rows that have a key with another one, from which on the key says something."""
_WHOLE = 0.9
"""Share of texts that have a part, where it is one."""
_ROWS = 20
"""Rows of a kind on average, at least."""
_LAST = 3
"""Parts of a text that are looked at."""
_KEY_PRIOR, _KIND_PRIOR = 1, 4
"""Rows that the mean of more rows counts for, beside those of a key, and of kinds."""


def is_shared(values: pl.Series) -> bool:
    """Whether many rows have a value that another row has, too.

    >>> import polars as pl
    >>> is_shared(pl.Series(["A1", "A1", "B7", "C2"])), is_shared(pl.Series(["A1", "B1", "B7", "C2"]))
    (True, False)
    """
    known = values.drop_nulls()
    return known.len() > 0 and bool(known.is_duplicated().sum() >= _SHARED * known.len())


def kinds_within(name: str, values: pl.Series) -> dict[str, str]:
    """Features of parts of a text that come again and again, between commas, full stops and colons.

    >>> import polars as pl
    >>> people = pl.Series([f"Name{n}, {('Mr', 'Miss')[n % 2]}. Robin" for n in range(100)])
    >>> kinds_within("name", people)
    {'name_2': 'col("name").extract(r"^[^,.:;(]+[,.:;(]+ *([^,.:;(]+)")'}
    """
    known, kinds = values.drop_nulls(), dict[str, str]()
    for place in range(_LAST):
        pattern = "^" + r"[^,.:;(]+[,.:;(]+ *" * place + r"([^,.:;(]+)"
        parts = known.str.extract(pattern, 1).drop_nulls()
        distinct = parts.n_unique()
        if parts.len() < _WHOLE * known.len() or not 1 < distinct <= parts.len() // _ROWS:
            continue
        kinds[f"{name}_{place + 1}"] = f'col({quoted(name)}).extract(r"{pattern}")'
    return kinds


def by_strength(kinds: dict[str, pl.Series], target: pl.Series) -> list[str]:
    """Columns of few values, first the one by which the target differs most.

    Args:
        kinds: Their values, by name.
        target: Numbers, or two classes.
    """
    import polars as pl

    numbers = target.rank()  # far values decide nothing
    frame = pl.DataFrame({name: values.cast(pl.String) for name, values in kinds.items()})
    frame = frame.with_columns(numbers.cast(pl.Float64).alias(":target")).filter(pl.col(":target").is_not_null())

    def within(name: str) -> float:
        deviations = frame.select((pl.col(":target") - pl.col(":target").mean()).over(name)).to_series()
        return float(np.square(deviations.to_numpy()).sum())

    return sorted(kinds, key=within)


def of_key(name: str, kinds: list[str]) -> str:
    """The mean of the target of rows that share a key, those of the first kind by themselves.

    >>> print(of_key("ticket", ["sex", "class"]))
    target_mean(
                join(col("sex"), col("ticket")),
                prior=1,
                towards=target_mean(join(col("sex"), col("class")), prior=4),
            )
    >>> of_key("ticket", [])
    'target_mean(col("ticket"), prior=1)'
    """
    key = f"col({quoted(name)})"
    if not kinds:
        return f"target_mean({key}, prior={_KEY_PRIOR})"
    parts = [f"col({quoted(kind)})" for kind in kinds[:2]]
    towards = f"join({', '.join(parts)})" if len(parts) > 1 else parts[0]
    broader = f"target_mean({towards}, prior={_KIND_PRIOR})"
    lines = (f"join({parts[0]}, {key}),", f"prior={_KEY_PRIOR},", f"towards={broader},")
    return "\n".join(("target_mean(", *(f"{' ' * 12}{line}" for line in lines), f"{' ' * 8})"))
