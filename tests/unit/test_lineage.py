"""Ids of predictions and runs."""

import uuid
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from headrace.errors import NotFoundError
from headrace.lineage import Pins, as_of_in, digest_of, prediction_ids, run_id

AS_OF = datetime(2026, 3, 2, 12, 30, tzinfo=UTC)
PINS = Pins(AS_OF, 7, "f" * 12, 3, "d" * 64, "c" * 12, "headrace")


def ids(pins=PINS, revision=0, system="energy"):
    keys = ["DK1\x1f111", "DK1\x1f112", "DK2\x1f111"]
    ahead, of = np.tile(np.arange(1, 201), 3), np.repeat(np.arange(3), 200)
    as_of = np.full(600, (pins.as_of - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1))
    return prediction_ids(system, pins, keys, of, as_of, ahead, np.full(600, revision))


def test_ids_are_unique_repeatable_and_tell_their_time():
    made = ids()
    assert made == ids()
    assert len(set(made)) == 600
    assert {uuid.UUID(each).version for each in made} == {7}
    assert {as_of_in(each) for each in made} == {AS_OF}


def test_what_shapes_the_number_shapes_the_id_and_the_data_version_does_not():
    from dataclasses import replace

    first = set(ids())
    assert first == set(ids(replace(PINS, data_version=8, model_version=9, code_revision="later")))
    for other in (
        ids(revision=1),
        ids(system="other"),
        *(
            ids(replace(PINS, **change))
            for change in ({"model_digest": "e"}, {"feature_version": "e"}, {"config_digest": "e"})
        ),
        ids(replace(PINS, as_of=AS_OF + timedelta(hours=1))),
    ):
        assert not first & set(other)


def test_run_ids_sort_by_start():
    assert run_id("a", AS_OF, AS_OF) < run_id("a", AS_OF - timedelta(days=9), AS_OF + timedelta(seconds=1))


def test_something_else_is_no_id():
    with pytest.raises(NotFoundError, match="not the id"):
        as_of_in("42")


def test_digests_do_not_depend_on_the_order_of_fields():
    assert digest_of({"a": 1, "b": [2]}) == digest_of({"b": [2], "a": 1}) != digest_of({"a": 1, "b": [3]})
