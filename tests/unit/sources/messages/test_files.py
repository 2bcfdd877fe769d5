"""Lines of JSON in an envelope are the facts that plain lines are."""

import json

import pytest
from tests.commands import headrace
from tests.servers import LIVE, SMALL, event

from headrace.home import Home
from headrace.loading import load_system
from headrace.settings import Settings

AS_OF = "2020-03-05T00:00:00Z"
ATTRIBUTES = {"specversion": "1.0", "id": "1", "source": "/x", "type": "t"}


def ingested(home, lines, *sets):
    path = home.with_suffix(".jsonl")
    path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    more = [each for setting in sets for each in ("--set", setting)]
    given = ("--home", home, "--json", *SMALL[LIVE], *more, "--source", f"file:{path}", "--as-of", AS_OF)
    return headrace("ingest", LIVE, *given)


def system_of():
    return load_system(LIVE, [each for each in SMALL[LIVE] if each != "--set"])


def home_of(path):
    return Home(Settings(home=path))


def facts(home):
    table = home_of(home).raw(system_of())
    return table.collect(table.scan()).select("metric", "time", "value").sort("metric", "time").rows()


EVENTS = [event(hour, 5.5 + hour) for hour in range(1, 60)]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    home = tmp_path_factory.mktemp("plain") / "home"
    assert ingested(home, EVENTS).json["ingested"] == len(EVENTS)
    return facts(home)


def test_lines_are_cloudevents(plain, tmp_path):
    lines = [
        {**ATTRIBUTES, "time": e["time"], "data": {"metric": e["metric"], "amounts": [{"net": e["value"]}]}}
        for e in EVENTS
    ]
    bad = [{**ATTRIBUTES, "time": AS_OF}, "no json\n"]
    sets = ('stream.paths={"time": "@.time", "value": "amounts[0].net"}', "stream.also=['files']")
    ran = ingested(tmp_path / "home", [*lines, *bad], "stream.envelope=cloudevents", *sets)
    assert ran.code == 0, ran.err
    assert (ran.json["read"], ran.json["ingested"], ran.json["quarantined"]) == (61, 59, 2)
    assert facts(tmp_path / "home") == plain
    quarantined = ingested(tmp_path / "other", [*lines, *bad], "stream.envelope=cloudevents", sets[0])
    assert quarantined.code != 0  # they are not declared to be in files


def test_lines_are_changes_of_a_database(plain, tmp_path):
    def change(e, op="c"):
        return {"op": op, "before": e if op == "d" else None, "after": None if op == "d" else e}

    lines = [*map(change, EVENTS), change(EVENTS[0], "d")]
    ran = ingested(tmp_path / "home", lines, "stream.envelope=debezium", "stream.also=['files']")
    assert ran.code == 0, ran.err
    assert (ran.json["read"], ran.json["ingested"]) == (59, 59)
    assert facts(tmp_path / "home") == plain


def test_when_a_line_became_known_is_read_too(tmp_path):
    lines = [{"op": "c", "after": {**e, "known_at": "2020-03-04T12:00:00Z"}} for e in EVENTS]
    ran = ingested(tmp_path / "home", lines, "stream.envelope=debezium", "stream.also=['files']")
    assert ran.json["ingested"] == 59, ran.err
    later = ingested(tmp_path / "later", [], "stream.envelope=debezium", "stream.also=['files']")
    assert later.code != 0  # a file without a line is none
    table = home_of(tmp_path / "home").raw(system_of())
    assert table.collect(table.scan())["known_at"].unique().dt.hour().to_list() == [12]


def test_what_is_declared_nowhere_cannot_be_elsewhere(tmp_path):
    ran = ingested(tmp_path / "home", EVENTS, "stream.also=['files']")
    assert (ran.code, "declare envelope= or paths=" in ran.err) == (2, True)
