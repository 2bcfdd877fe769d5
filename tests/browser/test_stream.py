"""The stream's page over a real broker: what waits, what was set apart and why, and the button that sends it again."""

import json

import pytest
from tests import kafka
from tests.browser.home import TOKENS, browsed
from tests.browser.window import Window
from tests.servers import event

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.fixture
def fed(kafka_broker, tmp_path_factory, tmp_path):
    """A server whose stream has answered one event, set two apart, and has not read a fourth."""
    from confluent_kafka import Producer

    bootstrap = kafka_broker.bootstrap
    kafka.clear(bootstrap, "live_metrics")
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": 2})

    def send(*bodies):
        for body in bodies:
            producer.produce("live_metrics.events", key="orders", value=body)
        assert producer.flush(30) == 0

    settings = json.dumps({"bootstrap.servers": bootstrap})
    folder = tmp_path / "copy"
    with browsed(tmp_path_factory.getbasetemp(), folder, HEADRACE_KAFKA=settings) as server:
        system, place = folder / "live_metrics", ("--home", folder / "home", "--json", "--bootstrap", bootstrap)
        send(json.dumps(event(1)), b"{", json.dumps(event(2) | {"value": "<b>much</b>"}))
        kafka.ran("stream", system, *place, "--stop-when-idle", "2s", "--workers", 1)
        send(json.dumps(event(3)))
        yield server


def test_events_set_apart_are_read_and_sent_again(chromium, fed):
    window = Window(chromium, fed.url)
    window.login(next(iter(TOKENS)))
    window.open("/systems/live_metrics/stream")
    body = window.page.inner_text("main")
    assert "reachable" in body
    assert window.page.inner_text("dl .fact >> nth=0").split() == ["Events", "that", "wait", "1"]
    assert "<b>much</b>" in body
    assert window.page.locator("section[aria-labelledby=letters-head] table >> nth=1 >> tbody tr").count() == 2
    assert (window.faults(), window.overflow()) == ([], 0)
    window.shoot("stream_full")
    window.page.click("summary:has-text('again')")
    window.page.click("section[aria-labelledby=letters-head] form button")
    assert "2 sent again" in window.page.inner_text(".banner.good")
    window.open("/systems/live_metrics/stream")
    assert "No event is set apart." in window.page.inner_text("main")
    narrow = Window(chromium, fed.url, scheme="dark", width=360)
    narrow.login(next(iter(TOKENS)))
    narrow.open("/systems/live_metrics/stream")
    assert (narrow.faults(), narrow.overflow()) == ([], 0)
    narrow.shoot("stream_full")
    for each in (window, narrow):
        each.context.close()
