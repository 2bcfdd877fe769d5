"""Contributions to what any learner says: its own where it can tell, otherwise along orders of the features.

A learner that cannot tell is asked for rows between the typical row of its training and the row at hand. Features are
changed from the one to the other, one after the other, in several orders. What each changes, on average over the
orders, is its contribution (Shapley values by sampling, Castro et al. 2009). Whatever the orders are, they add up.
"""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.models.contributions import Array, Contributions, linear_scale
from headrace.models.stopping import refuse_stopped

if TYPE_CHECKING:
    from headrace.models.base import Fitted
    from headrace.models.encoding import Encoded

EXACT, PERMUTATION = "exact", "permutation"
ORDERS = 16
"""Orders of the features that are tried, half of them the others reversed; all orders where there are few."""
_FEW = 4
"""Features of which all orders are tried."""
MOST_WORDS = 60
"""Words of a text that are told by themselves."""
AT_ONCE = 4_096
"""Rows that a learner is asked for at once."""


def contributions_of(member: Fitted, rows: Encoded, output: str) -> tuple[Contributions, str]:
    """Contributions to a learner's scores, and how they were got: ``exact`` or ``permutation``.

    Args:
        member: The learner.
        rows: One row at least.
        output: What it was asked for.

    Raises:
        ExplainError: The learner cannot tell, and its training kept no typical row.
    """
    own = member.contributions(rows)
    if own is not None:
        return own.centred(), EXACT
    return _along_orders(member, rows, output), PERMUTATION


def _along_orders(member: Fitted, rows: Encoded, output: str) -> Contributions:
    encoder, orders = rows.encoder, _orders(len(rows.encoder.names))
    typical = encoder.typical_rows(len(rows))
    base = linear_scale(member.scores(encoder.typical_rows(1)), output)
    parts = np.zeros((len(rows), len(encoder.names), base.shape[1]))
    size = max(AT_ONCE // len(encoder.names), 1)
    for begin in range(0, len(rows), size):
        places = np.arange(begin, min(begin + size, len(rows)))
        some, usual = rows.taken(places), typical.taken(places)
        for order in orders:
            refuse_stopped()
            changed = np.zeros(len(encoder.names), dtype=bool)
            steps = [changed.copy()]
            for place in order:
                changed[place] = True
                steps.append(changed.copy())
            asked = usual.mixed(some, np.array(steps))
            said = linear_scale(member.scores(asked), output).reshape(len(steps), len(some), -1)
            for place, before, after in zip(order, said, said[1:], strict=False):
                parts[places, place] += (after - before) / len(orders)
    return Contributions(base[0], parts)


class WordParts(NamedTuple):
    """What a learner says of one row, with every word of its texts by itself.

    Attributes:
        base: Shape (width,).
        parts: Of every feature: shape (features, width). Of a text what its words do not tell, mostly nothing.
        words: The place of a text, one of its words, and what it adds: shape (width,).
    """

    base: Array
    parts: Array
    words: list[tuple[int, str, Array]]


def parts_by_word(member: Fitted, row: Encoded, output: str) -> WordParts:
    """Contributions to a learner's score of one row, where words are added one after the other as features are.

    Args:
        member: The learner.
        row: One row.
        output: What it was asked for.

    Raises:
        ExplainError: The learner cannot tell, and its training kept no typical row.
    """
    own = member.contributions(row)
    if own is not None:  # what can tell reads no text but as n-grams
        return _by_ngrams(member, row, own.centred())
    encoder = row.encoder
    texts = {place: str(text) for place, text in row.texts().items() if text is not None}
    words = [(place, word) for place, text in texts.items() for word in _words(text)]
    players = [(place, "") for place in range(len(encoder.names)) if place not in row.texts()] + words
    orders, typical = _orders(len(players)), encoder.typical_rows(1)
    base = linear_scale(member.scores(typical), output)
    added = np.zeros((len(players), base.shape[1]))
    for order in orders:
        refuse_stopped()
        there = np.tri(len(players) + 1, len(players), -1, dtype=bool)[:, np.argsort(order)]
        masks = np.zeros((len(there), len(encoder.names)), dtype=bool)
        for player, (place, word) in enumerate(players):
            if not word:
                masks[:, place] = there[:, player]
        asked = typical.mixed(row, masks)
        for step, present in enumerate(there):
            for place, text in texts.items():
                kept = [
                    word for (at, word), is_in in zip(players, present, strict=True) if at == place and word and is_in
                ]
                whole = len(kept) == len(_words(text))
                asked.values[step][place] = text if whole else " ".join(kept)  # type: ignore[index]
        said = linear_scale(member.scores(asked), output)
        added[list(order)] += (said[1:] - said[:-1]) / len(orders)
    parts = np.zeros((len(encoder.names), base.shape[1]))
    for (place, word), number in zip(players, added, strict=True):
        if not word:
            parts[place] = number
    told = [(place, word, number) for (place, word), number in zip(players, added, strict=True) if word]
    return WordParts(base[0], parts, told)


def _by_ngrams(member: Fitted, row: Encoded, own: Contributions) -> WordParts:
    """The words of n-grams; what the text adds beside them, such as that others have words, stays with it."""
    encoder, parts, told = row.encoder, own.parts[0].copy(), list[tuple[int, str, Array]]()
    for name, weights in encoder.ngrams.items():
        place = encoder.names.index(name)
        added = member.of_ngrams(row, place)
        if added is None:
            continue
        if own.base.size > 1:
            added = added - added.mean(axis=1, keepdims=True)
        words = weights.by_word(str(row.texts()[place] or ""), added)
        told += [(place, word, number) for word, number in words.items()]
        parts[place] -= added.sum(axis=0)
    return WordParts(own.base, parts, told)


def _words(text: str) -> list[str]:
    """Words of a text; beyond `MOST_WORDS` the rest is one."""
    words = text.split()
    return words if len(words) <= MOST_WORDS else [*words[:MOST_WORDS], " ".join(words[MOST_WORDS:])]


def _orders(features: int) -> list[tuple[int, ...]]:
    """Orders of the features: the same whenever it is asked."""
    if features <= _FEW:
        return list(permutations(range(features)))
    random = np.random.default_rng(0)
    drawn = [tuple(random.permutation(features).tolist()) for _ in range(ORDERS // 2)]
    return [order for one in drawn for order in (one, one[::-1])]
