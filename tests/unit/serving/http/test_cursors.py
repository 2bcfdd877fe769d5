"""Cursors and times that nobody was given."""

import base64
import json
from datetime import UTC, datetime

import pytest

from headrace.errors import NotFoundError
from headrace.serving.http.problem import Problem
from headrace.serving.http.reads.answering import moment_of
from headrace.serving.http.reads.logged import _place
from headrace.serving.http.reads.paging import cursor_of, key_of
from headrace.serving.http.reads.records import _number

TIME = "2026-03-02T00:00:00Z"


@pytest.mark.parametrize("key", [10**30, 2**63, 0, -1, True, 1.5, "1", None, [1]], ids=repr)
def test_a_forged_number_is_no_cursor(key):
    with pytest.raises(NotFoundError, match="no cursor"):
        _number(key_of(cursor_of(key)))


@pytest.mark.parametrize(
    "key",
    [
        7,
        None,
        [TIME],
        [TIME, 1],
        [TIME, ""],
        [TIME, "\ud800"],
        ["soon", "a"],
        [1, "a"],
        ["0001-01-01T00:00:00+10:00", "a"],
        ["9999-12-31T23:59:59-10:00", "a"],
        {TIME: 1, "a": 2},
    ],
    ids=repr,
)
def test_a_forged_place_is_no_cursor(key):
    with pytest.raises(NotFoundError, match="no cursor"):
        _place(key_of(cursor_of(key)))


def test_a_place_is_a_time_in_utc():
    assert _place(["2026-03-02T02:00:00+02:00", "a"]) == (datetime(2026, 3, 2, tzinfo=UTC), "a")


@pytest.mark.parametrize("text", ["!", "ä", "[" * 300, base64.b64encode(b"\xff\xff").decode(), "NaN"])
def test_what_is_no_text_of_ours_is_no_cursor(text):
    with pytest.raises(NotFoundError, match="no cursor"):
        key_of(text)
    assert key_of(cursor_of(json.loads('["a"]'))) == ["a"]


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00+10:00", "9999-12-31T23:59:59.999999+00:00", "9999-12-31T23:59:59-10:00"]
)
def test_the_ends_of_the_calendar_are_refused(text):
    with pytest.raises(Problem, match="calendar"):
        moment_of(datetime.fromisoformat(text))
