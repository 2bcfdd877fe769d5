"""Simulated metrics: what is made as of a time is what is made later, cut at it."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from headrace.errors import UsageError
from headrace.sources.simulated import metrics

AS_OF = datetime(2026, 3, 2, 12, tzinfo=UTC)


def made(as_of=AS_OF, **options):
    return metrics(as_of=as_of, **{"days": 2, **options})


def test_five_metrics_have_names_and_others_follow():
    frame = made(series=7)
    assert frame["metric"].unique().sort().to_list() == sorted(
        ["orders", "revenue", "cost_per_click", "requests", "taxi_trips", "metric_0005", "metric_0006"]
    )
    assert frame.height == 7 * 2 * 288
    assert frame["time"].max() == AS_OF
    assert frame["value"].min() > 0


@pytest.mark.parametrize("options", [{}, {"series": 2, "step": "1h"}, {"gaps": 0.2, "outliers": 0.1}])
def test_an_earlier_time_sees_the_same_values(options):
    start = AS_OF - timedelta(days=2)
    early, late = (made(AS_OF + timedelta(hours=h), start=start, days=9, **options) for h in (0, 5))
    assert late.filter(pl.col("time") <= AS_OF).equals(early)


def test_gaps_leave_values_out_and_another_seed_makes_others():
    assert made(gaps=0.3).height < 0.8 * made().height
    assert not made(seed=1)["value"].equals(made()["value"])


def test_an_unknown_option_is_refused():
    with pytest.raises(UsageError, match="there are seed"):
        made(serie=3)
