"""energy: Danish hourly electricity consumption per price area and industry, the next 24 hours, every hour."""

from headrace import Column, Contract, Forecaster, Monitoring, Schedule, Source, System
from headrace.contract import Gaps, Share
from headrace.features import seasonal_features
from headrace.policy.monitoring import WorseThanBaseline, WorseThanHeldOut, default_rules
from headrace.sources import simulated
from headrace.sources.energidataservice import EnergiDataService

SEASONS = ("24h", "168h")
BY_SERIES = WorseThanBaseline(by="series", alarm=None)
JUMP = WorseThanHeldOut("wape", warn=2, alarm=3, window="3d", consecutive=1)

system = System(
    name="energy",
    source=Source(
        api=EnergiDataService(dataset="ConsumptionDE35Hour"),
        simulate=simulated.consumption,
        columns={
            "time": "HourUTC",
            "area": "PriceArea",
            "industry": "ConsumerType_DE35",
            "consumption": "TotalCon",
        },
        lag="15d",  # the API publishes an hour 15 days later
    ),
    contract=Contract(
        columns=(
            Column("time", "time", zone="UTC"),
            Column("area", "category", values=("DK1", "DK2")),
            Column("industry", "category", pattern=r"^\d{3}$"),
            Column("consumption", "float", minimum=0, description="kWh in the hour that begins at `time`"),
        ),
        rules=(
            Share(column="consumption", condition="zero", at_most=0.1, severity="warn"),
            Gaps(at_most=0.05, severity="warn"),
        ),
        max_invalid_fraction=0.05,
    ),
    keys=("area", "industry"),
    time="time",
    step="1h",
    target="consumption",
    features=seasonal_features("consumption", step="1h", seasons=SEASONS, country="DK", zone="Europe/Copenhagen"),
    model=Forecaster(seasons=SEASONS),
    horizon="24h",
    schedule=Schedule(predict="1h", train="7d"),
    monitoring=Monitoring(baselines=SEASONS, rules=(*default_rules(), BY_SERIES, JUMP)),
)
