"""What every target of predictions must do, on all of them."""

import itertools
from dataclasses import replace

import pytest
from tests import kafka
from tests.postgres import Postgres
from tests.targets import LAYOUT, DuckDBTarget, PostgresTarget, SQLiteTarget, TopicTarget, Webhook, prediction, some

from headrace.errors import SinkError, SinkMovedError, SinkUnavailableError, UsageError
from headrace.sinks import SinkContext, open_sink
from headrace.sinks.base import Sent

COLUMNS = "store TEXT, day DATETIME, open BOOLEAN, number INTEGER"
KINDS = ["sqlite", "duckdb", "postgresql", "webhook", pytest.param("topic", marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def server():
    made = Postgres()
    yield made
    made.close()


@pytest.fixture(scope="module")
def bootstrap(kafka_broker):
    return kafka_broker.bootstrap


@pytest.fixture(params=KINDS)
def target(request, tmp_path):
    if request.param == "sqlite":
        made = SQLiteTarget(tmp_path)
    elif request.param == "duckdb":
        made = DuckDBTarget(tmp_path)
    elif request.param == "postgresql":
        made = PostgresTarget(request.getfixturevalue("server").uri)
    elif request.param == "webhook":
        made = Webhook()
    else:
        made = TopicTarget(request.getfixturevalue("bootstrap"))
    yield made
    made.close()


def passed(sink, begin, end, before, after):
    assert sink.send(some(begin, end), before, after) == Sent(passed=end - begin)
    return after


def test_what_was_sent_is_there_once_in_order_and_the_position_says_so(target, tmp_path):
    sink = target.open(tmp_path)
    assert sink.begin().position is None
    at = None
    for begin in range(0, 40, 10):
        at = passed(sink, begin, begin + 10, at, {"n": begin + 10})
    sink.close()
    again = target.open(tmp_path)
    assert again.begin().position == {"n": 40}
    passed(again, 40, 41, {"n": 40}, {"n": 41})
    again.close()
    assert target.held() == {f"id-{n}": 1 for n in range(41)}
    by_key = itertools.groupby(sorted(target.order(), key=lambda each: each[0]), lambda each: each[0])
    numbers = {key: [number for _, number in each] for key, each in by_key}
    assert numbers == {f"store {k}": list(range(k, 41, 3)) for k in range(3)}


def test_who_was_overtaken_does_nothing(target, tmp_path):
    sink = target.open(tmp_path)
    sink.begin()
    passed(sink, 0, 5, None, {"n": 5})
    with pytest.raises(SinkMovedError):
        sink.send(some(0, 5), None, {"n": 5})
    assert sink.begin().position == {"n": 5}
    passed(sink, 5, 6, {"n": 5}, {"n": 6})
    sink.close()
    assert target.held() == {f"id-{n}": 1 for n in range(6)}


def test_two_sources_have_positions_of_their_own(target, tmp_path):
    sink = target.open(tmp_path)
    sink.begin()
    passed(sink, 0, 3, None, {"n": 3})
    sink.close()
    other = open_sink(target.uri, replace(LAYOUT, source="topic"), SinkContext(tmp_path, partitions=3))
    assert other.begin().position is None
    passed(other, 3, 6, None, {"n": "other"})
    other.close()
    again = target.open(tmp_path)
    assert again.begin().position == {"n": 3}
    again.close()


def test_nothing_is_told_that_is_a_secret(target, tmp_path):
    sink = target.open(tmp_path)
    assert "sesame" not in sink.target
    assert "sesame" not in repr(sink) + repr(vars(sink))


@pytest.mark.parametrize(
    "uri",
    [
        "ftp://h/x",
        "nothing",
        "kafka://h:1",
        "kafka://u:sesame@h:1/t",
        "sqlite:///x.db",
        "postgresql://u:sesame@h/db",
        "https:///x",
    ],
)
def test_what_is_no_target_is_wrong_usage(uri, tmp_path):
    with pytest.raises(UsageError) as told:
        open_sink(uri, LAYOUT, SinkContext(tmp_path))
    assert "sesame" not in str(told.value)


@pytest.fixture(params=["sqlite", "duckdb", "postgresql"])
def table(request, tmp_path):
    files = {"sqlite": SQLiteTarget, "duckdb": DuckDBTarget}
    if request.param in files:
        return files[request.param](tmp_path)
    return PostgresTarget(request.getfixturevalue("server").uri)


def make(table, statement):
    if not isinstance(table, SQLiteTarget):
        for kind, name in {"REAL": "double precision", "DATETIME": "timestamptz", "INTEGER": "bigint"}.items():
            statement = statement.replace(kind, name)
    table.rows(statement)


def test_the_same_id_again_says_its_newest_values(table, tmp_path):
    sink = table.open(tmp_path)
    sink.begin()
    sink.send([prediction(1), prediction(2), prediction(1, 9.25)], None, {"n": 1})
    sink.send([prediction(3, 0.1, replaces=("id-2",))], {"n": 1}, {"n": 2})
    sink.close()
    assert [(row[0], row[3]) for row in table.rows()] == [("id-1", 9.25), ("id-3", 0.1)]


def test_values_are_held_as_they_are(table, tmp_path):
    hard = 0.1 + 0.2
    sink = table.open(tmp_path)
    sink.begin()
    sink.send([prediction(7, hard)._replace(rows=[("it's", 'a "b" \\ ☃', None, hard, None, 2**62)])], None, {"n": 1})
    sink.close()
    row = table.rows()[0]
    assert (row[0], row[1], row[2], row[3], row[4], row[5]) == ("it's", 'a "b" \\ ☃', None, hard, None, 2**62)


def test_a_table_that_does_not_fit_is_told_column_by_column(table, tmp_path):
    make(
        table,
        "CREATE TABLE out (id TEXT, store REAL, value REAL, open BOOLEAN, number INTEGER, must TEXT NOT NULL)",
    )
    sink = table.open(tmp_path)
    with pytest.raises(SinkError) as told:
        sink.begin()
    for part in (
        "day",
        "is missing",
        "store is",
        "must must have a value",
        "id is neither a primary key nor unique",
    ):
        assert part in told.value.message
    assert "sesame" not in str(told.value)


def test_a_table_that_has_more_is_fine(table, tmp_path):
    make(table, f"CREATE TABLE out (id TEXT UNIQUE, value REAL, {COLUMNS}, more TEXT)")
    sink = table.open(tmp_path)
    sink.begin()
    passed(sink, 0, 2, None, {"n": 2})
    sink.close()
    assert len(table.rows()) == 2


def test_what_the_database_refuses_is_told_and_nothing_is_written(table, tmp_path):
    make(table, f"CREATE TABLE out (id TEXT PRIMARY KEY, value REAL CHECK (value < 5), {COLUMNS})")
    sink = table.open(tmp_path)
    sink.begin()
    with pytest.raises(SinkError, match="refuses"):
        sink.send([prediction(1), prediction(2, 7.0)], None, {"n": 2})
    assert table.rows() == []
    passed(sink, 1, 2, None, {"n": 1})
    sink.close()


def test_a_file_that_is_replaced_gets_everything_again(tmp_path):
    table = SQLiteTarget(tmp_path)
    sink = table.open(tmp_path)
    sink.begin()
    passed(sink, 0, 3, None, {"n": 3})
    table.path.rename(tmp_path / "old.db")
    with pytest.raises((SinkUnavailableError, SinkMovedError, SinkError)):
        sink.send(some(3, 5), {"n": 3}, {"n": 5})
    assert sink.begin().position is None
    passed(sink, 0, 5, None, {"n": 5})
    sink.close()
    assert len(table.rows()) == 5


def test_a_table_that_was_dropped_gets_everything_again(table, tmp_path):
    other = replace(LAYOUT, source="topic")
    for layout in (LAYOUT, other):
        sink = open_sink(table.uri, layout, SinkContext(tmp_path))
        sink.begin()
        passed(sink, 0, 3, None, {"n": 3})
        sink.close()
    table.rows("DROP TABLE out")
    for layout in (LAYOUT, other):
        sink = open_sink(table.uri, layout, SinkContext(tmp_path))
        assert sink.begin().position is None
        passed(sink, 0, 3, None, {"n": 3})
        assert sink.begin().position == {"n": 3}
        sink.close()
    assert table.held() == {f"id-{n}": 1 for n in range(3)}


@pytest.mark.parametrize(
    ("column", "declared"),
    [("value", "numeric(10, 2)"), ("value", "numeric"), ("day", "timestamptz(0)"), ("number", "numeric(20, -2)")],
)
def test_a_column_that_would_round_is_refused(column, declared, server, tmp_path):
    table = PostgresTarget(server.uri)
    kinds = {"store": "text", "day": "timestamptz", "value": "float8", "open": "boolean", "number": "bigint"}
    columns = ", ".join(f"{name} {kind}" for name, kind in (kinds | {column: declared}).items())
    table.rows(f"CREATE TABLE out (id varchar(200) PRIMARY KEY, {columns})")
    with pytest.raises(SinkError, match=f"the table does not fit: {column} is "):
        table.open(tmp_path).begin()
    assert table.rows() == []


def test_a_constraint_that_is_checked_late_makes_no_id_unique(server, tmp_path):
    table = PostgresTarget(server.uri)
    columns = "store text, day timestamptz, value float8, open boolean, number bigint"
    table.rows(f"CREATE TABLE out (id text UNIQUE DEFERRABLE, {columns})")
    with pytest.raises(SinkError, match="id is neither a primary key nor unique") as told:
        table.open(tmp_path).begin()
    assert not isinstance(told.value, SinkUnavailableError)


def test_postgres_that_was_killed_is_told_as_away(tmp_path):
    own = Postgres()
    try:
        table = PostgresTarget(own.uri)
        sink = table.open(tmp_path)
        sink.begin()
        passed(sink, 0, 3, None, {"n": 3})
        own.kill()
        with pytest.raises(SinkUnavailableError) as told:
            sink.send(some(3, 5), {"n": 3}, {"n": 5})
        assert "sesame" not in str(told.value)
        own.start()
        assert sink.begin().position == {"n": 3}
        passed(sink, 3, 5, {"n": 3}, {"n": 5})
        sink.close()
        assert table.held() == {f"id-{n}": 1 for n in range(5)}
    finally:
        own.close()


@pytest.mark.parametrize("wrong", ["nobody_there", "sslmode=bogus", "sslmode=require"])
def test_a_wrong_login_is_no_outage(wrong, server, tmp_path):
    uri = f"{server.uri}postgres/out"
    wrong = f"{uri}?{wrong}" if "=" in wrong else uri.replace("test:", f"{wrong}:")
    sink = open_sink(wrong, LAYOUT, SinkContext(tmp_path))
    with pytest.raises(SinkError) as told:
        sink.begin()
    assert not isinstance(told.value, SinkUnavailableError)
    assert "sesame" not in str(told.value)


@pytest.mark.slow
def test_a_second_process_takes_the_topic_over(bootstrap, tmp_path):
    target = TopicTarget(bootstrap)
    first, second = target.open(tmp_path), target.open(tmp_path)
    first.begin()
    passed(first, 0, 3, None, {"n": 3})
    assert second.begin().position == {"n": 3}
    with pytest.raises(SinkError, match="another process"):
        first.send(some(3, 5), {"n": 3}, {"n": 5})
    passed(second, 3, 5, {"n": 3}, {"n": 5})
    first.close()
    second.close()
    assert target.held() == {f"id-{n}": 1 for n in range(5)}


@pytest.mark.slow
def test_a_topic_that_is_made_anew_gets_everything_again(bootstrap, tmp_path):
    from confluent_kafka.admin import AdminClient

    target = TopicTarget(bootstrap)
    sink = target.open(tmp_path)
    sink.begin()
    passed(sink, 0, 3, None, {"n": 3})
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.delete_topics([target.topic])[target.topic].result(30)
    kafka.eventually(lambda: target.topic not in admin.list_topics(timeout=10).topics)
    with pytest.raises(SinkError):
        sink.send(some(3, 5), {"n": 3}, {"n": 5})

    def anew():
        try:
            return sink.begin()
        except SinkUnavailableError:
            return None

    assert kafka.eventually(anew).position is None
    passed(sink, 0, 5, None, {"n": 5})
    sink.close()
    assert target.held() == {f"id-{n}": 1 for n in range(5)}
