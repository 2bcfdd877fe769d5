"""Two rows of one identity and known time with other values contradict one another, in one ingest as over several."""

import polars as pl
import pytest
from tests.worlds.flow import NOW, last, system_of

from headrace.contract import Column, Contract, KnownTimes
from headrace.features import col
from headrace.flow.run import RunRequest, run
from headrace.home import Home
from headrace.models import Linear, Regressor
from headrace.pipelines.ingest import validate
from headrace.settings import Settings
from headrace.sources import Records, Source
from headrace.system import System


@pytest.fixture
def ingest(tmp_path):
    system, home = system_of(), Home(Settings(home=tmp_path))

    def read(*rows):
        (tmp_path / "rows.csv").write_text("\n".join(["place,time,load,warmth,known_at", *rows]) + "\n")
        done = run(system, home, RunRequest(last(), NOW, f"file:{tmp_path}/rows.csv", ("ingest", "validate")))
        assert done.rows["read"] == sum(done.rows.values()) - done.rows["read"]
        stored = home.raw(system)
        found = stored.collect(stored.scan().select("load")).to_series().to_list() if stored.exists() else []
        return done.rows["ingested"], done.rows["quarantined"], done.rows["repeated"], found

    return read


def row(load, known="02:00", hour=1):
    return f"p0,2026-01-01T0{hour}:00:00Z,{load},5,2026-01-01T{known}:00Z"


FINE = [row(7, hour=3, known="04:00"), row(8, hour=2, known="03:00")]


def test_within_one_ingest(ingest):
    assert ingest(row(1), row(2), *FINE)[:3] == (2, 2, 0)


def test_over_several(ingest):
    assert ingest(row(1)) == (1, 0, 0, [1.0])
    for _ in range(2):
        assert ingest(row(2), *FINE)[1] == 1
    assert ingest(row(1), *FINE)[:3] == (0, 0, 3)
    assert sorted(ingest(row(3, known="02:30"))[3]) == [1.0, 3.0, 7.0, 8.0]  # known later: a correction
    assert ingest(row(1), row(3, known="02:30"))[:3] == (0, 0, 2)


def test_a_row_that_says_what_was_said_later_is_no_contradiction(ingest):
    ingest(row(1), row(2, known="05:00"))
    assert ingest(row(2, known="06:00"))[:3] == (0, 0, 1)


def test_an_event_that_was_answered_stands(ingest, tmp_path):
    """A stream that begins where a file ended may correct its last hour, which it knows by the very time of then."""
    ingest(row(1))
    system, home = system_of(), Home(Settings(home=tmp_path))
    said = {"place": ["p0"], "time": ["2026-01-01T01:00:00Z"], "load": [2.0], "warmth": [5.0]}
    frame = pl.DataFrame(said | {"known_at": ["2026-01-01T02:00:00Z"]})
    records = Records(frame, "kafka://localhost:9092/world.events", KnownTimes(column="known_at"), streamed=True)
    done = validate(system, home, records, as_of=last(), now=NOW)
    assert done.rows == {"read": 1, "ingested": 1, "quarantined": 0, "repeated": 0, "pending": 0}
    assert home.raw(system).read(identity=system.identity)["load"].to_list() == [2.0]


def test_rows_without_event_time(tmp_path):
    columns = (Column("code", "text"), Column("size", "float"), Column("price", "float", nullable=True))
    system = System(
        name="sizes",
        source=Source(uri=f"file:{tmp_path}/rows.csv"),
        contract=Contract(columns=columns, max_invalid_fraction=0.5),
        keys=("code",),
        target="price",
        features={"size": col("size")},
        model=Regressor(members=(Linear(),)),
    )
    home, known = Home(Settings(home=tmp_path)), KnownTimes(column="known_at")

    def rows_of(**sizes):
        told = {"code": list(sizes), "size": list(sizes.values()), "price": [1.0] * len(sizes)}
        frame = pl.DataFrame(told | {"known_at": ["2026-01-01T02:00:00Z"] * len(sizes)})
        return validate(system, home, Records(frame, "file:rows.csv", known), as_of=last(), now=NOW)

    assert rows_of(a=1.0, b=2.0).rows["ingested"] == 2
    done = rows_of(a=1.5, b=2.0, c=3.0)
    assert done.rows == {"read": 3, "ingested": 1, "quarantined": 1, "repeated": 1, "pending": 0}
    assert done.validation.reasons == {"conflicting duplicate": 1}
    assert done.validation.bad["time"].to_list() == [None]
    assert home.raw(system).read(identity=system.identity)["size"].to_list() == [1.0, 2.0, 3.0]


def test_copies_of_a_row_without_event_time_are_repeated(tmp_path):
    columns = (Column("code", "text"), Column("size", "float"), Column("price", "float", nullable=True))
    system = System(
        name="sizes",
        contract=Contract(columns=columns, max_invalid_fraction=0.5),
        keys=("code",),
        target="price",
        features={"size": col("size")},
        model=Regressor(members=(Linear(),)),
    )
    said = {"code": ["a", "a", "a", "b", "c", "c", "c"], "size": [1.0, 1, 1, 2, 3, 3, 4], "price": [1.0] * 7}
    for more, ingested in (([], 2), ([pl.DataFrame(said)], 2)):
        home = Home(Settings(home=tmp_path / str(len(more))))
        done = validate(
            system, home, Records(pl.DataFrame(said), "file:rows.csv", more=tuple(more)), as_of=last(), now=NOW
        )
        rows = 7 * (1 + len(more))
        bad = 3 * (1 + len(more))
        repeated = rows - bad - ingested
        assert done.rows == {"read": rows, "ingested": ingested, "quarantined": bad, "repeated": repeated, "pending": 0}
        assert set(done.validation.bad["row"].str.json_path_match("$.code")) == {"c"}
        assert home.raw(system).read(identity=system.identity)["code"].to_list() == ["a", "b"]
