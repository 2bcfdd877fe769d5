"""Features whose values are learnt at training from rows that share a key, and looked up in the model afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from headrace.errors import DeclarationError
from headrace.features.expression import TEXT, CodeWriter, CompileTarget, Expression, Value

if TYPE_CHECKING:
    import polars as pl

_BETWEEN, MISSING = "\x1f", "\x00"


@dataclass(frozen=True, eq=False)
class TargetMean(Expression):
    """The mean target of the training rows with the same key, drawn towards a broader mean.

    (sum + prior * broader) / (count + prior), after Micci-Barreca (2001). The broader mean is that of `towards`, or of
    all rows; it stands alone where the key is missing or was never seen. The expression itself gives the keys, from
    its own to the broadest; the means are fitted and stored with the model.

    A training row has the means of the rows in the other nine of ten folds, so that a model cannot read its target
    there: without that row alone, the shifts between the rows of a group would tell trees their targets. The broadest
    of several levels is taken whole: its groups are large.

    Attributes:
        of: The key, best one of small groups such as a family; rows without it are in no group.
        prior: How many rows the broader mean counts for.
        towards: What the mean is drawn towards.
    """

    op = "target_mean"
    of: Expression
    prior: float = 1.0
    towards: TargetMean | None = None

    @cached_property
    def levels(self) -> tuple[TargetMean, ...]:
        """This one and what it is drawn towards, the broadest last."""
        return (self, *(self.towards.levels if self.towards is not None else ()))

    def polars(self, table: CompileTarget) -> pl.Expr:
        import polars as pl

        keys = [level.of.compile(table).cast(pl.String).fill_null(MISSING) for level in self.levels]
        return pl.concat_str(keys, separator=_BETWEEN)

    def emit(self, code: CodeWriter) -> Value:
        missing = code.constant(MISSING)
        keys = [code.text(level.of) for level in self.levels]
        filled = ", ".join(f"{missing} if {key} is None else {key}" for key in keys)
        return code.set(f"{code.constant(_BETWEEN.join)}(({filled},))", TEXT)

    def keys_of(self, text: str) -> list[str | None]:
        """The keys that a value of this feature holds, one a level."""
        return [None if part == MISSING else part for part in self.parts_of(text)]

    def parts_of(self, text: str) -> list[str]:
        """`keys_of`, but `MISSING` where a row has no key."""
        return text.split(_BETWEEN, len(self.levels) - 1)


def target_mean(of: Expression, *, prior: float = 1.0, towards: TargetMean | None = None) -> TargetMean:
    """The mean target of the training rows for which `of` gives the same; see `TargetMean`.

    Raises:
        DeclarationError: The prior is below zero.
    """
    if not prior >= 0:
        raise DeclarationError(f"a prior counts rows, it cannot be {prior}", where="target_mean.prior")
    return TargetMean(of, prior, towards)


@dataclass(frozen=True, eq=False)
class Frequency(Expression):
    """How often the training rows have the same value, as ln(1 + count). The expression itself gives the value.

    A training row does not count itself, so that a value of one row alone counts as one that was never seen: 0.

    Attributes:
        of: The value, such as a brand; missing where it is.
    """

    op = "frequency"
    of: Expression

    def polars(self, table: CompileTarget) -> pl.Expr:
        import polars as pl

        return self.of.compile(table).cast(pl.String)

    def emit(self, code: CodeWriter) -> Value:
        return Value(code.text(self.of), TEXT)


def frequency(of: Expression) -> Frequency:
    """How often the training rows have the value that `of` gives, as ln(1 + count); 0 where none has it.

    A training row does not count itself. The counts are fitted and stored with the model.

    >>> from headrace.features import col
    >>> frequency(col("brand")).of.columns()
    frozenset({'brand'})
    """
    return Frequency(of)
