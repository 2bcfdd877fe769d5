"""Answers in another format than JSON come back as the JSON that they were."""

import json
from types import SimpleNamespace

import pytest
from tests.registries import StandIn
from tests.servers import TITANIC

from headrace.errors import ConfigError, StreamError
from headrace.home import Home
from headrace.loading import load_system
from headrace.serving.messages.said import AnswerReader
from headrace.serving.messages.written import answers_in, reading, schema_of
from headrace.settings import Settings
from headrace.sources.broker import Broker
from headrace.sources.messages.fields import DocumentField, avro_reader, avro_schema, avro_writer
from headrace.sources.patience import Patience
from headrace.tasks import task_of

pytest.importorskip("fastavro", reason="needs headrace[registry]")
pytest.importorskip("authlib", reason="needs headrace[registry]")

TOPIC = "answers"


@pytest.fixture
def registry():
    made = StandIn()
    yield made
    made.close()


@pytest.fixture
def place(registry, tmp_path):
    return Home(Settings(home=tmp_path / "home", schema_registry=registry.url))


def read(system, home, value):
    opened = reading(system, home, Broker("nowhere:1"), TOPIC).opened[TOPIC]
    return opened(value, ())


def declared(world, form, **more):
    system = world.system()
    answers = system.stream.predictions.model_copy(update={"format": form, **more})
    return system.model_copy(update={"stream": system.stream.model_copy(update={"predictions": answers})})


@pytest.fixture
def answers(world, champion):
    """What an engine says of a few events, and what it says where too little is known."""
    engine = world.engine(champion)
    events = [world.message(n, "orders", world.TRAINED + world.STEP * n, 5.0 + n % 7) for n in range(30)]
    said = list(engine.answer(events).answers)
    silent = dict.fromkeys(("value", "served", "model_share")) | {"predictions": [], "reason": "1 value is known"}
    return [*said, json.dumps(json.loads(said[0]) | silent).encode()]


@pytest.mark.parametrize("form", ["avro", "json_schema"])
def test_what_was_said_comes_back(world, place, registry, answers, form):
    system = declared(world, form, compatibility="FULL")
    framed = answers_in(system, place, TOPIC, Patience(5))(answers)
    assert all(each[:1] == b"\x00" for each in framed)
    assert [subject for subject, _ in registry.schemas.values()] == [f"{TOPIC}-value"]
    assert registry.levels == {f"{TOPIC}-value": "FULL"}
    for before, after in zip(answers, framed, strict=True):
        assert json.loads(read(system, place, after)) == json.loads(before)
        said = AnswerReader(system)(SimpleNamespace(value=lambda after=after: read(system, place, after)))
        assert said == json.loads(before)
    assert any(json.loads(each)["predictions"] == [] for each in answers)
    assert any(json.loads(each)["predictions"] for each in answers)


def test_json_from_before_is_read_beside_it_and_strange_bytes_are_left(world, place, answers):
    system = declared(world, "avro")
    framed = answers_in(system, place, TOPIC, Patience(5))(answers[-1:])[0]
    assert read(system, place, answers[0]) == answers[0]
    for strange in (b"", b"\x00", b"\x00\x00\x00\x00\x63abc", framed[:-3], b"\x01\x02"):
        assert read(system, place, strange) == strange
        assert AnswerReader(system)(SimpleNamespace(value=lambda value=strange: value)) is None
    assert json.loads(read(world.system(), place, framed)) == json.loads(answers[-1])  # declared otherwise by now


def test_rows_come_back_byte_for_byte(place):
    system = load_system(TITANIC, ["stream.predictions.format=avro"])
    row = (
        b'{"PassengerId":7,"prediction_id":"01a","as_of":"2026-01-01T00:00:00.123Z","Survived":1,"probability":0.1,'
        b'"model_version":1,"pins":{"model":"m","features":"f","config":"c","code":"x"},"event_id":"t-0-1"}'
    )
    for answer in (row, row[:-1] + b',"repeated":true}', row.replace(b"00:00.123Z", b"00:00Z")):
        framed = answers_in(system, place, TOPIC, Patience(5))([answer])[0]
        again = read(system, place, framed)
        assert json.loads(again) == json.loads(answer) | {"as_of": json.loads(again)["as_of"]}
        assert again.replace(b".123000Z", b".123Z") == answer


def test_a_registry_that_refuses_or_lacks_the_schema_ends_the_stream(world, place, registry):
    system = declared(world, "avro", register_schema=False)
    with pytest.raises(StreamError, match=f"lacks the schema of subject {TOPIC}-value"):
        answers_in(system, place, TOPIC, Patience(5))
    registry.refuses = True
    with pytest.raises(StreamError, match="refuses"):
        answers_in(declared(world, "avro"), place, TOPIC, Patience(5))
    registry.refuses = False
    answers_in(declared(world, "avro"), place, TOPIC, Patience(5))
    answers_in(system, place, TOPIC, Patience(5))  # it is there now


def test_without_a_registry_it_says_so(world, tmp_path):
    home = Home(Settings(home=tmp_path / "home"))
    with pytest.raises(ConfigError, match="need a schema registry"):
        answers_in(declared(world, "avro"), home, TOPIC, Patience(5))
    assert answers_in(world.system(), home, TOPIC, Patience(5))([b"{}"]) == [b"{}"]
    with pytest.raises(ConfigError):
        schema_of(world.system())


def test_no_number_depends_on_what_answers_are_written_in(world):
    assert declared(world, "avro").config_digest == world.system().config_digest


def test_names_that_avro_has_not_and_fields_that_it_does_not_know():
    fields = [
        DocumentField("a b", "text"),
        DocumentField("1", "integer", nullable=True),
        DocumentField("x", "record", inner=(DocumentField("é", "float"),)),
    ]
    document = {"a b": "☃", "1": None, "x": {"é": 0.1 + 0.2}}
    written = avro_writer("A", fields)(document)
    assert avro_reader(json.dumps(avro_schema("A", fields)))(written) == document
    with pytest.raises(ValueError, match="'more' is not in the schema"):
        avro_writer("A", fields)(document | {"more": 1})


def test_every_field_of_an_answer_is_in_the_schema(world, answers):
    names = {each.name for each in task_of(world.system()).form.topic_fields()}
    assert {name for each in answers for name in json.loads(each)} == names
