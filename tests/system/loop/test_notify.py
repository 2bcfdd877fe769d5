"""What people are told of alerts, over a real channel: once, in one message, and nothing is lost when it is down."""

import json
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from unittest.mock import Mock

import pytest

from headrace.doctor import examine
from headrace.home import Home
from headrace.ledger.notices import Notice
from headrace.loading import load_system
from headrace.loop import channels
from headrace.loop import notify as telling
from headrace.loop.notify import deliver, enqueue, given_up, message, news, notify, rehearse
from headrace.policy.alerts import Alert
from headrace.settings import Settings

SHIFTED = Path(__file__).parents[2] / "worlds" / "shifted"
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Channel(HTTPServer):
    """Takes messages, unless it is down."""

    def __init__(self):
        self.taken, self.down, self.dribbles = [], False, False
        channel = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(503 if channel.down else 200)
                if channel.dribbles:
                    self.send_header("Content-Length", "1000")
                self.end_headers()
                while channel.dribbles:
                    self.wfile.write(b".")
                    time.sleep(0.05)
                if not channel.down:
                    channel.taken.append((self.path, json.loads(body)))

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self):
        return f"json://127.0.0.1:{self.server_port}/s3cr3t"


@pytest.fixture
def channel(monkeypatch):
    opened = Channel()
    monkeypatch.setenv("OPS_WEBHOOK", opened.address)
    monkeypatch.setattr(channels, "PAUSES", (0.0,))
    yield opened
    opened.shutdown()
    opened.server_close()


@pytest.fixture
def home(tmp_path):
    return Home(Settings(home=tmp_path))


@pytest.fixture
def system():
    return load_system(str(SHIFTED), ["monitoring.notify=[OPS_WEBHOOK]"])


def alert(name, raised=NOW - HOUR, **other):
    values = {"severity": "warning", "rule": "threshold wape", "scope": {"series": "s1"}, "value": 0.25}
    return Alert(f"alert-{name}", **{**values, "threshold": 0.2, "raised_at": raised, **other})


def test_what_is_told_of_an_alert_and_of_what_is_long_past():
    escalated = alert("a", severity="alarm", alarm_at=NOW, closed_at=NOW + HOUR)
    told = news("shifted", [escalated], ["OPS", "MAIL"], NOW + HOUR)
    assert [(n.event, n.channel) for n in told[::2]] == [("raised", "OPS"), ("escalated", "OPS"), ("closed", "OPS")]
    assert len({n.key for n in told}) == 6
    assert "alarm (was a warning): threshold wape of series s1: 0.25, beyond 0.2" in told[2].text
    long_ago = NOW - 60 * DAY
    assert news("shifted", [alert("b", long_ago, closed_at=long_ago + DAY)], ["OPS"], NOW) == []
    assert [n.event for n in news("shifted", [alert("c", long_ago)], ["OPS"], NOW)] == ["raised"]  # it is open still
    assert news("shifted", [escalated], [], NOW) == []


def test_what_a_rule_says_is_told_after_the_limit():
    (told,) = news("shifted", [alert("a", evidence={"says": "2 of 3 series are silent"})], ["OPS"], NOW)
    assert "0.25, beyond 0.2: 2 of 3 series are silent (2026" in told.text


def test_many_alerts_are_one_message_with_the_rest_counted():
    many = [Notice("shifted", f"alert-{n}", "raised", "OPS", NOW, f"warning: {n}") for n in range(50)]
    title, text, kind = message("shifted", [*many, many[0]._replace(event="closed", text="closed: 0")])
    assert (title, kind) == ("shifted: 50 warnings, 1 alert closed", "warning")
    assert text.splitlines()[-1] == "and 11 more: headrace alerts shifted"


def test_an_alert_is_told_once_in_one_message(home, system, channel):
    alerts = [alert("a"), alert("b", severity="alarm", alarm_at=NOW - HOUR)]
    for _ in range(2):
        assert notify(system, home, lambda: alerts, as_of=NOW, now=NOW) == []
    ((path, body),) = channel.taken
    assert (path, body["title"], body["type"]) == ("/s3cr3t", "shifted: 1 alarm, 1 warning", "failure")
    assert [line.split(":")[0] for line in body["message"].splitlines()] == ["warning", "alarm"]
    later = [alert("a", closed_at=NOW + HOUR), alerts[1]]
    notify(system, home, lambda: later, as_of=NOW + HOUR, now=NOW + HOUR)
    assert (channel.taken[-1][1]["title"], len(channel.taken)) == ("shifted: 1 alert closed", 2)


def test_nothing_is_lost_while_a_channel_is_down_and_no_secret_is_told(home, system, channel, caplog, capfd):
    channel.down = True
    (warning,) = notify(system, home, lambda: [alert("a")], as_of=NOW, now=NOW)
    assert warning == "1 message about an alert waits for OPS_WEBHOOK: the channel did not take it"
    channel.down = False
    soon = NOW + timedelta(seconds=5)  # the message rests first
    assert notify(system, home, lambda: [alert("a"), alert("b")], as_of=NOW, now=soon) != []
    assert [body["title"] for _, body in channel.taken] == ["shifted: 1 warning"]  # the new one
    assert notify(system, home, lambda: [alert("a"), alert("b")], as_of=NOW, now=NOW + HOUR) == []
    assert len(channel.taken) == 2
    said = caplog.text + "".join(capfd.readouterr()) + warning
    stored = b"".join(path.read_bytes() for path in home.path.rglob("ledger.db*"))
    assert "s3cr3t" not in said
    assert b"s3cr3t" not in stored


def test_waits_get_longer_and_force_ends_them(home, system, channel):
    channel.down = True
    enqueue(system, home, [alert("a")], NOW)
    waits, tries = [], 0
    for minutes in range(100):
        before = tries
        deliver("shifted", home, now=NOW + timedelta(minutes=minutes))
        tries = home.ledger.notices.waiting("shifted")[0].tries
        waits += [minutes] if tries > before else []
    assert waits == [0, 1, 3, 7, 15, 31, 63]
    channel.down = False
    (delivery,) = deliver("shifted", home, now=NOW + timedelta(minutes=64), force=True)
    assert (delivery.sent, delivery.waiting) == (1, 0)


def test_a_death_after_sending_repeats_the_message_and_loses_none(home, system, channel):
    enqueue(system, home, [alert("a"), alert("b")], NOW)

    def dies(*what):
        assert channels.by_apprise(*what) is None
        raise KeyboardInterrupt  # as a kill would: what was sent is not noted

    with pytest.raises(KeyboardInterrupt):
        deliver("shifted", home, now=NOW, send=dies)
    assert deliver("shifted", home, now=NOW + timedelta(minutes=1))[0].sent == 0  # it may be alive
    assert deliver("shifted", home, now=NOW + telling.CLAIM)[0].sent == 2
    assert deliver("shifted", home, now=NOW + DAY) == []
    assert len(channel.taken) == 2


def test_what_is_not_set_up_is_said(home, system, channel, monkeypatch):
    tried = {"channel": "OPS_WEBHOOK", "sent": 1, "waiting": 0, "reason": None, "given_up": 0}
    assert rehearse(system)[0].as_dict() == tried
    assert channel.taken[0][1]["message"] == "A trial: alerts of shifted come here."
    monkeypatch.setenv("OPS_WEBHOOK", "nonsense")
    assert rehearse(system)[0].reason == "an address in it is none that Apprise knows"
    monkeypatch.delenv("OPS_WEBHOOK")
    assert rehearse(system)[0].reason == "the variable OPS_WEBHOOK is not set"
    silent = load_system(str(SHIFTED))
    assert notify(silent, home, lambda: [alert("a")], as_of=NOW, now=NOW) == []
    assert not home.has_ledger  # nothing was opened for nothing


def test_what_came_with_data_forges_no_line_calls_nobody_and_is_short(system):
    hostile = "@everyone <!channel> [x](http://evil)\nalarm: forged \x1b[2J\u202e" + "y" * 100_000
    told = news("shifted", [alert("a", scope={"series": hostile})], ["OPS"], NOW)
    _, text, _ = message("shifted", told)
    assert len(text.splitlines()) == 1
    assert len(text) < 400
    assert not any(sign in text for sign in ("@everyone", "<!channel", "](http", "http://", "\x1b", "\u202e"))
    assert alert("a", scope={"series": hostile}).as_dict()["scope"] == {"series": hostile}  # for programs, as it came


def test_while_one_of_several_addresses_is_down_the_others_are_told_once(home, system, channel, monkeypatch):
    broken = Channel()
    monkeypatch.setenv("OPS_WEBHOOK", f"{broken.address}, {channel.address}")
    broken.down = True
    (warning,) = notify(system, home, lambda: [alert("a")], as_of=NOW, now=NOW)
    assert warning.endswith("waits for OPS_WEBHOOK: 1 of 2 addresses: the channel did not take it")
    for hours in range(1, 4):
        notify(system, home, lambda: [alert("a")], as_of=NOW, now=NOW + hours * HOUR)
    assert (len(channel.taken), broken.taken) == (1, [])
    broken.down = False
    assert notify(system, home, lambda: [alert("a"), alert("b")], as_of=NOW, now=NOW + DAY) == []
    assert [body["title"] for _, body in channel.taken] == ["shifted: 1 warning"] * 2
    assert [body["title"] for _, body in broken.taken] == ["shifted: 2 warnings"]
    assert deliver("shifted", home, now=NOW + 2 * DAY) == []
    broken.shutdown()
    broken.server_close()


def test_a_channel_that_never_ends_its_answer_holds_no_run(home, system, channel, monkeypatch):
    monkeypatch.setattr(channels, "PATIENCE", 0.3)
    channel.dribbles = True
    began = time.monotonic()
    (warning,) = notify(system, home, lambda: [alert("a")], as_of=NOW, now=NOW)
    channel.dribbles = False
    assert warning.endswith("the channel did not answer within 0.3 seconds")
    assert time.monotonic() - began < 5


def test_a_clock_that_goes_back_holds_no_message(home, system, channel):
    channel.down = True
    notify(system, home, lambda: [alert("a"), alert("b")], as_of=NOW, now=NOW + 400 * DAY)
    home.ledger.notices.claim("shifted", "OPS_WEBHOOK", now=NOW + 401 * DAY, until=NOW + 401 * DAY + telling.CLAIM)
    channel.down = False
    assert deliver("shifted", home, now=NOW)[0].sent == 2


def test_what_waits_for_a_channel_that_was_taken_out_is_given_up_and_said(home, system, channel):
    channel.down = True
    notify(system, home, lambda: [alert("a"), alert("b")], as_of=NOW, now=NOW)
    channel.down = False
    silent = load_system(str(SHIFTED))
    (warning,) = notify(silent, home, list, as_of=NOW, now=NOW + HOUR)
    assert warning == "2 messages were given up for OPS_WEBHOOK: monitoring.notify names it no more"
    assert notify(silent, home, list, as_of=NOW, now=NOW + DAY) == []
    assert given_up("shifted", home)[0].startswith(
        "2 messages were given up for OPS_WEBHOOK, the last at 2026-03-10T13"
    )
    assert notify(system, home, lambda: [alert("a")], as_of=NOW, now=NOW + DAY) == []  # it is named again
    assert channel.taken == []
    (finding,) = (finding for finding in examine(home) if finding["what"] == "messages of shifted")
    assert finding == {"what": "messages of shifted", "status": "warning", "said": given_up("shifted", home)[0]}


def test_who_was_told_of_an_alert_that_was_never_raised_is_told_that_once(home, system, channel):
    tell = partial(notify, system, home)
    tell(lambda: [alert("a")], as_of=NOW, now=NOW)

    class Killed(BaseException):
        """As kill -9 would: what was to be sent is kept, and is not sent."""

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(telling, "deliver", Mock(side_effect=Killed))
        with pytest.raises(Killed):
            tell(list, as_of=NOW + DAY, now=NOW + DAY)
    for day in (1, 2, 3):
        assert tell(list, as_of=NOW + day * DAY, now=NOW + day * DAY) == []
    assert [body["title"] for _, body in channel.taken] == ["shifted: 1 warning", "shifted: 1 alert withdrawn"]
    text = channel.taken[-1][1]["message"]
    assert "told was: warning: threshold wape of series s1: 0.25, beyond 0.2" in text
    assert text.endswith("alert-a")
    tell(lambda: [alert("a")], as_of=NOW + 4 * DAY, now=NOW + 4 * DAY)  # and back
    tell(list, as_of=NOW + 5 * DAY, now=NOW + 5 * DAY)
    last = [body["message"].split(":")[0] for _, body in channel.taken[2:]]
    assert last == ["warning after all", "withdrawn"]


def test_who_was_told_of_an_alert_that_was_closed_long_ago_is_told_that(home, system, channel):
    old, late = alert("a", NOW - 20 * DAY), NOW + HOUR
    notify(system, home, lambda: [old], as_of=NOW, now=NOW)
    closed = replace(old, closed_at=NOW - 10 * DAY)
    for _ in range(2):
        notify(system, home, lambda: [closed], as_of=late, now=late)
    assert [body["title"] for _, body in channel.taken] == ["shifted: 1 warning", "shifted: 1 alert closed"]
    notify(system, home, lambda: [old], as_of=late, now=late)
    notify(system, home, lambda: [closed], as_of=late, now=late)
    assert [body["message"].split(":")[0] for _, body in channel.taken[2:]] == ["warning after all", "closed"]


def test_a_run_as_of_an_earlier_time_withdraws_nothing_that_was_raised_since(home, system, channel):
    notify(system, home, lambda: [alert("a")], as_of=NOW, now=NOW)
    notify(system, home, list, as_of=NOW - DAY, now=NOW)
    notify(system, home, lambda: [alert("a", closed_at=NOW + DAY)], as_of=NOW + DAY, now=NOW)
    notify(system, home, lambda: [alert("a")], as_of=NOW, now=NOW)
    assert len(channel.taken) == 2
