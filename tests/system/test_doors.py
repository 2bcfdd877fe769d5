"""Every reference system that forecasts: its own records streamed, posted and in batch give the same numbers."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from headrace import Column, Contract, Forecaster, Monitoring, Source
from headrace.features import lag, rolling_mean, seasonal_features
from headrace.flow.run import RunRequest, run
from headrace.home import ANOMALIES, Home
from headrace.ledger import Entry
from headrace.loading import load_system
from headrace.serving.engine.engine import Engine, Message
from headrace.serving.engine.seeding import Seeding
from headrace.serving.posted.log import EventLog
from headrace.serving.stream import champions
from headrace.serving.stream.produce import Playing, events, message_of
from headrace.settings import Settings
from headrace.sources import simulated
from headrace.system import System
from headrace.tasks.forecast.anomalies import read_anomalies
from headrace.tasks.forecast.export import export
from headrace.tasks.forecast.monitoring import monitor

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["model.n_estimators=5", "model.max_rows=1000"]
SOURCE = "simulated:?series=3&days=40"
TRAINED = datetime(2026, 3, 2, tzinfo=UTC)
SYSTEMS = {
    folder.parent.name: load_system(str(folder.parent), SMALL)
    for folder in sorted((ROOT / "systems").glob("*/system.py"))
    if "horizon=" in folder.read_text(encoding="utf-8")
}
ENDING = ["contract.columns.time.label=end", "source.lag=1m", *SMALL]
SYSTEMS |= {
    "times_name_the_end": load_system(str(ROOT / "systems" / "live_metrics"), ENDING),
    "events_on_the_border": load_system(
        str(ROOT / "systems" / "live_metrics"), [*ENDING, "contract.columns.value.aggregate=sum"]
    ),
}


def several(*, as_of: datetime, series: int = 3, days: float = 40.0) -> pl.DataFrame:
    """The values of metrics, and two columns more, which are missing now and then."""
    rows = simulated.metrics(as_of=as_of, series=series, days=days)
    place = pl.int_range(pl.len())
    return rows.with_columns(
        visits=pl.when(place % 3 > 0).then(pl.col("value") * 2 + place % 7),
        returns=pl.when(place % 5 > 0).then((pl.col("value") // 3).cast(pl.Int64)),
    )


SYSTEMS["several_columns"] = System(
    name="several",
    source=Source(simulate=several),
    contract=Contract(
        columns=(
            *(Column("metric", "category"), Column("time", "time", zone="UTC"), Column("value", "float")),
            *(Column("visits", "float", nullable=True), Column("returns", "integer", nullable=True)),
        )
    ),
    keys=("metric",),
    time="time",
    step="5m",
    target="value",
    features={
        **seasonal_features("value", seasons=("24h",)),
        "visits_before": lag("visits", "5m"),
        "visits_mean": rolling_mean("visits", "1h"),
        "returned": lag("returns", "10m") / lag("value", "10m"),
    },
    model=Forecaster(seasons=("24h",), history="90d", n_estimators=5, max_rows=1000),
    horizon="1h",
    monitoring=Monitoring(baselines=("24h",)),
)


def posted(system: System) -> list[bytes]:
    """Records that become known after the training, some of them late, twice, or corrected."""
    assert system.step is not None
    first = TRAINED - system.source.lag + system.step
    playing = Playing(SOURCE, first, TRAINED + 12 * system.step, 0.0, TRAINED + timedelta(days=30))
    rows = list(events(system, playing)[0].iter_rows(named=True))
    chance = random.Random(7)
    again = [row | {system.target: row[system.target] * 1.5} for row in chance.sample(rows, 6)]
    late = chance.sample(range(len(rows)), 6)
    order = sorted(
        [*enumerate(rows), *((i + 4.5, row) for i, row in zip(late, again, strict=True))], key=lambda x: x[0]
    )
    return [message_of(system, row)[1] for _, row in order]


def told(body: bytes) -> dict[str, object]:
    return {name: value for name, value in json.loads(body).items() if name not in ("id", "key", "event_id")}


@pytest.mark.parametrize("name", SYSTEMS)
def test_three_doors_give_the_same_numbers(name: str, tmp_path: Path) -> None:
    system, home, late_now = SYSTEMS[name], Home(Settings(home=tmp_path)), datetime(2026, 6, 1, tzinfo=UTC)
    playing_now = TRAINED + timedelta(days=30)
    run(system, home, RunRequest(TRAINED, playing_now, SOURCE, ("ingest", "validate", "train")))
    champion = champions.champion(system, home, late_now)
    bodies, shape = posted(system), system.event_shape()
    engine = Engine(system.name, shape, champion, "t", seed=Seeding(system.name, home, shape))
    done = engine.answer([Message(0, i, b"k", body, 2**53) for i, body in enumerate(bodies)])
    assert not done.dead
    streamed = {m.offset: told(answer) for m, answer in done.outputs}
    assert len(streamed) > len(bodies) // 2

    log = EventLog(system, home, lambda: champion.pins)
    answers = {}
    for i, body in enumerate(bodies):
        entry = Entry(system.name, f"idempotency:{i}", "", body.hex(), body, b"", "", 0, late_now)
        ((said,),) = log.write_groups([[entry]])
        if isinstance(said, Entry):
            answers[i] = told(said.answer)
    assert answers == streamed
    assert sum(bool(answer["predictions"]) for answer in answers.values()) > 20

    counts = export(system, home)
    assert (counts["exported"], counts["differing"]) == (len(answers), 0), "batch computed each again"
    assert counts["predictions"] > 20 * system.steps
    if not shape.waits:  # else nothing is expected of a single event
        judged_alike(system, home, tmp_path, answers.values())


def judged_alike(system: System, home: Home, folder: Path, answers: Iterable[Mapping[str, Any]]) -> None:
    """What the doors said of values is in the tables; and what the batch side says of them, had nobody else."""
    first = {}
    for answer in answers:
        series = tuple(answer[name] for name in system.keys)
        first.setdefault((*series, datetime.fromisoformat(answer["event_time"])), (answer["degree"], answer["anomaly"]))
    judged = {what: said for what, said in first.items() if said[0] is not None}
    columns = [*system.keys, system.event_time, "degree", "anomaly"]

    def rows() -> dict[tuple[Any, ...], tuple[Any, Any]]:
        found = read_anomalies(system, home)
        assert found is not None
        found = found.filter(pl.col("degree").is_not_null())
        return {tuple(row[:-2]): tuple(row[-2:]) for row in found.select(columns).iter_rows()}

    assert len(judged) > 20
    assert rows() == judged
    shutil.rmtree(folder / "store" / system.name / ANOMALIES)
    (folder / "store" / system.name / "_tables" / f"{ANOMALIES}.json").unlink()
    home = Home(Settings(home=folder))
    monitor(system, home, as_of=datetime(2026, 6, 1, tzinfo=UTC))
    assert rows() == judged
