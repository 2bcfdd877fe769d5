"""The transactional producer against a client that fails in ways that a broker cannot be asked for."""

import subprocess
import sys
import threading
from typing import ClassVar

import pytest

from headrace.errors import FencedError, StreamError
from headrace.serving.engine.batch import Answered, Message, MessageBatch
from headrace.serving.stream import sender as module
from headrace.serving.stream.sender import Aborted, Lost, Sender, Stuck
from headrace.sources.broker import Broker
from headrace.sources.topics import Topics

confluent_kafka = pytest.importorskip("confluent_kafka")


class Client:
    """A producer of which calls fail as told: name to what they raise, one after the other, or a lock to wait for."""

    faults: ClassVar[dict[str, list]] = {}

    def __init__(self, settings):
        self.calls = []

    def __getattr__(self, name):
        def call(*arguments):
            self.calls.append(name)
            waiting = self.faults.get(name)
            fault = waiting.pop(0) if waiting else None
            if isinstance(fault, Exception):
                raise fault
            if fault is not None:
                fault.wait(60)

        return call


STOP = threading.Event()


def failure(code, **how):
    return confluent_kafka.KafkaException(confluent_kafka.KafkaError(code, "told to", **how))


@pytest.fixture
def make(monkeypatch):
    def made(**faults):
        monkeypatch.setattr(Client, "faults", faults)
        monkeypatch.setattr(confluent_kafka, "Producer", Client)
        return Sender(Broker("nowhere:1"), Topics("metrics"), "one", STOP)

    return made


def answered():
    return Answered(MessageBatch.taken([]))


def test_a_transaction_in_order(make):
    sender = make()
    sender.send(answered(), {0: 7}, None)
    assert sender.settle() > 0
    calls = ["init_transactions", "begin_transaction", "send_offsets_to_transaction", "commit_transaction"]
    assert sender._producer.calls == calls


def test_what_passes_is_tried_again(make):
    busy = failure(confluent_kafka.KafkaError.CONCURRENT_TRANSACTIONS, retriable=True)
    sender = make(send_offsets_to_transaction=[busy, busy], commit_transaction=[busy])
    sender.send(answered(), {0: 7}, None)
    sender.settle()
    assert sender._producer.calls.count("send_offsets_to_transaction") == 3
    assert sender._producer.calls[-2:] == ["commit_transaction", "commit_transaction"]


def test_what_does_not_pass_is_aborted(make):
    sender = make(commit_transaction=[failure(confluent_kafka.KafkaError.UNKNOWN, txn_requires_abort=True)])
    sender.send(answered(), {0: 7}, None)
    with pytest.raises(Aborted, match="told to"):
        sender.settle()
    assert sender._producer.calls[-1] == "abort_transaction"


def test_little_patience_after_the_end(make, monkeypatch):
    stopped = threading.Event()
    stopped.set()
    monkeypatch.setitem(globals(), "STOP", stopped)
    monkeypatch.setattr(module, "CALL", 0.0)
    busy = failure(confluent_kafka.KafkaError.CONCURRENT_TRANSACTIONS, retriable=True)
    sender = make(commit_transaction=[busy])
    sender.send(answered(), {0: 7}, None)
    with pytest.raises(Aborted, match="told to"):
        sender.settle()
    assert sender._producer.calls[-1] == "abort_transaction"


def test_another_with_the_name(make):
    sender = make(commit_transaction=[failure(confluent_kafka.KafkaError._FENCED, fatal=True)])
    sender.send(answered(), {0: 7}, None)
    with pytest.raises(FencedError, match="another worker"):
        sender.settle()


def test_a_cluster_that_refuses_at_the_start(make):
    with pytest.raises(StreamError, match="told to"):
        make(init_transactions=[failure(confluent_kafka.KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)])


def test_a_cluster_that_is_away_at_the_start(make):
    away = failure(confluent_kafka.KafkaError._TRANSPORT)
    assert make(init_transactions=[away, away])._producer.calls == ["init_transactions"] * 3


def test_a_client_that_is_of_no_use_any_more(make):
    sender = make(commit_transaction=[failure(confluent_kafka.KafkaError.INVALID_TXN_STATE, fatal=True)])
    sender.send(answered(), {0: 7}, None)
    with pytest.raises(Lost, match="told to"):
        sender.settle()
    assert "abort_transaction" not in sender._producer.calls


def test_a_client_that_never_comes_back(make, monkeypatch):
    monkeypatch.setattr(module, "STUCK", 0.2)
    monkeypatch.setattr(module, "_LOOK", 0.05)
    back = threading.Event()
    sender = make(send_offsets_to_transaction=[back])
    sender.send(answered(), {0: 7}, None)
    with pytest.raises(Stuck, match="not come back"):
        sender.settle()
    back.set()


STUCK = """
import threading
from typing import ClassVar
import confluent_kafka
from tests.system.serving.stream.test_sender import Client, answered
from headrace.serving.stream.sender import Sender
from headrace.sources.broker import Broker
from headrace.sources.topics import Topics
Client.faults = {"commit_transaction": [threading.Event()]}
confluent_kafka.Producer = Client
sender = Sender(Broker("nowhere:1"), Topics("metrics"), "one", threading.Event())
sender.send(answered(), {0: 7}, None)
sender.close()
print("closed")
"""


def test_the_program_ends_though_a_call_does_not():
    done = subprocess.run([sys.executable, "-c", STUCK], capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stdout) == (0, "closed\n"), done.stderr


def test_a_letter_that_its_topic_does_not_take_is_cut(make, monkeypatch):
    sender, sent = make(), []
    monkeypatch.setattr(Broker, "configs", lambda *_: {"metrics.dead_letters": {"max.message.bytes": "1000000"}})
    monkeypatch.setattr(Client, "produce", lambda self, topic, **more: sent.append((topic, more)), raising=False)
    done = answered()
    done.dead = [(Message(0, 7, b"k", b"x" * size, 0), "is too long") for size in (600_000, 990_000)]
    sender.send(done, {0: 8}, None)
    sender.settle()
    (_, whole), (_, cut) = sent
    assert (len(whole["value"]), "cut_from" in dict(whole["headers"])) == (600_000, False)
    assert (len(cut["value"]), dict(cut["headers"])["cut_from"]) == (1_000_000 - module.HEADERS, b"990000")
