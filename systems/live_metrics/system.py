"""live_metrics: business metrics from a Kafka topic, the next 12 steps of each, as events arrive."""

from headrace import Column, Contract, Forecaster, Monitoring, Schedule, Source, System
from headrace.features import seasonal_features
from headrace.policy.monitoring import Coverage, Drifted, Quarantined, StaleSource, WorseThanBaseline, WorseThanHeldOut
from headrace.sources import simulated
from headrace.system import Stream

SEASONS = ("24h",)
JUMP = WorseThanHeldOut("wape", warn=2, alarm=3, window="3h", consecutive=1)
RULES = (WorseThanBaseline(), Coverage(), Quarantined(), StaleSource(at_least="30m"), Drifted(), JUMP)

system = System(
    name="live_metrics",
    source=Source(simulate=simulated.metrics, lag="0h"),
    contract=Contract(
        columns=(
            Column("metric", "category"),
            Column("time", "time", zone="UTC", align=True),  # collectors report a few seconds after the step
            Column("value", "float"),
        ),
        max_invalid_fraction=0.05,
        allow_empty=True,  # a topic without new events is fine
    ),
    keys=("metric",),
    time="time",
    step="5m",
    target="value",
    features=seasonal_features("value", seasons=SEASONS),
    model=Forecaster(seasons=SEASONS, history="90d"),
    horizon="1h",
    schedule=Schedule(predict="5m", train="1d"),
    monitoring=Monitoring(baselines=SEASONS, every="1h", rules=RULES, on_alarm="retrain"),
    stream=Stream(allowed_lateness="1h"),
)
