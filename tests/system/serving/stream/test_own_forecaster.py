"""A forecaster of one's own answers events with the batch door's numbers."""

import json
from datetime import datetime, timedelta

import polars as pl
import pytest
from tests.system.serving.stream.test_engine import facts_of, messages_of, steps_of
from tests.worlds import stream

from headrace.flow.run import RunRequest, run
from headrace.home import Home
from headrace.serving.stream import champions
from headrace.settings import Settings


class Drift:
    """Goes on as the last values went."""

    def fit(self, frame):
        return self

    def predict(self, frame, horizon):
        last = frame.group_by("unique_id", maintain_order=True).tail(5)
        ends = last.group_by("unique_id", maintain_order=True).agg(
            pl.col("ds").last(), pl.col("y").last(), ((pl.col("y").last() - pl.col("y").first()) / 4).alias("slope")
        )
        steps = pl.DataFrame({"step": range(1, horizon + 1)})
        ahead = ends.join(steps, how="cross").with_columns(pl.col("ds") + pl.duration(hours=pl.col("step")))
        return ahead.select("unique_id", "ds", drift=pl.col("y") + pl.col("slope") * pl.col("step"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    plain = stream.system()
    fields = {name: getattr(plain, name) for name in type(plain).model_fields} | {"model": Drift(), "features": {}}
    system, home = type(plain)(**fields), Home(Settings(home=tmp_path_factory.mktemp("own")))
    run(system, home, RunRequest(stream.TRAINED, stream.TRAINED, stream.SOURCE, ("ingest", "validate", "train")))
    return system, home, champions.champion(system, home, stream.TRAINED + timedelta(days=9000))


def test_every_answer_is_the_batch_doors(trained):
    system, home, champion = trained
    moves = [("orders", 1, 5, 20.25 + n) for n in range(8)] + [("revenue", 1, 9, 30.0), ("orders", -2, 1, 7.0)]
    engine = stream.engine(champion, of=system)
    done = engine.answer(list(messages_of(stream, moves)))
    answers = [json.loads(body) for _, body in done.outputs]
    assert len(answers) == 10
    facts = facts_of(answers)
    for answer in answers:
        as_of = datetime.fromisoformat(answer["as_of"])
        assert steps_of(answer) == stream.batch(champion, home, "facts", facts, as_of, answer["metric"])
