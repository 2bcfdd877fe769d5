"""Keys that look alike: different series that may be one, spelt in several ways."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.contract.finding import Finding
from headrace.contract.rules import Batch

if TYPE_CHECKING:
    import polars as pl

_SHOWN = 5


def alike_keys(batch: Batch) -> list[Finding]:
    """A warning where texts of a key differ by nothing but blanks, case, invisible signs or their Unicode form.

    They stay different: which of them are one is not ours to guess.
    """
    found = []
    for name in batch.keys:
        groups = _alike(batch.rows[name])
        if groups:
            texts = sum(map(len, groups))
            shown = "; ".join(", ".join(map(_shown, group)) for group in groups[:_SHOWN])
            more = f"; and {len(groups) - _SHOWN:,} more" if len(groups) > _SHOWN else ""
            text = f"{name}: {texts:,} keys differ only by blanks, case, invisible signs or Unicode form: {shown}{more}"
            found.append(Finding("alike_keys", "warn", False, text, {"keys": texts, "groups": len(groups)}))
    return found


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
