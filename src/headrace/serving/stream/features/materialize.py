"""Materialize the features of a batch: what a source says, checked and kept as events, and a row for each of them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.contract import KNOWN_AT
from headrace.feature_system import EVENT, FeatureSystem
from headrace.home import Home
from headrace.pipelines import ingest
from headrace.serving.stream.features.folding import Folds, GoodEvents, KeySteps
from headrace.serving.stream.features.group import group_of
from headrace.store.online.records import key_text

if TYPE_CHECKING:
    import polars as pl


def materialize(
    system: FeatureSystem, home: Home, *, source: str | None, as_of: datetime, now: datetime
) -> dict[str, Any]:
    """Read the source, keep its events, and write the features after each event that was known at `as_of`.

    A row is known since its event is; of several events of a key that became known together each is known a
    microsecond after the one before it. Repeating it adds nothing.

    Args:
        system: The declaration.
        home: Where tables are.
        source: A source URI in place of the system's own.
        as_of: What became known later does not count.
        now: The clock's time.

    Raises:
        ContractBroken: Too many bad rows.
        StreamError: A topic feeds the group.
    """
    group, events = group_of(system, home, fed=False), system.events
    records = ingest.read(events, home, source=source, as_of=as_of, now=now)
    validated = ingest.validate(events, home, records, as_of=as_of, now=now)
    table = home.raw(events)
    rows, late = _rows(system, Folds(system, home.grid(events)), table.collect(table.scan(as_of=as_of)))
    written = group.write(rows)
    counts = {"rows": written.added, "unchanged": written.unchanged, "late": late, "version": written.version}
    return {"system": system.name, "group": f"{system.name}/{group.name}", "events": validated.rows, **counts}


def _rows(system: FeatureSystem, folds: Folds, facts: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """The row of each event, in the order in which they became known; and how many came too late."""
    import polars as pl

    columns, utc = list(system.columns), pl.Datetime("us", "UTC")
    facts = facts.sort(KNOWN_AT, system.time, *columns)
    keys = [key_text(key, len(system.keys)) for key in facts.select(system.keys).iter_rows()]
    values = facts.select(pl.col(columns).cast(pl.Float64).fill_null(float("nan"))).to_numpy().T
    good = GoodEvents(keys, facts[system.time].to_physical().to_numpy(), np.ascontiguousarray(values))
    folded = folds(good, {key: KeySteps.empty(folds.columns) for key in keys})
    known = facts[KNOWN_AT].to_physical().to_numpy()[folded.place].tolist()
    for i in range(1, len(known)):
        if keys[folded.place[i]] == keys[folded.place[i - 1]]:
            known[i] = max(known[i], known[i - 1] + 1)
    frame = facts.select(system.keys)[folded.place]
    times = [pl.Series(system.time, folded.time), pl.Series(KNOWN_AT, known, dtype=pl.Int64)]
    named = zip(system.features.names, folded.features.T, strict=True)
    columns_found = [pl.Series(name, np.ascontiguousarray(column), nan_to_null=True) for name, column in named]
    frame = frame.with_columns(
        *(time.cast(utc) for time in times), *columns_found, pl.lit(None, pl.String).alias(EVENT)
    )
    return frame.select(*system.keys, system.time, KNOWN_AT, *system.features.names, EVENT), len(folded.late)
