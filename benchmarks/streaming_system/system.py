"""What benchmarks/streaming.py streams: small events, 24 lags, 100 trees, one step ahead."""

from headrace import Column, Contract, Forecaster, Monitoring, Source, System
from headrace.features import lag, scaled
from headrace.sources import simulated

system = System(
    name="bench",
    source=Source(simulate=simulated.metrics),
    contract=Contract(columns=(Column("metric", "category"), Column("time", "time"), Column("value", "float"))),
    keys=("metric",),
    time="time",
    step="1m",
    target="value",
    features={f"lag_{k}": scaled(lag("value", f"{k}m")) for k in range(24)},
    model=Forecaster(
        seasons=("24m",), n_estimators=250, max_rows=20_000
    ),  # series that persist: two members of 50 trees
    horizon="1m",
    monitoring=Monitoring(baselines=("24m",)),
)
