"""The feature group of a feature system, as tables and the online side hold it."""

from __future__ import annotations

from datetime import UTC, datetime

from headrace.errors import StreamError
from headrace.feature_system import EVENT, GROUP, FeatureSystem
from headrace.features.compiled import dtype_of
from headrace.home import Home
from headrace.store import FeatureGroup


def group_of(system: FeatureSystem, home: Home, *, fed: bool) -> FeatureGroup:
    """The group; its rows come from a topic (`fed`), or from a batch.

    Raises:
        StreamError: They have come from elsewhere so far: the same event would give two rows.
    """
    import polars as pl

    columns: dict[str, pl.DataType] = {name: pl.Float64() for name in system.features.names}
    group = FeatureGroup(
        home.store,
        system.name,
        GROUP,
        keys=system.keys,
        time=system.time,
        columns=columns | {EVENT: pl.String()},
        definition=system.definition,
        online=system.online,
    )
    group.fed = fed
    if GROUP in FeatureGroup.names(home.store, system.name):
        before = FeatureGroup.open(home.store, system.name, GROUP)
        if before.fed != fed:
            text = "a topic feeds it" if before.fed else "its rows are of a batch"
            hint = "use another --home, or give the system a new name: each event would be there twice"
            raise StreamError(text, where=f"{system.name}/{GROUP}", hint=hint)
        if (before.keys, before.time) != (group.keys, group.time):
            text = f"it was declared with keys {', '.join(before.keys) or 'none'} and time {before.time}"
            raise StreamError(text, where=f"{system.name}/{GROUP}", hint="give the system a new name")
    return group


def prepared(system: FeatureSystem, home: Home) -> FeatureGroup:
    """The group that a topic feeds, with a table and an online side to begin with."""
    import polars as pl

    group, utc = group_of(system, home, fed=True), pl.Datetime("us", "UTC")
    keys = {name: dtype_of(system.contract.column(name).type) for name in system.keys}
    group.prepare(pl.DataFrame(schema={**keys, system.time: utc, "known_at": utc, **group.columns}))
    home.online.follow(group, now=datetime.now(UTC))
    return group
