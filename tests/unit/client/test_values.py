"""What people put into rows, and what a server is sent."""

import asyncio
import enum
import json
from datetime import UTC, datetime
from decimal import Decimal

import httpx
import numpy as np
import pandas as pd
import polars as pl
import pytest

from headrace.client import AsyncClient, Client
from headrace.client.asking import ARROW
from headrace.client.frames import arrow_of, frame_of
from headrace.client.values import encoded
from headrace.errors import RefusedRequestError, UsageError


class Sex(enum.StrEnum):
    MALE = "male"


class Rows:
    """A server of rows: it answers each with its place of all."""

    def __init__(self):
        self.bodies, self.count = [], 0

    def __call__(self, request):
        arrow = request.headers["content-type"] == ARROW
        body = frame_of(request.content) if arrow else json.loads(request.content)
        self.bodies.append(body)
        places = range(self.count, self.count + len(body))
        self.count += len(body)
        if not arrow:
            return httpx.Response(200, json={"predictions": [{"place": place} for place in places]})
        answer = pl.DataFrame({"place": pl.Series(list(places), dtype=pl.Int64)})
        return httpx.Response(200, content=arrow_of(answer), headers={"content-type": ARROW})

    def client(self):
        return Client("http://server", transport=httpx.MockTransport(self))


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.datetime64("2026-01-01T10:00:00.000000001"), "2026-01-01T10:00:00"),
        (pd.Timestamp("2026-01-01", tz="Europe/Copenhagen"), "2026-01-01T00:00:00+01:00"),
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00Z"),
        (Decimal("7.25"), 7.25),
        (Sex.MALE, "male"),
        *((missing, None) for missing in (None, float("nan"), np.float64("nan"), Decimal("NaN"), pd.NA, pd.NaT)),
        (np.datetime64("NaT"), None),
    ],
)
def test_a_value_of_any_library_is_sent_as_json_has_it(value, sent):
    assert json.loads(encoded({"a": value, "b": [value]})) == {"a": sent, "b": [sent]}


@pytest.mark.parametrize("value", [float("inf"), np.float64("-inf"), Decimal("Infinity"), {1}, b"a", "\ud800"])
def test_what_json_has_no_form_for_is_refused_and_not_sent_as_missing(value):
    with pytest.raises(UsageError):
        encoded({"a": value})


def test_a_value_that_holds_itself_is_refused():
    itself = []
    itself.append(itself)
    with pytest.raises(UsageError, match="nested"):
        encoded(itself)


def test_a_frame_of_pandas_keeps_its_index_and_what_is_missing():
    frame = pd.DataFrame(
        {
            "age": [22.0, np.nan, 30.5, 1.0],
            "class": pd.array([1, None, 3, 1], dtype="Int64"),
            "sex": pd.Categorical(["male", None, "female", "male"]),
            "mixed": np.array([1, 2.5, None, 3], dtype=object),
            "none": None,
            "at": pd.to_datetime(["2026-01-01", None, "2026-07-01", "2026-07-02"]).tz_localize("Europe/Copenhagen"),
        },
        index=[30, 10, 20, 40],
    )
    rows = Rows()
    answer = rows.client().predict_frame("s", frame, batch=3)
    assert answer.index.tolist() == [30, 10, 20, 40]
    assert frame.assign(place=answer["place"])["place"].tolist() == [0, 1, 2, 3]
    sent = pl.concat(rows.bodies, how="vertical_relaxed")
    assert [body.height for body in rows.bodies] == [3, 1]
    assert sent["age"].to_list() == [22.0, None, 30.5, 1.0]
    assert sent["class"].to_list() == [1, None, 3, 1]
    assert sent["sex"].to_list() == ["male", None, "female", "male"]
    assert sent["mixed"].to_list() == [1.0, 2.5, None, 3.0]
    assert sent["at"].dt.convert_time_zone("UTC").to_list()[0] == datetime(2025, 12, 31, 23, tzinfo=UTC)


def test_both_ways_send_the_same_of_a_frame():
    frame = pl.DataFrame({"age": [22.0, None, float("nan")]})
    rows = Rows()
    with rows.client() as client:
        for given in (frame, frame.lazy(), frame.to_pandas(), frame.to_dicts()):
            client.predict_frame("s", given)
            assert rows.bodies[-1]["age"].fill_nan(None).to_list() == [22.0, None, None]
            assert len(list(client.predict_rows("s", given))) == 3
            assert rows.bodies[-1] == [{"age": 22.0}, {"age": None}, {"age": None}]
        client.predict_frame("s", frame.clear())
        assert rows.bodies[-1].height == 0


@pytest.mark.parametrize("rows", ["abc", 7, None, ["abc"]], ids=str)
def test_what_are_no_rows_is_said_so(rows):
    with Rows().client() as client:
        for call in (client.predict_frame, client.predict, lambda *about: list(client.predict_rows(*about))):
            with pytest.raises(UsageError, match="no row"):
                call("s", rows)
        with pytest.raises(UsageError, match="at least 1"):
            client.predict_frame("s", [{"a": 1}], batch=0)


def test_columns_that_cannot_be_one_are_named():
    with Rows().client() as client:
        with pytest.raises(UsageError, match="two columns 'a'"):
            client.predict_frame("s", pd.DataFrame([[1, 2]], columns=["a", "a"]))
        with pytest.raises(UsageError, match="'a' holds values of several kinds: int, str"):
            client.predict_frame("s", pd.DataFrame({"a": [1, "x"]}))


def test_a_row_may_be_a_series_of_pandas_and_rows_may_be_explained_as_a_frame():
    asked = []

    def answer(request):
        asked.append(json.loads(request.content))
        return httpx.Response(200, json={"explanations": [{}, {}]})

    with Client("http://server", transport=httpx.MockTransport(answer)) as client:
        frame = pd.DataFrame({"a": [1, 2], "b": ["x", None]})
        client.predict("s", frame.iloc[1])
        client.explain_rows("s", frame)
    assert asked == [{"a": 2, "b": None}, [{"a": 1, "b": "x"}, {"a": 2, "b": None}]]


def test_a_choice_that_is_empty_does_not_choose_all():
    asked = []

    def answer(request):
        asked.append(json.loads(request.content))
        return httpx.Response(200, json={})

    transport = httpx.MockTransport(answer)
    with Client("http://server", transport=transport) as client:
        for call in (
            lambda: client.release("s", ids=[]),
            lambda: client.release("s", reason=""),
            lambda: client.release("s", source=""),
            lambda: client.resend("s", places=[]),
        ):
            with pytest.raises(UsageError, match="chooses nothing"):
                call()
    with pytest.raises(UsageError, match="chooses nothing"):
        asyncio.run(AsyncClient("http://server", transport=transport).release("s", ids=[]))
    assert not asked


def test_one_reason_is_a_text_not_its_letters():
    asked = []

    def answer(request):
        asked.append((request.url.params.get_list("reason"), request.content))
        return httpx.Response(422, json={})

    with Client("http://server", transport=httpx.MockTransport(answer)) as client:
        for call in (client.release, client.quarantine):
            with pytest.raises(RefusedRequestError):
                call("s", reason="age")
    assert asked[0][1] == b'{"reason":"age"}'
    assert asked[1][0] == ["age"]
