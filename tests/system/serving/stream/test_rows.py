"""Rows on a stream, without Kafka: the HTTP door's numbers and ids, each key answered once, and what is remembered."""

import json
import random
from datetime import UTC, datetime

import pytest
from tests.servers import SMALL, TITANIC, passengers, titanic_template

from headrace.contract.many import ManyRows
from headrace.errors import StreamError
from headrace.home import Home
from headrace.identity import inputs_of, key_text
from headrace.loading import load_system
from headrace.pipelines.messages import opener
from headrace.serving.engine.batch import Message
from headrace.serving.engine.positions import Total
from headrace.serving.http.many import entries_of
from headrace.serving.http.served import ServedSystem
from headrace.serving.stream.champions import answering
from headrace.serving.stream.memory import KeptAnswer, KeyMemory
from headrace.serving.stream.restore import found_of
from headrace.serving.stream.rows import INPUTS, RowEngine
from headrace.settings import Settings

CAME = 1_767_225_600_123
"""When messages come, milliseconds since 1970."""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return Home(Settings(home=titanic_template(tmp_path_factory.getbasetemp())))


def titanic(*more):
    return load_system(TITANIC, [each for each in SMALL[TITANIC] if each != "--set"] + list(more))


@pytest.fixture
def engine(home):
    def made(*more):
        system = titanic(*more)
        who = answering(system, home, datetime.now(UTC))
        return RowEngine(system, "titanic", "titanic.events", who, opener(system, home))

    return made


def message(offset, row, partition=0, key=None, at=CAME):
    value = row if isinstance(row, bytes) or row is None else json.dumps(row).encode()
    named = str(row["PassengerId"]).encode() if key is None and isinstance(row, dict) else key
    return Message(partition, offset, named, value, at)


def said(answered):
    return [json.loads(answer) for answer in answered.answers]


def test_rows_get_the_numbers_and_ids_of_the_http_door(home, engine):
    rows, system = passengers(80), titanic("log_features=true")
    served = ServedSystem(system, home, logged=False)
    served.refresh()
    typed = [served.decoder(row)[0] for row in rows]
    now = datetime.fromtimestamp(CAME / 1000, UTC)
    columns = {name: [row[name] for row in typed] for name in typed[0]}
    many = ManyRows(columns, [inputs_of(row, "Survived") for row in typed])
    entries = entries_of(served, served.champion, many, [key_text(system.keys, row) for row in typed], now)
    done = engine("log_features=true").answer([message(n, row) for n, row in enumerate(rows)])
    assert not done.dead
    for n, (ours, entry) in enumerate(zip(said(done), entries, strict=True)):
        theirs = json.loads(entry.answer)
        assert (ours["prediction_id"], ours["PassengerId"]) == (theirs["id"], theirs["key"])
        assert (ours["Survived"], ours["probability"]) == (theirs["Survived"], theirs["probability"])
        assert ours["event_id"] == f"titanic.events-0-{n}"
        assert dict(done.beside[n])[INPUTS] == entry.inputs, "with the features"


def test_answers_do_not_depend_on_how_the_log_is_cut_or_restored(engine):
    rows, chance = passengers(60), random.Random(3)
    log = [message(n, chance.choice(rows[:25]) if n % 3 else rows[n], at=CAME + n) for n in range(60)]
    whole = engine().answer(log)
    again, live, position = engine("stream.remembered=100"), {}, 0
    answers = []
    while position < len(log):
        size = chance.randrange(1, 9)
        done = again.answer(log[position : position + size])
        answers += done.answers
        live |= {key: value for _, key, value in done.changes}
        position += size
        if chance.random() < 0.5:
            total = again.changelog.totals.get(0, Total())
            good, faults = again.changelog.checked(live)
            again.drop(0)
            again.restore(0, good)
            assert not faults
            assert again.changelog.totals.get(0, Total()) == total
    assert answers == whole.answers


def test_a_key_is_answered_once_and_another_row_under_it_is_set_apart(engine):
    one, other = passengers(2)
    changed = one | {"Age": 3.5}
    of = engine()
    done = of.answer([message(0, one), message(1, one), message(2, changed), message(3, other)])
    first, again, last = said(done)
    assert again == first | {"event_id": "titanic.events-0-1", "repeated": True}
    assert "repeated" not in last
    assert (done.repeated, len(done.changes), sorted(done.beside)) == (1, 2, [0, 3])
    assert [(m.offset, reason) for m, reason in done.dead] == [
        (2, f"conflict: another row was answered under the key [{one['PassengerId']}]")
    ]
    written = json.dumps(dict(reversed(one.items())), indent=1).encode()
    later = of.answer([message(4, written, key=str(one["PassengerId"]).encode(), at=CAME + 9)])
    assert said(later) == [first | {"event_id": "titanic.events-0-4", "repeated": True}], "however it is written"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "no value"),
        (b"{", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"\xff", "not JSON"),
        ({"Pclass": 4}, "Pclass"),
        ({"Nonsense": 1}, "not a column"),
        ({"Fare": float("nan")}, "not JSON"),
        ({"Name": "x" * 70_000}, "at most 65,536"),
        ("twice", "there twice"),
        ("deep", "not JSON"),
    ],
)
def test_a_bad_row_is_set_apart_alone(engine, value, reason):
    one, two, three = passengers(3)
    bad = value
    if isinstance(value, dict):
        bad = json.dumps(two | value).encode()
    elif value == "twice":
        bad = json.dumps(two).encode()[:-1] + b', "Sex": "male"}'
    elif value == "deep":
        bad = b'{"Age":' + b"[" * 20_000 + b"]" * 20_000 + b"}"
    done = engine().answer([message(0, one), message(1, bad, key=b"7"), message(2, three)])
    assert [each["event_id"][-1] for each in said(done)] == ["0", "2"]
    ((letter, told),) = done.dead
    assert letter.offset == 1
    assert reason in told


def test_a_message_without_the_key_of_its_row_is_set_apart_where_there_are_partitions(engine):
    rows = passengers(4)
    keys = [None, b"", b"5", json.dumps({"PassengerId": rows[3]["PassengerId"]}).encode()]
    log = [message(n, row)._replace(key=keys[n]) for n, row in enumerate(rows)]
    done = engine().answer(log)
    assert [m.offset for m, _ in done.dead] == [0, 1, 2]
    assert "has no key" in done.dead[0][1]
    assert "not that of its row" in done.dead[2][1]
    assert len(engine().answer(log, keyless=True).answers) == 4


def test_the_oldest_keys_are_forgotten_by_the_log_alone(engine):
    rows = passengers(5)
    of = engine("stream.remembered=3")
    done = of.answer([message(n, row) for n, row in enumerate(rows)])
    assert [key for _, key, value in done.changes if value is None] == [b"[100000]", b"[100001]"]
    assert of.changelog.totals[0].records == of.count(0) == 3
    live = {}
    for _, key, value in done.changes:
        live.pop(key, None)
        live |= {} if value is None else {key: value}
    other = engine("stream.remembered=3")
    assert other.restore(0, other.changelog.checked(live)[0]) == 3
    assert other.changelog.totals == of.changelog.totals
    assert other.size() == of.size()
    log = [message(5, rows[0], at=CAME + 5), message(6, rows[4], at=CAME + 6)]
    assert said(of.answer(log)) == said(other.answer(log))
    assert other.answer([message(7, rows[2])]).repeated == 0, "the next oldest went"


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda v: v[:20], "cut off"),
        (lambda v: v[:-1], "checksum"),
        (lambda v: v[:36] + bytes([v[36] ^ 1]) + v[37:], "checksum"),
        (lambda v: v[:12] + b"\xff" + v[13:], "checksum"),
    ],
)
def test_a_damaged_record_is_found(damage, says):
    memory = KeyMemory(10)
    changes = memory.put(0, "[1]", KeptAnswer("a" * 24, b'{"x":1')) + memory.put(
        0, "[2]", KeptAnswer("b" * 24, b'{"x":2')
    )
    records = [(key, value, n) for n, (_, key, value) in enumerate(changes)]
    records[0] = (records[0][0], damage(records[0][1]), 0)
    found = found_of(KeyMemory(10), 0, [*records, (b"garbage", b"?", 3)], "titanic.state")
    assert not found.whole
    assert says in found.damage
    assert [t.foreign for t in found.troubles] == [False, True]
    newer = {b"[1]": b"\x02" + changes[0][2][1:]}
    with pytest.raises(StreamError, match="format 2"):
        KeyMemory(10).checked(newer)
