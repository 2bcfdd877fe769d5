"""A system of features for tests, its events, and what its features are by the table form alone."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from headrace import Column, Contract, FeatureSystem
from headrace.features import (
    CompileTarget,
    difference,
    lag,
    rolling_count,
    rolling_max,
    rolling_mean,
    rolling_std,
    rolling_sum,
)
from headrace.features.view import Features
from headrace.serving.stream.features.folding import Folds, GoodEvents, KeySteps

COLUMNS = (
    Column("card", "category"),
    Column("at", "time"),
    Column("amount", "float", minimum=0),
    Column("abroad", "boolean", nullable=True),
)
VALUES = {
    "spent": ("amount", "sum"),
    "payments": ("amount", "count"),
    "last": ("amount", "last"),
    "largest": ("amount", "max"),
    "usual": ("amount", "mean"),
    "abroad": ("abroad", "sum"),
}
FEATURES = {
    "spent_10m": rolling_sum("spent", "10m"),
    "mean_10m": rolling_sum("spent", "10m") / rolling_sum("payments", "10m"),
    "largest_1h": rolling_max("largest", "1h"),
    "minutes": rolling_count("last", "7m"),
    "last": lag("last", "0h"),
    "before": lag("last", "1m"),
    "change": difference("usual", "3m"),
    "spread": rolling_std("spent", "30m"),
    "level": rolling_mean(lag("usual", "1m"), "5m"),
    "abroad_1h": rolling_sum("abroad", "1h"),
}
BEGIN = datetime(2024, 5, 1, 9, tzinfo=UTC)


def cards(name: str = "cards", **more: object) -> FeatureSystem:
    """Payments by card; what each card did lately."""
    about = {"contract": Contract(columns=COLUMNS), "keys": ("card",), "time": "at", "step": "1m"}
    return FeatureSystem(name=name, **about | {"values": VALUES, "features": FEATURES} | more)


def payments(count: int, seed: int = 0, *, cards: int = 5, begin: datetime = BEGIN, pace: float = 4.0) -> list[dict]:
    """Events in the order in which they came; some late, some with the time of another one."""
    chance, now, found = random.Random(seed), begin, []
    for _ in range(count):
        now += timedelta(seconds=round(chance.expovariate(1 / pace), 3))
        late = timedelta(seconds=chance.choice([0] * 8 + [0.5, 45, 200, 5000]))
        at = found[-1]["at"] if found and chance.random() < 0.1 else (now - late).isoformat()
        abroad = chance.choice([True, False, None])
        amount = round(chance.uniform(0, 90), 2)
        found.append({"card": f"c{chance.randrange(cards)}", "at": at, "amount": amount, "abroad": abroad})
    return found


def told(events: list[dict]) -> GoodEvents:
    """Events as the folds take them."""
    times = [datetime.fromisoformat(each["at"]) for each in events]
    micros = np.array([int((t - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1)) for t in times])
    values = [[each["amount"] for each in events], [each["abroad"] for each in events]]
    return GoodEvents([json.dumps([each["card"]]) for each in events], micros, np.array(values, dtype=np.float64))


def folded(system: FeatureSystem, events: list[dict], sizes: list[int]) -> list[tuple[str, int, list[float]]]:
    """Key, time and features after each event that counts, in parts of these sizes; memories travel as bytes."""
    folds, kept, rows, begin = Folds(system, system.events.cadence.grid()), {}, [], 0
    for size in sizes:
        part = told(events[begin : begin + size])
        begin += size
        memories = {
            key: KeySteps.decode(kept[key], folds.columns) if key in kept else KeySteps.empty(folds.columns)
            for key in set(part.key)
        }
        found = folds(part, memories)
        kept |= {key: memory.encode() for key, memory in memories.items()}
        turns = np.argsort(found.place, kind="stable").tolist()
        rows += [(part.key[found.place[i]], int(found.time[i]), found.features[i].tolist()) for i in turns]
    assert begin == len(events)
    return rows


def by_tables(system: FeatureSystem, events: list[dict]) -> list[tuple[str, int, list[float]]]:
    """The same by definition: all events of a key so far, put together by step, and the table form of the features."""
    grid, rows, frames = system.events.cadence.grid(), [], []
    seen: dict[str, list[tuple[int, float, float]]] = {}
    part = told(events)
    grace = system.stream.allowed_lateness // timedelta(microseconds=1)
    for key, time, (amount, abroad) in zip(part.key, part.time.tolist(), part.values.T.tolist(), strict=True):
        mine = seen.setdefault(key, [])
        if mine and max(t for t, *_ in mine) - time > grace:
            continue
        mine.append((time, amount, abroad))
        steps: dict[int, list[tuple[int, float, float]]] = {}
        for each in mine:
            steps.setdefault(int(grid.slots(np.array([each[0]]))[0]), []).append(each)
        first, last = min(steps), max(steps)
        frame = pl.DataFrame([_step(steps.get(slot, [])) for slot in range(first, last + 1)], schema=_SCHEMA)
        frames.append(frame.with_columns(turn=pl.lit(len(rows))))
        rows.append((key, max(t for t, *_ in mine)))
    frame = pl.concat(frames)
    values = Features(system.features).over(frame, CompileTarget(step=system.step, series=("turn",)))
    last = values.filter((frame["turn"] != frame["turn"].shift(-1)).fill_null(True)).cast(pl.Float64)
    found = last.fill_null(float("nan")).rows()
    return [(*row, list(each)) for row, each in zip(rows, found, strict=True)]


_SCHEMA = dict.fromkeys(VALUES, pl.Float64)


def _step(events: list[tuple[int, float, float]]) -> dict[str, float | None]:
    if not events:
        return dict.fromkeys(VALUES)
    total, known = 0.0, [abroad for *_, abroad in events if abroad == abroad]
    for _, amount, _ in events:
        total = amount if total == 0.0 else total + amount
    newest = max(time for time, *_ in events)
    return {
        "spent": total,
        "payments": float(len(events)),
        "last": [amount for time, amount, _ in events if time == newest][-1],
        "largest": max(amount for _, amount, _ in events),
        "usual": total / len(events),
        "abroad": float(sum(known)) if known else None,
    }
