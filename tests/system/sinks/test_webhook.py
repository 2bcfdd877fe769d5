"""A webhook as a target: what is tried again, what is set apart, and what is never lost or sent elsewhere."""

import base64
import hashlib
import hmac
import json
import random
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from tests.targets import LAYOUT, Webhook, prediction, some

from headrace.errors import ConfigError, SinkError, SinkUnavailableError
from headrace.sinks import SinkContext, open_sink, posting, webhook
from headrace.sinks.base import Sent
from headrace.sinks.journal import Journal


@pytest.fixture
def hook(monkeypatch):
    monkeypatch.setattr(webhook, "_FIRST", 0.01)
    made = Webhook()
    yield made
    made.close()


def everything(sink, count, part=20):
    """Pass predictions on, with patience, as the command does."""
    at, sent = None, Sent()
    for _ in range(100):
        try:
            begun = sink.begin()
            at, sent.passed, sent.refused = (
                begun.position,
                sent.passed + begun.finished.passed,
                sent.refused + begun.finished.refused,
            )
            for begin in range(at["n"] if at else 0, count, part):
                done = sink.send(some(begin, begin + part), at, {"n": begin + part})
                at = {"n": begin + part}
                sent.passed, sent.refused = sent.passed + done.passed, sent.refused + done.refused
            return sent
        except SinkUnavailableError:
            sink.close()
    raise AssertionError("never done")


def test_a_server_that_fails_at_random_gets_each_once_and_in_order(hook, tmp_path):
    draw = random.Random(5)
    hook.behave = lambda number, headers: draw.choice(
        [
            (500, {}),
            (503, {"retry-after": "0"}),
            (429, {"retry-after": "0"}),
            (0, {}),
            (-1, {}),
            (-500, {}),
            None,
            None,
            None,
        ]
    )
    sink = hook.open(tmp_path, concurrent=4)
    everything(sink, 60)
    sink.close()
    assert hook.held() == {f"id-{n}": 1 for n in range(60)}
    for key in range(3):
        assert [n for store, n in hook.order() if store == f"store {key}"] == list(range(key, 60, 3))
    assert len(hook.requests) > 70


def test_what_is_refused_is_kept_with_its_reason_and_sent_again(hook, tmp_path):
    hook.behave = lambda number, headers: (422, {}) if headers["idempotency-key"] in ("id-3", "id-5") else None
    sink = hook.open(tmp_path)
    sink.begin()
    assert sink.send(some(0, 10), None, {"n": 10}) == Sent(passed=8, refused=2)
    letters = sink.journal.letters(10)
    assert [(each.parcel.name, each.status, each.reason) for each in letters] == [
        ("id-3", 422, "said so"),
        ("id-5", 422, "said so"),
    ]
    hook.behave = lambda number, headers: (400, {}) if headers["idempotency-key"] == "id-5" else None
    assert sink.resend(letters) == Sent(passed=1, refused=1)
    assert [each.parcel.name for each in sink.journal.letters(10)] == ["id-5"]
    assert hook.held() == {f"id-{n}": 1 for n in range(10) if n != 5}
    sink.close()


def test_where_everything_is_refused_it_stops(hook, tmp_path):
    hook.behave = lambda number, headers: (401, {})
    sink = hook.open(tmp_path)
    sink.begin()
    with pytest.raises(SinkError, match="everything is refused: 401 said so"):
        sink.send(some(0, 30), None, {"n": 30})
    assert sink.journal.count() == (0, 30)
    sink.close()


def test_a_redirect_is_not_followed(hook, tmp_path):
    elsewhere = Webhook()
    hook.behave = lambda number, headers: (307, {"location": elsewhere.uri})
    sink = hook.open(tmp_path)
    sink.begin()
    with pytest.raises(SinkError, match="no redirect is followed"):
        sink.send(some(0, 1), None, {"n": 1})
    assert elsewhere.requests == []
    hook.behave = lambda number, headers: None
    assert sink.begin().finished == Sent(passed=1)
    sink.close()
    elsewhere.close()


def test_it_waits_as_long_as_it_is_asked_to(hook, tmp_path):
    at = datetime.now(UTC) + timedelta(seconds=2)
    hook.behave = lambda number, headers: [
        (429, {"retry-after": "1"}),
        (503, {"retry-after": format_datetime(at, usegmt=True)}),
        None,
    ][min(number, 2)]
    sink = hook.open(tmp_path)
    sink.begin()
    began = time.monotonic()
    sink.send(some(0, 1), None, {"n": 1})
    assert 0.9 < time.monotonic() - began < 6
    hook.behave = lambda number, headers: (503, {"retry-after": "3600"})
    with pytest.raises(SinkUnavailableError) as told:
        sink.send(some(1, 2), {"n": 1}, {"n": 2})
    assert told.value.after == 3600
    sink.close()


def test_a_server_that_does_not_answer_in_time_is_away_and_nothing_is_lost(hook, tmp_path, monkeypatch):
    hook.behave = lambda number, headers: time.sleep(0.5)
    monkeypatch.setattr(webhook, "_ATTEMPTS", 1)
    sink = hook.open(tmp_path, timeout=0.2)
    sink.begin()
    with pytest.raises(SinkUnavailableError, match="does not answer"):
        sink.send(some(0, 3), None, {"n": 3})
    sink.close()
    hook.behave = lambda number, headers: None
    sink = hook.open(tmp_path)
    begun = sink.begin()
    assert (begun.position, begun.finished) == ({"n": 3}, Sent(passed=3))
    assert hook.held() == {f"id-{n}": 1 for n in range(3)}
    sink.close()


def test_what_is_stopped_leaves_the_rest_for_the_next(hook, tmp_path):
    stop = threading.Event()
    hook.behave = lambda number, headers: stop.set() if number == 3 else None
    sink = hook.open(tmp_path, stop=stop, concurrent=1)
    sink.begin()
    assert sink.send(some(0, 10), None, {"n": 10}).passed == 4
    assert sink.journal.count() == (6, 0)
    sink.close()
    sink = hook.open(tmp_path)
    begun = sink.begin()
    assert (begun.position, begun.finished) == ({"n": 10}, Sent(passed=6))
    sink.close()
    assert hook.held() == {f"id-{n}": 1 for n in range(10)}


def test_nobody_there_is_away(tmp_path, hook, monkeypatch):
    hook.stop()
    monkeypatch.setattr(webhook, "_ATTEMPTS", 1)
    sink = hook.open(tmp_path)
    sink.begin()
    with pytest.raises(SinkUnavailableError):
        sink.send(some(0, 3), None, {"n": 3})
    sink.close()
    hook.start()
    sink = hook.open(tmp_path)
    sink.begin()
    sink.close()
    assert hook.held() == {f"id-{n}": 1 for n in range(3)}


def test_requests_are_signed_and_named(hook, tmp_path):
    key = base64.b64encode(b"a key of some bytes").decode()
    sink = hook.open(tmp_path, secret=f"whsec_{key}")
    sink.begin()
    sink.send(some(7, 8), None, {"n": 1})
    sink.close()
    headers, body = hook.requests[0]
    assert headers["idempotency-key"] == headers["webhook-id"] == "id-7"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 30
    signed = f"id-7.{headers['webhook-timestamp']}.".encode() + body
    digest = hmac.new(b"a key of some bytes", signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
    assert headers["content-type"] == "application/json"
    with pytest.raises(ConfigError):
        hook.open(tmp_path, secret="whsec_not base64!")


def test_several_in_one_request_come_again_as_they_were(hook, tmp_path):
    hook.behave = lambda number, headers: (-1, {}) if number % 2 == 0 else None  # done, and the answer is lost
    sink = hook.open(tmp_path, batch=4, concurrent=1)
    assert everything(sink, 40) == Sent(passed=40)
    sink.close()
    assert hook.held() == {f"id-{n}": 1 for n in range(40)}
    assert all(len(json.loads(body)) == 4 for _, body in hook.requests)


def test_one_process_at_a_time_has_the_journal(hook, tmp_path):
    first, second = hook.open(tmp_path), hook.open(tmp_path)
    first.begin()
    with pytest.raises(SinkError, match="another process"):
        second.begin()
    looked = Journal(first.journal._path, alone=False)
    assert looked.count() == (0, 0)
    looked.close()
    first.close()
    assert second.begin().position is None
    second.close()


def test_a_journal_that_is_gone_is_told(hook, tmp_path):
    sink = hook.open(tmp_path)
    sink.begin()
    path = sink.journal._path
    path.rename(path.with_suffix(".away"))
    with pytest.raises(Exception, match="moved or replaced"):
        sink.send(some(0, 1), None, {"n": 1})
    assert hook.requests == []
    sink.close()


def test_an_untrusted_certificate_is_refused(tmp_path, monkeypatch):
    import ssl
    import subprocess

    files = [tmp_path / "key.pem", tmp_path / "cert.pem"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    subprocess.run(
        [*made, "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", files[0], "-out", files[1]],
        check=True,
        capture_output=True,
    )
    hook = Webhook()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files[1], files[0])
    hook.server.socket = context.wrap_socket(hook.server.socket, server_side=True)
    monkeypatch.setattr(webhook, "_ATTEMPTS", 1)
    sink = open_sink(hook.uri.replace("http:", "https:") + "?token=sesame", LAYOUT, SinkContext(tmp_path))
    sink.begin()
    with pytest.raises(SinkUnavailableError, match="certificate") as told:
        sink.send([prediction(1)], None, {"n": 1})
    assert "sesame" not in str(told.value)
    assert hook.requests == []
    sink.close()
    hook.close()


@pytest.mark.parametrize("said", [b"HTTP/1.1 200 OK\r\nx: ", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 2])
def test_a_server_whose_answer_never_ends_is_away(said, tmp_path, monkeypatch):
    monkeypatch.setattr(webhook, "_ATTEMPTS", 2)
    monkeypatch.setattr(webhook, "_FIRST", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)

        def speak(line):
            line.recv(65536)
            try:
                for _ in range(200):
                    line.sendall(said[:24] if said.endswith(b" ") else said)
                    time.sleep(0.02)
            except OSError:
                line.close()

        def serve():
            for _ in range(2):
                threading.Thread(target=speak, args=(server.accept()[0],), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        uri = f"http://127.0.0.1:{server.getsockname()[1]}/hook"
        sink = open_sink(uri, LAYOUT, SinkContext(tmp_path, timeout=0.2))
        sink.begin()
        began = time.monotonic()
        with pytest.raises(SinkUnavailableError, match="nothing within"):
            sink.send(some(0, 1), None, {"n": 1})
        assert time.monotonic() - began < 2
        sink.close()


def test_what_a_server_says_moves_no_terminal(hook, tmp_path, monkeypatch):
    hook.behave = lambda number, headers: (422, {})
    sink = hook.open(tmp_path)
    sink.begin()
    reply = posting.Reply(422, "no", {}, b"\x1b[31mno\x07\r\nmore\x9b2J")
    monkeypatch.setattr(posting.Posting, "post", lambda *_: reply)
    sink.send(some(0, 1), None, {"n": 1})
    assert [each.reason for each in sink.journal.letters(10)] == ["[31mno   more\ufffd2J"]
    sink.close()
