"""N-grams of words and characters of texts: columns are joined here, and weighted in the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from headrace.errors import DeclarationError
from headrace.features.expression import TEXT, CodeWriter, CompileTarget, Expression, Operand, Value, as_expression
from headrace.features.row import Col

if TYPE_CHECKING:
    import polars as pl

TFIDF, COUNTS = "tfidf", "counts"
MOST_BUCKETS = 2**24
_LONGEST = 10


@dataclass(frozen=True, eq=False)
class JoinedText(Expression):
    """Texts that are joined by a space, where a missing part is empty. A model makes numbers of them.

    Attributes:
        of: The texts, in order.
    """

    of: tuple[Expression, ...]

    def polars(self, table: CompileTarget) -> pl.Expr:
        import polars as pl

        parts = [part.compile(table).cast(pl.String).fill_null("") for part in self.of]
        return pl.concat_str(parts, separator=" ")

    def emit(self, code: CodeWriter) -> Value:
        empty = code.constant("")
        parts = ", ".join(f"{empty} if {name} is None else {name}" for name in map(code.text, self.of))
        return code.set(f"{code.constant(' '.join)}(({parts},))", TEXT)


@dataclass(frozen=True, eq=False)
class Ngrams(JoinedText):
    """The n-grams of texts. The expression itself gives the joined text, where a missing part is empty.

    What is fitted, such as how rare every n-gram is, is stored with the model.

    Attributes:
        of: The texts, in order.
        word_sizes: Fewest and most words of an n-gram; None for none.
        character_sizes: Fewest and most characters of an n-gram within a word; None for none.
        buckets: Columns that n-grams are hashed to, where there is no vocabulary.
        vocabulary: How many n-grams have columns: those that most training rows have. None: all are hashed.
        weighting: ``tfidf`` or ``counts``.
    """

    op = "ngrams"
    word_sizes: tuple[int, int] | None = (1, 2)
    character_sizes: tuple[int, int] | None = None
    buckets: int = 2**18
    vocabulary: int | None = None
    weighting: str = TFIDF


def ngrams(
    *texts: Operand,
    words: tuple[int, int] | None = (1, 2),
    characters: tuple[int, int] | None = None,
    buckets: int = 2**18,
    vocabulary: int | None = None,
    weighting: Literal["tfidf", "counts"] = "tfidf",
) -> Ngrams:
    """The n-grams of one or several texts, joined by a space; a missing one is empty.

    Words are runs of letters and digits, whatever their case and form in Unicode. An n-gram of characters lies within
    a word, with a space on either side of it. With ``tfidf`` the weight of an n-gram is ``(1 + ln count) * (1 + ln((1 +
    rows) / (1 + rows with it)))``, and the squares of a row's weights sum to 1 (Salton and Buckley 1988); with
    ``counts`` it is how often the row has it.

    Args:
        texts: Names of columns, or expressions that give a text, a whole number or a truth.
        words: Fewest and most words of an n-gram; None for none.
        characters: Fewest and most characters of an n-gram; None for none.
        buckets: Columns that n-grams are hashed to. Two n-grams in one column count as the same.
        vocabulary: Columns for so many n-grams, those that most training rows have, in place of hashing.
        weighting: ``tfidf`` or ``counts``.

    Raises:
        DeclarationError: There is no text, no n-gram, or a number out of range.

    >>> ngrams("name", "brand", characters=(2, 4)).character_sizes
    (2, 4)
    """
    if not texts:
        raise DeclarationError("there is no text", where="ngrams", hint="name a column: ngrams('title')")
    if words is None and characters is None:
        raise DeclarationError("there are neither words nor characters", where="ngrams", hint="words=(1, 2)")
    for name, sizes in (("words", words), ("characters", characters)):
        if sizes is not None and not 1 <= sizes[0] <= sizes[1] <= _LONGEST:
            message = f"{sizes} are not the fewest and the most, from 1 to {_LONGEST}"
            raise DeclarationError(message, where=f"ngrams.{name}", hint=f"{name}=(1, 2)")
    for name, number in (("buckets", buckets), ("vocabulary", vocabulary)):
        if number is not None and not 1 <= number <= MOST_BUCKETS:
            raise DeclarationError(f"{number} is not between 1 and {MOST_BUCKETS:,}", where=f"ngrams.{name}")
    if weighting not in (TFIDF, COUNTS):
        raise DeclarationError(f"{weighting!r} is neither 'tfidf' nor 'counts'", where="ngrams.weighting")
    parts = tuple(Col(text) if isinstance(text, str) else as_expression(text) for text in texts)
    return Ngrams(
        parts,
        words if words is None else (words[0], words[1]),
        characters if characters is None else (characters[0], characters[1]),
        buckets,
        vocabulary,
        weighting,
    )
