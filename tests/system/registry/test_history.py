"""Who is champion when, against an oracle that replays everything in the plainest way."""

from __future__ import annotations

import random
from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st
from tests.system.registry.conftest import at

from headrace.registry.history import VersionEvent, effective_from, standing

EVENTS = st.tuples(
    st.sampled_from(["promoted", "rejected", "rolled_back", "registered"]),
    st.integers(1, 4),
    st.integers(0, 5),
    st.integers(0, 2),
)


def facts_of(events: list[tuple[str, int, int, int]]) -> list[VersionEvent]:
    return [
        VersionEvent(event, version, at(days), at(100 + written), order)  # type: ignore[arg-type]
        for order, (event, version, days, written) in enumerate(events)
    ]


def oracle_champion(facts: list[VersionEvent], as_of: datetime) -> int | None:
    best: VersionEvent | None = None
    for fact in facts:
        if fact.event not in ("promoted", "rolled_back") or fact.as_of > as_of:
            continue
        if best is None or (fact.as_of, fact.order) > (best.as_of, best.order):
            best = fact
    return best.version if best else None


@given(st.lists(EVENTS, max_size=12), st.integers(-1, 6), st.randoms(use_true_random=False))
def test_champion_is_the_last_promoted_or_gone_back_to(
    events: list[tuple[str, int, int, int]], days: int, shuffle: random.Random
) -> None:
    facts = facts_of(events)
    expected = oracle_champion(facts, at(days))
    shuffle.shuffle(facts)
    assert standing(facts, at(days)).champion == expected


@given(st.lists(EVENTS, max_size=12), st.lists(EVENTS, max_size=6), st.integers(0, 5))
def test_the_future_does_not_change_the_past(
    events: list[tuple[str, int, int, int]], later: list[tuple[str, int, int, int]], days: int
) -> None:
    future = [(event, version, days + 1 + when, written) for event, version, when, written in later]
    assert standing(facts_of(events + future), at(days)) == standing(facts_of(events), at(days))


@given(st.lists(st.sampled_from([1, 2, 3, 0]), max_size=20))
def test_rollbacks_undo_promotions_like_a_stack(steps: list[int]) -> None:
    facts: list[VersionEvent] = []
    stack: list[int] = []
    for order, version in enumerate(steps):
        if version:
            facts.append(VersionEvent("promoted", version, at(0), at(0), order))
            stack += [version] if stack[-1:] != [version] else []
        elif len(stack) > 1:
            stack.pop()
            facts.append(VersionEvent("rolled_back", standing(facts).champions[-2], at(0), at(0), order))
        assert standing(facts).champions == tuple(stack)


def test_challenger_is_the_latest_trained_until_it_is_judged() -> None:
    facts = [VersionEvent("registered", 1, at(0), at(0), 1), VersionEvent("registered", 2, at(2), at(2), 2)]
    assert standing(facts, at(1)).challenger == 1
    assert standing(facts, at(2)).challenger == 2
    facts.append(VersionEvent("rejected", 2, at(3), at(3), 3))
    assert standing(facts).challenger is None
    assert standing(facts).latest == 2
    assert standing(facts, at(2)).challenger == 2


def test_effective_from() -> None:
    facts = [VersionEvent("registered", 1, at(5), at(9), 1)]
    assert effective_from(facts, at(1), at(2)) == at(1)
    assert effective_from(facts, None, at(900)) == at(5)
    assert effective_from([], None, at(900)) == at(900)
