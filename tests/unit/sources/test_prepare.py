"""`prepare`: every frame goes through it before all else, it is pinned, and its mistakes are told where they are."""

from datetime import UTC, datetime

import polars as pl
import pytest
from tests.worlds.flow import NOW as LATER
from tests.worlds.flow import last, system_of, world

from headrace.errors import PrepareError
from headrace.flow.run import RunRequest, run
from headrace.home import Home
from headrace.settings import Settings
from headrace.shaping import differing
from headrace.sources import Source, open_source

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def exploded(frame):
    """Lists of hours to rows of one hour each."""
    return frame.explode("hours").with_columns(pl.col("hours").alias("at"))


def test_the_frame_is_prepared_before_names_and_known_times_are_looked_for(tmp_path):
    pl.DataFrame({"day": ["a", "b"], "hours": [[1, 2, 3], [4]], "Seen": ["x", "y"]}).write_parquet(
        tmp_path / "x.parquet"
    )
    source = Source(prepare=exploded, columns={"hour": "at"}, known_at="Seen", uri=f"file:{tmp_path}/x.parquet")
    records = open_source(source).read(as_of=NOW, now=NOW)
    assert records.frame["hour"].to_list() == [1, 2, 3, 4]
    assert (records.raw.rows, records.known.column) == (2, "Seen")


def test_every_part_of_a_source_is_prepared_and_counted():
    def simulate(as_of, parts=3):
        return pl.DataFrame({"part": range(parts)})

    source = Source(prepare=lambda frame: frame.filter(pl.col("part") != 1), simulate=simulate)
    records = open_source(source, "simulated:?parts=4").read(as_of=NOW, now=NOW)
    assert records.frame["part"].to_list() == [0, 2, 3]
    assert records.raw.rows == 4


def broken(frame):
    """Fails on its second line."""
    renamed = frame.rename({"x": "y"})
    return renamed.select("x")


def test_a_mistake_names_the_function_and_the_line(tmp_path):
    (tmp_path / "x.csv").write_text("x\n1\n")
    with pytest.raises(PrepareError, match="ColumnNotFoundError") as error:
        open_source(Source(prepare=broken), f"file:{tmp_path}/x.csv").read(as_of=NOW, now=NOW)
    line = broken.__code__.co_firstlineno + 3
    assert error.value.where == f"source.prepare: broken ({__file__}:{line})"
    assert error.value.hint == "it was given 1 rows with x; nothing was stored"


def test_what_is_no_frame_is_refused(tmp_path):
    (tmp_path / "x.csv").write_text("x\n1\n")
    with pytest.raises(PrepareError, match="returned a NoneType"):
        open_source(Source(prepare=print), f"file:{tmp_path}/x.csv").read(as_of=NOW, now=NOW)


def doubled(frame):
    return pl.concat([frame, frame.with_columns(pl.col("place") + "b")])


def other(frame):
    return frame


def test_rows_are_counted_after_it_and_an_edit_is_noticed(tmp_path):
    home = Home(Settings(home=tmp_path))
    world(1, places=1).write_parquet(tmp_path / "facts.parquet")
    uri = f"file:{tmp_path}/facts.parquet"
    system = system_of()
    prepared = system.model_copy(update={"source": Source(lag="1h", prepare=doubled)})
    done = run(prepared, home, RunRequest(last(30), LATER, uri, steps=("ingest", "validate")))
    raw = pl.read_parquet(tmp_path / "facts.parquet").height
    assert (done.raw, done.rows["read"]) == (raw, 2 * raw) == (done.as_dict()["raw"], done.as_dict()["read"])
    assert done.rows["read"] == sum(n for name, n in done.rows.items() if name != "read")
    pins = {"made_from": prepared.made_from}
    assert differing(prepared.made_from, pins) == []
    edited = system.model_copy(update={"source": Source(lag="1h", prepare=other)})
    assert "source.prepare" in differing(edited.made_from, pins)
    assert "source.prepare" in differing(system.made_from, pins)
    assert prepared.config()["source"]["prepare"]["function"] == "doubled"
    failed = system.model_copy(update={"source": Source(lag="1h", prepare=broken)})
    with pytest.raises(PrepareError):
        run(failed, home, RunRequest(last(20), LATER, uri, steps=("ingest", "validate")))
    assert home.raw(system).version() == 1
