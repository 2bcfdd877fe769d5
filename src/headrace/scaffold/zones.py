"""The zone of local times, as their changes of the clocks tell: an hour lacks in spring, one comes twice in autumn."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from headrace.contract.column import Ambiguous, Label

if TYPE_CHECKING:
    import polars as pl

_HOUR = timedelta(hours=1)
_CHANCE = 1e-3
"""Hours that lack or come twice by chance would do so where the clocks change no more often than this."""


class Local(NamedTuple):
    """A zone, and what its times name.

    Attributes:
        zone: One of those whose clocks change so.
        label: "begin", or "end" where times name the end of an hour.
        others: Other declarations that fit as well, in words; empty where there is none.
        ambiguous: What to do with the hour that happens twice: its order tells, or there is but one.
    """

    zone: str
    label: Label
    others: str
    ambiguous: Ambiguous = "earliest"


_ZONES = (
    Local("Europe/Berlin", "begin", "any zone of Central Europe"),
    Local("Europe/London", "begin", "Europe/Lisbon"),
    Local("America/New_York", "begin", "any zone of the United States"),
    Local("America/New_York", "end", "any zone of the United States"),
    Local("Europe/Athens", "begin", 'Europe/Berlin with label="end"'),
    Local("Australia/Sydney", "begin", "Australia/Melbourne"),
    Local("Pacific/Auckland", "begin", ""),
)


def zone_of(times: pl.Series) -> Local | None:
    """The zone whose changes of the clocks are in the times of a file, or None where none tells.

    Args:
        times: Local times of all rows as if they were UTC, an hour or less apart; with those of several series each
            time is there as often as there are series.
    """
    import polars as pl

    hours = times.dt.replace_time_zone(None).dt.truncate("1h").drop_nulls().alias("hour")
    counts = hours.value_counts(name="rows")
    first, last = counts["hour"].min(), counts["hour"].max()
    if not isinstance(first, datetime) or not isinstance(last, datetime):
        return None
    whole = pl.DataFrame({"hour": pl.datetime_range(first, last, _HOUR, eager=True)})
    whole = whole.join(counts, on="hour", how="left").with_columns(pl.col("rows").fill_null(0)).sort("hour")
    usual = pl.max_horizontal(pl.col("rows").shift(1), pl.col("rows").shift(-1)).fill_null(0)
    whole = whole.with_columns(lacks=pl.col("rows") == 0, twice=pl.col("rows") > 1.5 * usual)
    chances = [(_chance(whole, local), local) for local in _ZONES]
    (chance, doubled), local = min(chances, key=lambda pair: pair[0][0])
    return local._replace(ambiguous="in_order" if doubled else "earliest") if chance < _CHANCE else None


def _chance(hours: pl.DataFrame, local: Local) -> tuple[float, bool]:
    """How probably the file looks so if its clocks never change, 1 if those of this zone do otherwise.

    And whether hours that happen twice are there twice.
    """
    named = hours["hour"] - (_HOUR if local.label == "end" else timedelta(0))
    changes = named.dt.replace_time_zone(local.zone, ambiguous="null", non_existent="null").is_null()
    exists = named.dt.replace_time_zone(local.zone, ambiguous="earliest", non_existent="null").is_not_null()
    gap, fold = ~exists, changes & exists
    if (gap & ~hours["lacks"]).any():
        return 1.0, False
    usual = hours.filter(~changes)
    lacking, twice = (((int(usual[name].sum()) + 1) / hours.height) for name in ("lacks", "twice"))
    doubled = int((fold & hours["twice"]).sum())
    return float(lacking ** int(gap.sum()) * twice**doubled), doubled > 0
