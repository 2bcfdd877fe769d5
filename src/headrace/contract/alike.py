"""Keys and labels that look alike: series, or classes, that may be one, spelt in several ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from headrace.contract.batch import CheckedRows
from headrace.contract.finding import Finding

if TYPE_CHECKING:
    import polars as pl

_SHOWN = 5
_LABELS = 100
"""Different texts of a target up to which they are labels."""


def alike_keys(batch: CheckedRows) -> list[Finding]:
    """A warning where texts of a key differ by nothing but blanks, case, invisible signs or their Unicode form.

    They stay different: which of them are one is not ours to guess.
    """
    faults = []
    for name in batch.keys:
        groups = _alike(batch.rows[name])
        if groups:
            texts = sum(map(len, groups))
            shown = "; ".join(", ".join(map(_shown, group)) for group in groups[:_SHOWN])
            more = f"; and {len(groups) - _SHOWN:,} more" if len(groups) > _SHOWN else ""
            text = f"{name}: {texts:,} keys differ only by blanks, case, invisible signs or Unicode form: {shown}{more}"
            faults.append(Finding("alike_keys", "warn", False, text, {"keys": texts, "groups": len(groups)}))
    return faults


def alike_labels(labels: pl.Series) -> list[Finding]:
    """A warning where labels of a target differ by nothing but these, with how many rows have each.

    They stay different: each is a class of its own.
    """
    groups = labels_alike(labels)
    if not groups:
        return []
    numbers = {"labels": sum(map(len, groups)), "groups": len(groups)}
    return [Finding("alike_labels", "warn", False, f"{labels.name}: {said_alike(groups)}", numbers, labels.name)]


def labels_alike(labels: pl.Series) -> list[dict[str, int]]:
    """Groups of labels that look alike: how many rows have each spelling.

    >>> import polars as pl
    >>> labels_alike(pl.Series(["Yes", "No", "yes ", "Yes"]))
    [{'Yes': 2, 'yes ': 1}]
    """
    import polars as pl

    if labels.dtype not in (pl.String, pl.Categorical) or labels.head(10 * _LABELS).n_unique() > _LABELS:
        return []
    counts = labels.cast(pl.String).drop_nulls().value_counts(name="rows")
    if counts.height > _LABELS:
        return []
    rows = dict(counts.iter_rows())
    return [{text: rows[text] for text in group} for group in _alike(counts[labels.name])]


def said_alike(groups: Sequence[Mapping[str, int]]) -> str:
    """Labels that look alike, in a sentence."""
    shown = "; ".join(
        ", ".join(f"{_shown(text)} ({count:,})" for text, count in group.items()) for group in groups[:_SHOWN]
    )
    more = f"; and {len(groups) - _SHOWN:,} more" if len(groups) > _SHOWN else ""
    count = sum(map(len, groups))
    what = "labels differ only by blanks, case, invisible signs or Unicode form, and are classes of their own"
    return f"{count:,} {what}: {shown}{more}"


def _alike(keys: pl.Series) -> list[list[str]]:
    """Groups of different texts that look alike, in their order."""
    import polars as pl

    if keys.dtype not in (pl.String, pl.Categorical):
        return []
    texts = keys.unique().cast(pl.String).drop_nulls().alias("text").to_frame()
    # Nearly all keys are visible ASCII, of which only the case may differ.
    visible = pl.col("text").str.contains(r"^[!-~]*$")
    plain = pl.col("text").str.normalize("NFKC").str.to_lowercase().str.replace_all(r"[\s\p{Cf}\p{Cc}]", "")
    quick = texts.filter(visible).with_columns(pl.col("text").str.to_lowercase().alias("plain"))
    texts = pl.concat([quick, texts.filter(~visible).with_columns(plain.alias("plain"))])
    texts = texts.filter(pl.col("plain").is_duplicated()).sort("text")
    groups = texts.group_by("plain", maintain_order=True).agg("text")
    return groups["text"].to_list()


def _shown(text: str) -> str:
    """A text in quotes; where a sign of it may not be seen, or be taken for another, all but ASCII is escaped."""
    return ascii(text) if any(not sign.isalnum() and sign not in " -_./:" for sign in text) else repr(text)
