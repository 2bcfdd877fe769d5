"""Texts as word pieces, as BERT without capitals has them (Devlin et al. 2019)."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from functools import lru_cache

_LONGEST = 100
"""Characters of a word; a longer one is unknown."""
_READ = 16_000
"""Characters of a text that are looked at."""
_IDEOGRAPHS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


class WordPieces:
    """A vocabulary of words and of their parts.

    Args:
        vocabulary: The number of every piece; one that goes on within a word begins with ``##``.
        most: Pieces of a text at most, its first and last mark among them.
    """

    def __init__(self, vocabulary: Mapping[str, int], most: int) -> None:
        self._vocabulary, self._most = vocabulary, most
        self._begin, self._end, self._unknown = (vocabulary[mark] for mark in ("[CLS]", "[SEP]", "[UNK]"))
        self._pieces_of = lru_cache(maxsize=2**15)(self._pieces)

    def numbers(self, text: str) -> list[int]:
        """The numbers of a text's pieces, between the marks of its begin and end."""
        found: list[int] = []
        for word in words(text[:_READ]):
            found += self._pieces_of(word)
            if len(found) >= self._most - 2:
                break
        return [self._begin, *found[: self._most - 2], self._end]

    def _pieces(self, word: str) -> tuple[int, ...]:
        """The longest piece that the word begins with, then that of the rest, and so on."""
        if len(word) > _LONGEST:
            return (self._unknown,)
        pieces, begin = [], 0
        while begin < len(word):
            mark = "##" if begin else ""
            for end in range(len(word), begin, -1):
                number = self._vocabulary.get(mark + word[begin:end])
                if number is not None:
                    break
            else:
                return (self._unknown,)
            pieces.append(number)
            begin = end
        return tuple(pieces)


def words(text: str) -> Iterator[str]:
    """The words of a text without capitals and accents; every mark of punctuation and every ideograph is one.

    >>> list(words("Café, 2nd-hand"))
    ['cafe', ',', '2nd', '-', 'hand']
    """
    letters: list[str] = []
    for run in "".join(map(_cleaned, text)).split():
        for letter in unicodedata.normalize("NFD", run.lower()):
            if unicodedata.category(letter) == "Mn":
                continue
            if _punctuation(letter):
                if letters:
                    yield "".join(letters)
                    letters = []
                yield letter
            else:
                letters.append(letter)
        if letters:
            yield "".join(letters)
            letters = []


def _cleaned(letter: str) -> str:
    if letter in "\t\n\r" or unicodedata.category(letter) == "Zs":
        return " "
    number = ord(letter)
    if number in (0, 0xFFFD) or unicodedata.category(letter).startswith("C"):
        return ""
    return f" {letter} " if any(begin <= number <= end for begin, end in _IDEOGRAPHS) else letter


def _punctuation(letter: str) -> bool:
    number = ord(letter)
    ascii_mark = 33 <= number <= 47 or 58 <= number <= 64 or 91 <= number <= 96 or 123 <= number <= 126
    return ascii_mark or unicodedata.category(letter).startswith("P")
