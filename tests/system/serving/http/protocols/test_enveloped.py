"""Posts in an envelope say what the rows inside of them say, to the last bit."""

import pytest
from tests.servers import EVENTS, LIVE, event, passengers, serving

ROWS = passengers(12, first=910_000)
STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
ATTRIBUTES = {"specversion": "1.0", "id": "a-1", "source": "/shop", "type": "sold"}


def said(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_structured_event_is_its_data(titanic):
    plain = said(titanic.post(ROWS[0]))
    assert said(titanic.post({**ATTRIBUTES, "data": ROWS[0]}, content_type=STRUCTURED)) == plain
    assert said(titanic.post({**ATTRIBUTES, "data": ROWS[0]}, content_type=f"{STRUCTURED}; charset=utf-8")) == plain
    binary = titanic.post(ROWS[0], ce_specversion="1.0", ce_id="a-1", ce_source="/shop", ce_type="sold")
    assert said(binary) == plain


def test_several_events_are_answered_in_their_order(titanic):
    plain = said(titanic.post(ROWS[1:6]))
    events = [{**ATTRIBUTES, "data": row} for row in ROWS[1:6]]
    assert said(titanic.post(events, content_type=BATCH)) == plain


@pytest.mark.parametrize(
    ("event", "kind", "status", "part"),
    [
        ({**ATTRIBUTES}, STRUCTURED, 422, "has no data"),
        ({**ATTRIBUTES, "specversion": "2.0", "data": {}}, STRUCTURED, 422, "of version 2.0"),
        ({"data": ROWS[0]}, STRUCTURED, 422, "is no CloudEvent"),
        ({**ATTRIBUTES, "data": 5}, STRUCTURED, 422, "is not an object"),
        ({**ATTRIBUTES, "data_base64": "?"}, STRUCTURED, 422, "data_base64"),
        ({**ATTRIBUTES, "data": ROWS[0] | {"Pclass": 9}}, STRUCTURED, 422, "Pclass"),
        (b"{", STRUCTURED, 400, "not JSON"),
        (b"<event/>", "application/cloudevents+xml", 415, "JSON"),
        (b"[" * 100_000, STRUCTURED, 400, ""),
    ],
)
def test_what_is_no_event_is_refused(titanic, event, kind, status, part):
    answer = titanic.post(event, content_type=kind)
    assert answer.status_code == status, answer.text
    assert part in answer.text


def test_paths_lead_into_events_of_both_modes_and_plain_rows_stay_plain(home):
    paths = '{"Fare": "ticket.price", "Embarked": "@.harbour"}'
    declared = ("--set", "stream.envelope=cloudevents", "--set", f"stream.paths={paths}")
    with serving(home, *declared) as server:
        row = ROWS[7] | {"Fare": 7.25, "Embarked": "S"}
        inside = {name: value for name, value in row.items() if name not in ("Fare", "Embarked")}
        inside["ticket"] = {"price": 7.25}
        plain = said(server.post(row))
        around = {**ATTRIBUTES, "harbour": "S"}
        assert said(server.post({**around, "data": inside}, content_type=STRUCTURED)) == plain
        binary = server.post(inside, ce_specversion="1.0", ce_id="a", ce_source="/", ce_type="t", ce_harbour="S")
        assert said(binary) == plain
        assert server.post({**around, "data": row}, content_type=STRUCTURED).status_code == 409  # no fare at its path


def test_changes_of_a_database_are_posted_as_they_are_streamed(home):
    with serving(home, "--set", "stream.envelope=debezium", "--set", "stream.also=['http']") as server:
        change = {"op": "c", "before": None, "after": ROWS[8], "source": {"table": "people"}}
        one = said(server.post(change))
        assert one["key"] == ROWS[8]["PassengerId"]
        gone = {"op": "d", "before": ROWS[8], "after": None}
        assert said(server.post(gone)) == {"ignored": "deletion"}
        both = said(server.post([change, gone, change | {"after": ROWS[9]}]))["predictions"]
        assert both[0] == {name: one[name] for name in both[0]}
        assert both[1] == {"ignored": "deletion"}
        assert both[2]["key"] == ROWS[9]["PassengerId"]
        assert server.post(ROWS[8]).status_code == 422


def test_events_of_series_come_in_envelopes_too(live_home):
    declared = ("--set", "stream.envelope=cloudevents", "--set", 'stream.paths={"time": "@.time"}')
    with serving(live_home, *declared, systems=(LIVE,)) as server:
        for hour in range(1, 4):
            plain = said(server.post(event(hour), EVENTS))
            inside = event(hour)
            around = {**ATTRIBUTES, "time": inside.pop("time"), "data": inside}
            # The same event again has the answer that it had.
            assert said(server.post(around, EVENTS, content_type=STRUCTURED)) == plain
            fresh = {**around, "data": inside | {"metric": "revenue"}}
            assert len(said(server.post(fresh, EVENTS, content_type=STRUCTURED))["predictions"]) == 3
