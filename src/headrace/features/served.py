"""Features as rows were served with them, in place of what is computed from the rows now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class ServedFeatures:
    """The features that rows of a table were served with.

    Attributes:
        known: Whether each row was served: shape (rows,), Boolean.
        values: One column a feature, by its name: numbers (truths as 0 and 1), or texts; null is missing. A feature
            that is not among them was missing in every row that was served.
    """

    known: pl.Series
    values: pl.DataFrame

    def into(self, computed: pl.DataFrame) -> tuple[pl.DataFrame, int]:
        """The features of every row: as served where it was, and as computed elsewhere, in the types of the latter.

        A value that was served as it is computed stays the computed one, to the last bit. What JSON has no number for
        (NaN, infinities) was served as missing, which it is to a model. A row of which a value is of another type than
        the computed one, such as a text for a number, is computed: a column that the features read has become another
        since, which their version does not tell.

        Args:
            computed: The features of every row as they are computed now, one column a feature.

        Returns:
            The features, and of how many rows they are the served ones.
        """
        import polars as pl

        none = pl.Series([None] * len(self.known), dtype=pl.Null)
        columns = {name: self.values[name] for name in self.values.columns}
        pairs = [(computed[name], columns.get(name, none)) for name in computed.columns]
        known = self.known
        for computed_name, served_name in pairs:
            known = known & _fits(served_name, computed_name)
        return pl.DataFrame([_put(computed_name, served_name, known) for computed_name, served_name in pairs]), int(
            known.sum()
        )


def _put(computed: pl.Series, served: pl.Series, known: pl.Series) -> pl.Series:
    import polars as pl

    dtype = served.dtype if computed.dtype == pl.Null else computed.dtype
    computed_values, served_values = computed.cast(dtype), served.cast(dtype, strict=False)
    plain = (
        computed_values.set(~computed_values.is_finite().fill_null(True), None)
        if computed_values.dtype.is_float()
        else computed_values
    )
    return computed_values.zip_with(~known | plain.eq_missing(served_values), served_values)


def _fits(served: pl.Series, computed: pl.Series) -> pl.Series:
    """Whether each value can be one of the computed ones: it is the same after a way there and back."""
    import polars as pl

    if computed.dtype == pl.Null:
        return pl.repeat(True, len(served), eager=True)
    if (served.dtype == pl.String) != (computed.dtype == pl.String):
        return served.is_null()
    return served.cast(computed.dtype, strict=False).cast(served.dtype).eq_missing(served)
