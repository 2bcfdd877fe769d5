"""Rules on the share of rows of a batch: missing values, values out of a range, texts, parts of a category."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from headrace.contract.batch import CheckedRows, OfColumn, Reads, Tallied
from headrace.contract.column import bad_pattern
from headrace.contract.finding import Finding
from headrace.contract.sampling import too_many

if TYPE_CHECKING:
    import polars as pl

URL = r"\b([hH][tT]{2}[pP][sS]?|[fF][tT][pP])://\S|\b[wW]{3}\.[\w-]+\.[a-zA-Z]{2,}"
"""A pattern of web addresses, for `Forbids` and `Column.forbids`; without flags, which JSON Schema does not have."""


@dataclass(frozen=True)
class RowCounts:
    """How many rows were looked at, and how many of them count."""

    count: int = 0
    rows: int = 0

    def __add__(self, other: RowCounts) -> RowCounts:
        """Those of both."""
        return RowCounts(self.count + other.count, self.rows + other.rows)


class ShareRule(Tallied):
    """Base of the rules that allow a share of the rows.

    Attributes:
        column: The column that is looked at.
        at_most: The largest share of rows that passes.
        confidence: The rule knows the size of the batch: it fails only where so many rows, were `at_most` the true
            share, would come with a probability below ``1 - confidence`` (exact binomial test). None: the share of
            the batch itself is compared.
        severity: What a failure does: ``warn`` says so, ``stop`` ends the run with exit status 3.
    """

    at_most: float = Field(default=0.0, ge=0, le=1)
    confidence: float | None = Field(default=None, ge=0.5, lt=1)
    severity: Literal["warn", "stop"] = "warn"

    @property
    @abstractmethod
    def said(self) -> str:
        """What is said of rows that count: ``are null``."""

    @abstractmethod
    def test(self) -> pl.Expr:
        """Which rows count; null where a row does not."""

    def looked_at(self) -> pl.Expr:
        """Which rows are looked at: those with a value."""
        import polars as pl

        return pl.col(self.column).is_not_null()

    def tally(self, rows: pl.DataFrame) -> RowCounts:
        """Counts the rows."""
        if not rows.height:
            return RowCounts()
        looked_at = self.looked_at()
        count = (self.test() & looked_at).fill_null(False).sum().alias("count")
        return RowCounts(**rows.select(count, looked_at.sum().alias("rows")).row(0, named=True))

    def found(self, tally: RowCounts) -> Finding:
        """Compares the share with the limit; no rows pass."""
        share = tally.count / tally.rows if tally.rows else 0.0
        passed = not too_many(tally.count, tally.rows, self.at_most, self.confidence)
        text = f"{self.column}: {tally.count:,} of {tally.rows:,} rows {self.said}"
        text += f" ({share:.2%}, allowed {self.at_most:.2%}"
        text += "; of so few rows no more than chance)" if passed and share > self.at_most else ")"
        numbers = {"count": tally.count, "rows": tally.rows, "share": share, "at_most": self.at_most}
        return self._finding(passed, text, **numbers, confidence=self.confidence)


class Share(ShareRule):
    """At most a share of the rows may be ``null``, ``zero``, ``negative`` or ``empty`` in ``column``.

    Attributes:
        column: The column that is looked at.
        condition: What is counted: missing values, zeros, negative numbers, or missing and blank texts.
        at_most: The largest share of rows that passes.
        confidence: See `ShareRule`.
        severity: What a failure does: ``warn`` says so, ``stop`` ends the run with exit status 3.
    """

    rule: Literal["share"] = "share"
    condition: Literal["null", "zero", "negative", "empty"]
    at_most: float = Field(ge=0, le=1)

    @property
    def needs(self) -> Reads:
        """Numbers, where numbers are counted."""
        return "number" if self.condition in ("zero", "negative") else "any"

    @property
    def said(self) -> str:
        """What is said of rows that count."""
        return f"are {self.condition}"

    def looked_at(self) -> pl.Expr:
        """All rows."""
        import polars as pl

        return pl.col(self.column).is_null() | True

    def test(self) -> pl.Expr:
        """Which rows count."""
        import polars as pl

        value = pl.col(self.column)
        match self.condition:
            case "null":
                return value.is_null()
            case "zero":
                return value == 0
            case "negative":
                return value < 0
        return value.is_null() | (value.cast(pl.String).str.strip_chars() == "")


class OutOfRange(ShareRule):
    """At most a share of the values may lie below ``minimum`` or above ``maximum``.

    Attributes:
        column: The column of numbers that is looked at.
        minimum: The smallest value within the range; None without one.
        maximum: The largest; None without one.
        at_most: The largest share of rows that passes, of those with a value.
        confidence: See `ShareRule`.
        severity: What a failure does: ``warn`` says so, ``stop`` ends the run with exit status 3.
    """

    reads: ClassVar[Reads] = "number"

    rule: Literal["out_of_range"] = "out_of_range"
    minimum: float | None = None
    maximum: float | None = None

    def mistakes(self) -> list[tuple[str, str]]:
        """A range has an end."""
        return range_mistakes(self.minimum, self.maximum)

    @property
    def said(self) -> str:
        """What is said of rows that count."""
        return f"are not {span(self.minimum, self.maximum)}"

    def test(self) -> pl.Expr:
        """Which rows count."""
        import polars as pl

        value = pl.col(self.column)
        below = pl.lit(False) if self.minimum is None else value < self.minimum
        return below if self.maximum is None else below | (value > self.maximum)


class Forbids(ShareRule):
    r"""A pattern may be found in at most a share of the texts: no web addresses in names, say.

    `Column.forbids` sets single rows apart; this rule judges the batch.

    Attributes:
        column: The column of texts that is looked at.
        pattern: A regular expression; web addresses, if not given.
        at_most: The largest share of rows that passes, of those with a value.
        confidence: See `ShareRule`.
        severity: What a failure does: ``warn`` says so, ``stop`` ends the run with exit status 3.
    """

    reads: ClassVar[Reads] = "text"

    rule: Literal["forbids"] = "forbids"
    pattern: str = URL

    def mistakes(self) -> list[tuple[str, str]]:
        """The pattern is a regular expression that a table can be checked with."""
        problem = bad_pattern(self.pattern)
        return [] if problem is None else [("pattern", problem)]

    @property
    def said(self) -> str:
        """What is said of rows that count."""
        return "hold a web address" if self.pattern == URL else f"match the pattern {self.pattern}"

    def test(self) -> pl.Expr:
        """Which rows count."""
        import polars as pl

        return pl.col(self.column).cast(pl.String).str.contains(self.pattern)


class Matches(ShareRule):
    """A pattern must be found in all texts but at most a share of them.

    `Column.pattern` sets single rows apart; this rule judges the batch.

    Attributes:
        column: The column of texts that is looked at.
        pattern: A regular expression; anchor it with ``^`` and ``$``.
        at_most: The largest share of rows without it that passes, of those with a value.
        confidence: See `ShareRule`.
        severity: What a failure does: ``warn`` says so, ``stop`` ends the run with exit status 3.
    """

    reads: ClassVar[Reads] = "text"

    rule: Literal["matches"] = "matches"
    pattern: str

    def mistakes(self) -> list[tuple[str, str]]:
        """The pattern is a regular expression that a table can be checked with."""
        problem = bad_pattern(self.pattern)
        return [] if problem is None else [("pattern", problem)]

    @property
    def said(self) -> str:
        """What is said of rows that count."""
        return f"do not match the pattern {self.pattern}"

    def test(self) -> pl.Expr:
        """Which rows count."""
        import polars as pl

        return ~pl.col(self.column).cast(pl.String).str.contains(self.pattern)


class LevelCount(ShareRule):
    """A category of several levels, such as ``Women/Tops/Blouse``, has so many of them in all rows but a share.

    Attributes:
        column: The column of categories that is looked at.
        separator: What stands between two levels.
        minimum: The fewest levels, each with a text of its own.
        maximum: The most; None: any number.
        at_most: The largest share of other rows that passes, of those with a value.
        confidence: See `ShareRule`.
        severity: What a failure does: ``warn`` says so, ``stop`` ends the run with exit status 3.
    """

    reads: ClassVar[Reads] = "text"

    rule: Literal["level_count"] = "level_count"
    separator: str = Field(default="/", min_length=1)
    minimum: int = Field(default=3, ge=1)
    maximum: int | None = Field(default=None, ge=1)

    def mistakes(self) -> list[tuple[str, str]]:
        """The range is one."""
        return range_mistakes(self.minimum, self.maximum)

    @property
    def said(self) -> str:
        """What is said of rows that count."""
        few = f"at least {self.minimum}" if self.maximum is None else f"{self.minimum} to {self.maximum}"
        wanted = str(self.minimum) if self.minimum == self.maximum else few
        return f"do not have {wanted} levels between {self.separator!r}"

    def test(self) -> pl.Expr:
        """Which rows count: too few levels or too many, or one that is blank."""
        import polars as pl

        levels = pl.col(self.column).cast(pl.String).str.split(self.separator)
        blank = levels.list.eval(pl.element().str.strip_chars() == "").list.any()
        many = pl.lit(False) if self.maximum is None else levels.list.len() > self.maximum
        return (levels.list.len() < self.minimum) | many | blank


class Unique(OfColumn):
    """Another column than the keys has no value twice, but for a share of the rows.

    Attributes:
        column: The column that is looked at.
        at_most: The largest share of rows that repeat an earlier row's value, of those with a value.
        severity: What a failure does: ``warn`` says so, ``stop`` ends the run with exit status 3.
    """

    rule: Literal["unique"] = "unique"
    at_most: float = Field(default=0.0, ge=0, le=1)
    severity: Literal["warn", "stop"] = "warn"

    def judge(self, batch: CheckedRows) -> Finding:
        """Counts the rows that say a value again."""
        values = batch.rows[self.column].drop_nulls()
        rows = values.len()
        count = rows - values.n_unique()
        share = count / rows if rows else 0.0
        text = f"{self.column}: {count:,} of {rows:,} rows repeat a value ({share:.2%}, allowed {self.at_most:.2%})"
        return self._finding(share <= self.at_most, text, count=count, rows=rows, share=share, at_most=self.at_most)


def span(minimum: float | None, maximum: float | None) -> str:
    """A range in words.

    >>> span(3, None), span(20, 30)
    ('at least 3', 'from 20 to 30')
    """
    if minimum is None:
        return f"at most {maximum:g}"
    return f"at least {minimum:g}" if maximum is None else f"from {minimum:g} to {maximum:g}"


def range_mistakes(minimum: float | None, maximum: float | None) -> list[tuple[str, str]]:
    """What is wrong with a range: the field, and what to say."""
    if minimum is None and maximum is None:
        return [("minimum", "a range needs a minimum, a maximum, or both")]
    if minimum is not None and maximum is not None and minimum > maximum:
        return [("minimum", f"the minimum {minimum:g} is above the maximum {maximum:g}")]
    return []
