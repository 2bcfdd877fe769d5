"""Features after each event: as the table form gives them for the same events, in however many parts they come."""

import random

import pytest
from tests.worlds.features import FEATURES, VALUES, by_tables, cards, folded, payments

from headrace import Column, Contract
from headrace.errors import DeclarationError
from headrace.features import col, hour, lag, rolling_sum, seasonal_lag, stored


def bits(rows):
    return [(key, time, [value.hex() if value == value else "nan" for value in values]) for key, time, values in rows]


@pytest.mark.parametrize("pace", [4.0, 90.0])
def test_each_event_gives_what_the_table_form_gives(pace):
    system, events = cards(), payments(110, seed=1, pace=pace)
    expected = by_tables(system, events)
    assert len(expected) < len(events)  # some came too late
    assert bits(folded(system, events, [len(events)])) == bits(expected)


def test_the_parts_in_which_events_come_change_no_bit(monkeypatch):
    system, events, chance = cards(), payments(150, seed=2), random.Random(3)
    whole = bits(folded(system, events, [len(events)]))
    for _ in range(2):
        cuts = sorted(chance.sample(range(1, len(events)), 12))
        sizes = [b - a for a, b in zip([0, *cuts], [*cuts, len(events)], strict=True)]
        assert bits(folded(system, events, sizes)) == whole
    monkeypatch.setattr("headrace.serving.stream.features.folding._AT_ONCE", 5_000)
    assert bits(folded(system, events, [len(events)])) == whole
    assert bits(folded(system, events, [1] * len(events))) == whole


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({"features": {"x": lag("amount", "0h")}}, "features.x"),
        ({"features": {"x": col("spent")}}, "features.x"),
        ({"features": {"x": lag("spent", "0h") * hour()}}, "features.x"),
        ({"features": {"x": seasonal_lag("spent", "1h")}}, "features.x"),
        ({"features": {"x": stored("a", "spent", key="card") + lag("spent", "0h")}}, "features.x"),
        ({"features": {"x": rolling_sum("spent", "90s")}}, "features.x"),
        ({"features": {"event": lag("spent", "0h")}}, "features.event"),
        ({"features": {}}, "features"),
        ({"values": {"spent": ("card", "sum")}}, "values.spent"),
        ({"values": {"abroad": ("abroad", "sum")}, "features": {"a": lag("abroad", "0h")}}, "values"),
        ({"keys": ("amount",)}, "keys[0]"),
        ({"keys": ("nobody",)}, "keys[0]"),
        ({"time": "card"}, "time"),
        ({"name": "Cards"}, "name"),
        ({"contract": Contract(columns=(Column("card", "category"), Column("at", "time")))}, "values.spent"),
    ],
)
def test_a_mistake_is_named(given, where):
    with pytest.raises(DeclarationError) as caught:
        cards(**{"values": VALUES, "features": FEATURES} | given)
    assert caught.value.where == where


def test_what_is_remembered_has_a_version_of_its_own():
    one, other = cards(), cards(features={"spent_10m": FEATURES["spent_10m"], "largest_1h": FEATURES["largest_1h"]})
    assert one.definition != other.definition
    assert one.state_definition == other.state_definition
    assert cards(features={"x": rolling_sum("spent", "2h")}).state_definition != one.state_definition
