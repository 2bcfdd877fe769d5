"""`headrace sink` as a user has it: every kind of system and door, positions, letters, and what is told."""

import json
import shutil
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from tests.commands import ENERGY, SMALL, copy_of_trained, energy, headrace
from tests.servers import TITANIC, titanic_template
from tests.targets import Webhook

from headrace.home import Home
from headrace.lineage import Pins, beside, prediction_ids
from headrace.loading import load_system
from headrace.serving.passing.documents import Documents, layout_of
from headrace.serving.passing.stored import StoredPredictions
from headrace.settings import Settings


@pytest.fixture
def titanic(tmp_path_factory, tmp_path):
    return Path(shutil.copytree(titanic_template(tmp_path_factory.getbasetemp()), tmp_path / "home"))


@pytest.fixture
def trained(tmp_path_factory, tmp_path):
    return copy_of_trained(tmp_path_factory.getbasetemp(), tmp_path / "home")


def sink(system, home, *arguments, command="sink", code=0):
    ran = headrace(*command.split(), system, "--home", home, "--json", *arguments)
    assert ran.code == code, ran.err
    return ran.json


def rows(path, query):
    with sqlite3.connect(path) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query).fetchall()]


def counts(done):
    return {name: done[name] for name in ("read", "passed", "refused")}


def test_rows_are_in_a_table_with_the_numbers_that_are_stored(titanic, tmp_path):
    to = f"sqlite:///{tmp_path}/out.db?table=survival"
    assert counts(sink(TITANIC, titanic, "--to", to)) == {"read": 60, "passed": 60, "refused": 0}
    assert counts(sink(TITANIC, titanic, "--to", to)) == {"read": 0, "passed": 0, "refused": 0}
    stored = {each["id"]: each for each in headrace("predictions", TITANIC, "--home", titanic, "--json").json}
    there = rows(tmp_path / "out.db", "SELECT * FROM survival")
    names = ("PassengerId", "Survived", "probability", "as_of", "model_version", "run_id", "door")
    assert len(there) == 60
    assert all(row[name] == stored[row["id"]][name] for row in there for name in names)
    assert counts(sink(TITANIC, titanic, "--to", to, "--again"))["passed"] == 60
    assert len(rows(tmp_path / "out.db", "SELECT * FROM survival")) == 60


def test_forecasts_are_a_document_each_and_a_row_per_step(trained, tmp_path):
    def pass_on(*more):
        return counts(sink(ENERGY, trained, *SMALL, "--to", f"sqlite:///{tmp_path}/out.db?table=next", *more))

    assert pass_on("--since", "2023-01-20T17:00:00Z")["passed"] == 0
    assert pass_on() == {"read": 4, "passed": 4, "refused": 0}
    later = energy("predict", trained, as_of=None).json
    assert later["predictions"] == 96
    assert pass_on("--since", later["as_of"])["passed"] == 4
    there = rows(tmp_path / "out.db", "SELECT * FROM next")
    stored = {each["id"]: each for each in headrace("predictions", ENERGY, "--home", trained, "--json", *SMALL).json}
    assert len(there) == len(stored) == 192
    assert all(value == stored[row["id"]][name] for row in there for name, value in row.items())


def test_a_webhook_gets_documents_and_letters_are_kept(titanic, tmp_path):
    hook, refuse = Webhook(), set()
    hook.behave = lambda number, headers: (400, {}) if number in refuse else None
    refuse |= {3, 7}
    try:
        to = hook.uri + "?key=sesame"
        done = sink(TITANIC, titanic, "--to", to)
        assert counts(done) == {"read": 60, "passed": 58, "refused": 2}
        assert "sesame" not in json.dumps(done)
        listed = sink(TITANIC, titanic, "--to", to, command="sink dead-letters")
        assert (listed["total"], [each["status"] for each in listed["dead_letters"]]) == (2, [400, 400])
        assert sink(TITANIC, titanic, "--to", to, "--resend", command="sink dead-letters")["resent"] == 2
        assert sink(TITANIC, titanic, "--to", to, command="sink dead-letters")["total"] == 0
        bodies = {headers["idempotency-key"]: json.loads(body) for headers, body in hook.requests}
        stored = {each["id"]: each for each in headrace("predictions", TITANIC, "--home", titanic, "--json").json}
        assert bodies.keys() == stored.keys()
        for name, body in bodies.items():
            assert (body["prediction_id"], body["probability"]) == (name, stored[name]["probability"])
            assert set(body) == {
                *("PassengerId", "prediction_id", "as_of", "Survived", "probability", "model_version", "pins", "door"),
                "run_id",
            }
        assert len(bodies) == len(hook.requests) - 2 == 60
    finally:
        hook.close()


def test_a_target_has_a_name_of_yours(titanic, tmp_path, monkeypatch):
    monkeypatch.setenv("HEADRACE_SINKS", json.dumps({"mine": f"sqlite:///{tmp_path}/out.db?table=survival"}))
    assert counts(sink(TITANIC, titanic, "--to", "mine"))["passed"] == 60


def test_tables_that_are_an_earlier_state_stop_it(titanic, tmp_path):
    to, table = f"sqlite:///{tmp_path}/out.db?table=survival", f"sqlite:///{tmp_path}/out.db?table=survival"
    sink(TITANIC, titanic, "--to", to)
    with sqlite3.connect(tmp_path / "out.db") as connection:
        connection.execute(
            "UPDATE headrace_positions SET position = replace(position, '\"version\":1', '\"version\":9')"
        )
    told = sink(TITANIC, titanic, "--to", table, code=1)
    assert (told["error"], "--again" in told["hint"]) == ("SinkError", True)
    assert counts(sink(TITANIC, titanic, "--to", to, "--again"))["passed"] == 60


def test_parts_begin_anywhere_and_come_to_the_same(trained, monkeypatch):
    monkeypatch.setattr("headrace.serving.passing.stored.MOST", 3)
    monkeypatch.setattr("headrace.serving.passing.stored._PAGE", 30)
    for _ in range(2):
        energy("predict", trained, as_of=None)
    system = load_system(ENERGY, [each for each in SMALL if each != "--set"])
    home, layout = Home(Settings(home=trained)), layout_of(system, "tables")
    source = StoredPredictions(system, home, Documents(system, layout), None)
    whole = list(source.read(None))
    ids = [each.id for part in whole for each in part.predictions]
    assert len(ids) == len(set(ids)) == 12
    for number, part in enumerate(whole):
        rest = [each.id for after in source.read(json.loads(json.dumps(part.after))) for each in after.predictions]
        assert rest == [each.id for after in whole[number + 1 :] for each in after.predictions]
    steps = [row[0] for part in whole for each in part.predictions for row in each.rows]
    assert len(steps) == len(set(steps)) == 12 * 24


def test_ids_of_steps_and_revisions_follow_from_the_first():
    pins = Pins(datetime(2026, 1, 1, tzinfo=UTC), 1, "f", 1, "m", "c", "r")
    ahead, revision = np.array([1, 2, 24, 24]), np.array([0, 0, 0, 3])
    at = np.full(4, 1_767_225_600_000_000)
    ids = prediction_ids("shop", pins, ["k"], np.zeros(4, dtype=np.int64), at, ahead, revision)
    assert [beside(ids[0], 1), beside(ids[0], 23), beside(ids[0], 23, 3)] == ids[1:]
    assert beside(ids[3], -23, -3) == ids[0]


def test_a_revised_forecast_takes_the_place_of_the_one_before(trained):
    system = load_system(ENERGY, [each for each in SMALL if each != "--set"])
    documents = Documents(system, layout_of(system, "tables"))
    home = Home(Settings(home=trained))
    first = next(iter(StoredPredictions(system, home, documents, None).read(None))).predictions[0]
    steps = [{**each, "id": beside(each["id"], 0, 1)} for each in first.document["predictions"]]
    revised = documents.of({**first.document, "revision": 1, "prediction_id": steps[0]["id"], "predictions": steps})
    assert list(revised.replaces) == [row[0] for row in first.rows]
    assert first.replaces == []
