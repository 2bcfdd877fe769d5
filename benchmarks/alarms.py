"""What the rules of the four systems say on quiet data, and after a shift that was put into it.

    python benchmarks/alarms.py [--only energy-de35,titanic]

Each case is run twice, as its system declares its rules: on the data as they are, where every alert is a false one, and
with a shift from a known time on. Forecasts are backfilled; rows come in batches, a day each, and their truth a day
later. Prints a row for each case as a table in Markdown.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import datasets
import headrace as hr
from headrace.loading import load_system

SYSTEMS = Path(__file__).parents[1] / "systems"
DAY = timedelta(days=1)
BY = 1.6
"""What a shift multiplies a level by."""
Frame = pl.DataFrame


@dataclass(frozen=True)
class Case:
    """A system on data.

    Attributes:
        system: Its name below ``systems/``.
        what: The data, in words.
        shift: The shift, in words.
        run: Runs it in a home on data that are shifted or not; gives what is open to be asked and when the shift was.
    """

    system: str
    what: str
    shift: str
    run: Callable[[Path, bool], tuple[hr.BoundSystem, datetime, datetime]]
    settings: dict[str, Any] = field(default_factory=dict)


def forecast(
    system: str, rows: Callable[[], Frame], days: int, every: str, settings: dict[str, Any]
) -> Callable[[Path, bool], tuple[hr.BoundSystem, datetime, datetime]]:
    """Backfill the last `days` days; a shift comes after a third of them."""

    def run(folder: Path, shifted: bool) -> tuple[hr.BoundSystem, datetime, datetime]:
        frame = rows()
        last = frame["time"].max()
        assert isinstance(last, datetime)
        end = last.replace(hour=0, minute=0)
        start = end - days * DAY
        at = start + (end - start) / 3
        if shifted:
            frame = frame.with_columns(y=pl.when(pl.col("time") >= at).then(pl.col("y") * BY).otherwise(pl.col("y")))
        path = folder / "rows.parquet"
        names = NAMES[system]
        frame.rename({old: new for old, new in names.items() if old in frame.columns}).write_parquet(path)
        s = hr.open(folder / "home", quiet=True).system(str(SYSTEMS / system), settings)
        done = s.backfill(start, end, every, source=f"file:{path}", workers=1)
        if done.failed:
            raise SystemExit(f"{system}: {done.failed[0]}")
        return s, start, at

    return run


NAMES = {
    "energy": {"time": "HourUTC", "area": "PriceArea", "series": "ConsumerType_DE35", "y": "TotalCon"},
    "live_metrics": {"series": "metric", "y": "value"},
}


def series(name: str, days: int, most: int = 8) -> Frame:
    """The last days of a public set, as ``time area series y``; of many series some."""
    history = datasets.read(name).history
    moments = [history.start + history.step * i for i in range(history.length)]
    rows = np.unique(np.linspace(0, history.series - 1, min(most, history.series)).astype(int))
    frames = [
        Frame({"time": moments, "y": history.values["y"][row]}).with_columns(
            area=pl.lit("DK1"), series=pl.lit(f"{place + 100}")
        )
        for place, row in enumerate(rows)
    ]
    frame = pl.concat(frames).filter(pl.col("y").is_not_nan())
    last = frame["time"].max()
    assert isinstance(last, datetime)
    return frame.filter(pl.col("time") > last - days * DAY).with_columns(pl.col("y").clip(lower_bound=0))


def simulated(system: str, days: int, **options: Any) -> Frame:
    """What the system's simulation gives, under the names that are used here."""
    as_of = datetime(2026, 3, 1, tzinfo=UTC)
    simulate = load_system(str(SYSTEMS / system)).source.simulate
    assert simulate is not None
    frame: Frame = simulate(as_of=as_of, days=days, **options)
    frame = frame.rename({new: old for old, new in NAMES[system].items() if new in frame.columns})
    return frame.drop("known_at", strict=False)


def batches(
    system: str, rows: Callable[[], Frame], learnt: int, size: int, shift: Callable[[Frame], Frame]
) -> Callable[[Path, bool], tuple[hr.BoundSystem, datetime, datetime]]:
    """Train on the first rows, then predict a batch a day, whose truth comes with the next one's."""

    def run(folder: Path, shifted: bool) -> tuple[hr.BoundSystem, datetime, datetime]:
        frame, begin = rows(), datetime(2026, 3, 1, 10, tzinfo=UTC)
        target = load_system(str(SYSTEMS / system)).target
        count = (frame.height - learnt) // size
        first = count // 3 + 1
        s = hr.open(folder / "home", clock=lambda: begin + 400 * DAY, quiet=True).system(str(SYSTEMS / system))
        for day in range(count + 2):
            parts = [frame[:learnt]] if day == 0 else []
            for known, told in ((day - 1, True), (day, False)):
                if 1 <= known <= count:
                    part = frame[learnt + (known - 1) * size :][:size]
                    part = shift(part) if shifted and known >= first else part
                    parts.append(part if told else part.with_columns(pl.lit(None, part[target].dtype).alias(target)))
            path = folder / f"{day}.parquet"
            pl.concat(parts).write_parquet(path)
            s.run(begin + day * DAY, source=f"file:{path}")
        return s, begin, begin + first * DAY

    return run


def passengers() -> Frame:
    """The Titanic's, in an order of their own."""
    frame = pl.read_csv(datasets.SHARED / "titanic/train.csv")
    return frame.sample(fraction=1.0, shuffle=True, seed=1)


def listings() -> Frame:
    """Mercari's."""
    return pl.read_csv(datasets.SHARED / "mercari/train.tsv.gz", separator="\t", quote_char='"')


def dearer(part: Frame) -> Frame:
    """All prices dearer by half."""
    return part.with_columns(pl.col("price") * 1.5)


def otherwise_coded(part: Frame) -> Frame:
    """Men as women, and fares in another currency."""
    other = pl.col("Sex").replace({"male": "female", "female": "male"})
    return part.with_columns(other, pl.col("Fare") * 5)


FEW = {"tuning.trials": 3, "model.n_estimators": 60, "model.max_rows": 10000}
NOW = FEW | {"source.lag": "0h"}
CASES = {
    "energy-simulated": Case(
        "energy",
        "simulated, 4 series, 60 days, 15 days late",
        f"level times {BY}",
        forecast("energy", lambda: simulated("energy", 150, series=4), 60, "12h", FEW),
    ),
    "energy-de35": Case(
        "energy",
        "DE35, 8 of 76 series, 18 days with the New Year",
        f"level times {BY}",
        forecast("energy", lambda: series("de35", 40), 18, "12h", NOW),
    ),
    "energy-pjm": Case(
        "energy",
        "PJM East, 60 days",
        f"level times {BY}",
        forecast("energy", lambda: series("pjm", 180), 60, "1d", NOW),
    ),
    "energy-aalborg": Case(
        "energy",
        "households of Aalborg, 60 days",
        f"level times {BY}",
        forecast("energy", lambda: series("aalborg", 180), 60, "1d", NOW),
    ),
    "live-simulated": Case(
        "live_metrics",
        "simulated, 7 days",
        f"level times {BY}",
        forecast("live_metrics", lambda: simulated("live_metrics", 21), 7, "1h", NOW),
    ),
    "live-taxi": Case(
        "live_metrics",
        "New York's taxi trips, 30 minutes a step, 21 days",
        f"level times {BY}",
        forecast("live_metrics", lambda: series("nyc_taxi", 70), 21, "3h", NOW | {"step": "30m", "horizon": "6h"}),
    ),
    "titanic": Case(
        "titanic",
        "Kaggle's passengers, 591 learnt, 10 batches of 30",
        "men are coded as women, fares times 5",
        batches("titanic", passengers, 591, 30, otherwise_coded),
    ),
    "price_alchemy": Case(
        "price_alchemy",
        "Mercari's listings, 2,000 learnt, 10 batches of 150",
        "prices times 1.5",
        batches("price_alchemy", listings, 2_000, 150, dearer),
    ),
}


def measured(case: Case) -> Iterator[str]:
    """The cells of a case's row: alerts on quiet data, then what the shift raised, and when."""
    yield case.system
    yield case.what
    for shifted in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            s, _, at = case.run(Path(folder), shifted)
            raised = [alert for alert in s.alerts() if not shifted or alert.raised_at >= at]
            if not shifted:
                false = [f"{alert.severity} {alert.rule}" for alert in raised]
                yield f"{len(false)}: {', '.join(false)}" if false else "0"
                continue
            yield case.shift
            told = [f"{a.severity} {a.rule} after {(a.alarm_at or a.raised_at) - at}" for a in raised]
            acted = [f"{x['action']} {x['outcome']}" for a in raised for x in a.actions]
            yield "; ".join(told) or "nothing"
            yield "; ".join(dict.fromkeys(acted)) or "-"


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(CASES))
    options = parser.parse_args()
    print("| system | data | alerts while quiet | shift | raised after it | actions |")
    print("|---|---|---|---|---|---|")
    for name in options.only.split(","):
        before = resource.getrusage(resource.RUSAGE_SELF)
        print("| " + " | ".join(measured(CASES[name])) + " |", flush=True)
        after = resource.getrusage(resource.RUSAGE_SELF)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(f"{name}: {spent:.0f} CPU s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
