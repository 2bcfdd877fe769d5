"""N-grams of words and characters as 64-bit hashes, for many texts at once and for one, to the same integers.

The hash of a run of bytes b0 b1 ... is ``mix(b0 + b1 P + b2 P^2 + ...)`` modulo 2^64, with an odd `P` and the last
steps of SplitMix64 (Steele et al. 2014) as `mix`. Of many texts the sums of all runs come from running sums over one
buffer of bytes, divided by the power at which a run begins: P is odd, so it has an inverse.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headrace.features.folding import WORD, fold

Bytes = NDArray[np.uint8]
Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]
Range = tuple[int, int]

LONG = 1_000
"""Characters from which one text is quicker hashed as many are."""
_P, _MODULUS = 0x9E3779B97F4A7C15, 2**64
_NEXT, _OF_CHARACTERS = 0xD6E8FEB86659FD93, 0xA0761D6478BD642F
_MIX = (30, 0xBF58476D1CE4E5B9, 27, 0x94D049BB133111EB, 31)
_MIX_OF_MANY = tuple(map(np.uint64, _MIX))
_SPACE = 0x20
_USUAL = 2**20
"""Bytes of which the powers are kept."""
_SHORT = 64
"""Characters of the words whose hashes are kept."""


def _table() -> Bytes:
    """What a byte counts as: a letter in lower case, a digit, part of a character beyond ASCII, or else a space."""
    table = np.full(256, _SPACE, dtype=np.uint8)
    for byte in range(256):
        if byte >= 0x80 or chr(byte).isalnum():
            table[byte] = ord(chr(byte).lower()) if byte < 0x80 else byte
    return table


_TABLE = _table()


class Grams(NamedTuple):
    """N-grams of texts, in any order.

    Attributes:
        hashes: Of each n-gram.
        rows: The number of each one's text.
    """

    hashes: Hashes
    rows: Places


class Tokens(NamedTuple):
    """The words of texts in one buffer.

    Attributes:
        codes: The bytes, as `_table` has them; there is a space before and after every text.
        sums: Running sums of the codes times powers of P, from 0: one more than codes.
        begins, ends: Of every word, in codes.
        rows: The number of each one's text.
    """

    codes: Bytes
    sums: Hashes
    begins: Places
    ends: Places
    rows: Places


def hashes_of(texts: Sequence[bytes], words: Range | None, characters: Range | None) -> Grams:
    """The n-grams of folded texts, as UTF-8.

    Args:
        texts: One text at least.
        words: Fewest and most words of an n-gram; None for none.
        characters: Fewest and most characters of an n-gram within a word, with a space on either side; None for none.
    """
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    return hashes_in(b" ".join((b"", *texts, b"")), sizes, words, characters)


def hashes_in(buffer: bytes, sizes: Places, words: Range | None, characters: Range | None) -> Grams:
    """`hashes_of` texts of so many bytes in one buffer, with one byte that is no word's before and after each."""
    tokens = _tokens(buffer, sizes)
    parts = []
    if words is not None:
        polynomials = _polynomials(tokens.sums, tokens.begins, tokens.ends)
        parts += list(_of_words(mix(polynomials), tokens.rows, words))
    if characters is not None:
        parts += list(_of_characters(tokens, characters))
    return Grams(*map(np.concatenate, zip(*parts, strict=True)))


def hashes_of_one(text: str, words: Range | None, characters: Range | None) -> Hashes:
    """The n-grams of one text that was not folded: the hashes that `hashes_of` gives, in another order."""
    if len(text) > LONG:
        return hashes_of([fold(text).encode()], words, characters).hashes
    found = _words_of(text)
    parts = []
    if words is not None:
        hashes = np.fromiter(map(_word, found), np.uint64, len(found))
        parts += [part for part, _ in _of_words(hashes, None, words)]
    if characters is not None:
        parts += [_word_characters(word, characters) for word in found]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.uint64)


@lru_cache(maxsize=16)
def _words_of(text: str) -> list[str]:
    """The words of a text of no more than `LONG` characters: several features of one row read the same."""
    return WORD.findall(fold(text))


def named_hashes(text: str, words: Range | None, characters: Range | None) -> tuple[Hashes, list[tuple[str, ...]]]:
    """The n-grams of one text that was not folded, each with the words that it is of."""
    found, parts, names = WORD.findall(fold(text)), [], list[tuple[str, ...]]()
    if words is not None:
        hashes = np.fromiter(map(_word, found), np.uint64, len(found))
        parts += [part for part, _ in _of_words(hashes, None, words)]
        sizes = range(words[0], words[1] + 1)
        names += [tuple(found[at : at + size]) for size in sizes for at in range(len(found) - size + 1)]
    if characters is not None:
        for word in found:
            parts.append(_word_characters(word, characters))
            names += [(word,)] * parts[-1].size
    return np.concatenate([np.empty(0, dtype=np.uint64), *parts]), names


def mix(numbers: Hashes) -> Hashes:
    """SplitMix64's last steps: numbers that are alike become unlike."""
    first, by, second, with_, third = _MIX_OF_MANY
    mixed = numbers ^ (numbers >> first)
    mixed *= by
    mixed ^= mixed >> second
    mixed *= with_
    mixed ^= mixed >> third
    return mixed


def _mix_one(number: int) -> int:
    first, by, second, with_, third = _MIX
    number = (number ^ (number >> first)) * by % _MODULUS
    number = (number ^ (number >> second)) * with_ % _MODULUS
    return number ^ (number >> third)


def _powers(base: int, count: int) -> Hashes:
    powers = np.full(count, base, dtype=np.uint64)
    powers[:1] = 1
    return np.multiply.accumulate(powers)


@lru_cache(maxsize=2)
def _usual_powers(base: int) -> Hashes:
    powers = _powers(base, _USUAL)
    powers.setflags(write=False)
    return powers


def _powers_of(base: int, count: int) -> Hashes:
    """base^0, base^1, ...: so many of them."""
    return _usual_powers(base)[:count] if count <= _USUAL else _powers(base, count)


_INVERSE = pow(_P, -1, _MODULUS)
_FIRST_POWERS = tuple(pow(_P, power, _MODULUS) for power in range(16))
"""Of the bytes of the longest n-gram of ASCII."""


def _tokens(buffer: bytes, sizes: Places) -> Tokens:
    codes = _TABLE[np.frombuffer(buffer, dtype=np.uint8)]
    sums = np.zeros(codes.size + 1, dtype=np.uint64)
    np.multiply(codes, _powers_of(_P, codes.size), out=sums[1:])
    np.add.accumulate(sums, out=sums)
    letters = codes != _SPACE
    edges = np.flatnonzero(letters[1:] != letters[:-1]) + 1
    begins, ends = edges[0::2], edges[1::2]
    firsts = np.zeros(sizes.size + 1, dtype=np.int64)
    np.cumsum(sizes + 1, out=firsts[1:])
    counts = np.diff(np.searchsorted(begins, firsts))
    return Tokens(codes, sums, begins, ends, np.repeat(np.arange(sizes.size), counts))


def _polynomials(sums: Hashes, begins: Places, ends: Places) -> Hashes:
    return (sums[ends] - sums[begins]) * _powers_of(_INVERSE, sums.size)[begins]


def _of_words(hashes: Hashes, rows: Places | None, words: Range) -> Iterator[Grams]:
    """N-grams of neighbours: each is mixed from the one that is a word shorter and the next word.

    Args:
        hashes: Of the words.
        rows: Their texts; None where all are one text's, and so are the rows of what is given.
        words: Fewest and most of an n-gram.
    """
    fewest, most = words
    grams, places = hashes, np.zeros(0, dtype=np.int64) if rows is None else rows
    for size in range(1, most + 1):
        if size > 1:
            grams = mix(grams[:-1] * np.uint64(_NEXT) + hashes[size - 1 :])
        if size < fewest:
            continue
        if rows is None or size == 1:
            yield Grams(grams, places)
        else:
            within = rows[: grams.size] == rows[size - 1 :]
            yield Grams(grams[within], rows[: grams.size][within])


def _of_characters(tokens: Tokens, characters: Range) -> Iterator[Grams]:
    """N-grams of every word and the spaces beside it."""
    starts = np.flatnonzero((tokens.codes & 0xC0) != 0x80)
    first = np.searchsorted(starts, tokens.begins) - 1
    lengths = np.searchsorted(starts, tokens.ends) + 1 - first
    total = int(lengths.sum())
    before = np.cumsum(lengths) - lengths
    steps = np.arange(total) - np.repeat(before, lengths)
    places = steps + np.repeat(first, lengths)
    left, rows = np.repeat(lengths, lengths) - steps, np.repeat(tokens.rows, lengths)
    starts = np.append(starts, tokens.codes.size)
    for size in range(characters[0], characters[1] + 1):
        whole = left >= size
        begins = places[whole]
        sums = _polynomials(tokens.sums, starts[begins], starts[begins + size])
        yield Grams(mix(sums + np.uint64(_OF_CHARACTERS)), rows[whole])


def _polynomial(run: bytes) -> int:
    total = 0
    for byte in reversed(run):
        total = (total * _P + byte) % _MODULUS
    return total


@lru_cache(maxsize=2**16)
def _kept_word(word: str) -> int:
    return _mix_one(_polynomial(word.encode()))


def _word(word: str) -> int:
    """The hash of a folded word."""
    return _kept_word(word) if len(word) <= _SHORT else _kept_word.__wrapped__(word)


@lru_cache(maxsize=2**14)
def _kept_characters(word: str, characters: Range) -> Hashes:
    fewest, most = characters
    padded = f" {word} ".encode()
    if len(padded) > len(word) + 2:
        return _characters_of(word, characters)
    sums, totals = [], [byte + _OF_CHARACTERS for byte in padded]
    for size in range(1, min(most, len(padded)) + 1):  # every n-gram goes on from the one that is a byte shorter
        if size > 1:
            power = _FIRST_POWERS[size - 1]
            totals = [total + byte * power for total, byte in zip(totals, padded[size - 1 :], strict=False)]
        if size >= fewest:
            sums += totals
    return mix(np.array([total % _MODULUS for total in sums], dtype=np.uint64))


def _characters_of(word: str, characters: Range) -> Hashes:
    """The same of a word that has characters of several bytes."""
    padded = [character.encode() for character in f" {word} "]
    sums = [
        (_polynomial(b"".join(padded[begin : begin + size])) + _OF_CHARACTERS) % _MODULUS
        for size in range(characters[0], characters[1] + 1)
        for begin in range(len(padded) - size + 1)
    ]
    return mix(np.array(sums, dtype=np.uint64))


def _word_characters(word: str, characters: Range) -> Hashes:
    """The hashes of the character n-grams of a folded word."""
    return _kept_characters(word, characters) if len(word) <= _SHORT else _kept_characters.__wrapped__(word, characters)
