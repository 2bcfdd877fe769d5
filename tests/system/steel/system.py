"""steel: energy use of a steel plant, every 15 minutes, the next two hours."""

from headrace import Column, Contract, Forecaster, Monitoring, Schedule, Source, System
from headrace.features import lag, rolling_max, scaled, seasonal_features

SEASONS = ("24h", "168h")

system = System(
    name="steel",
    source=Source(
        columns={"time": "date", "usage": "Usage_kWh", "load": "Load_Type", "co2": "CO2(tCO2)"},
        constants={"plant": "gwangyang"},
    ),
    contract=Contract(
        columns=(
            Column("plant", "category"),
            Column("time", "time", zone="UTC", format="%d/%m/%Y %H:%M"),
            Column("usage", "float", minimum=0),
            Column("co2", "float", minimum=0),
            Column("load", "category", values=("Light_Load", "Medium_Load", "Maximum_Load")),
        ),
    ),
    keys=("plant",),
    time="time",
    step="15m",
    target="usage",
    features=seasonal_features("usage", step="15m", seasons=SEASONS)
    | {"co2": lag("co2", "0h"), "peak": scaled(rolling_max("usage", "24h"))},
    model=Forecaster(seasons=SEASONS, n_estimators=40, max_rows=20_000),
    horizon="2h",
    schedule=Schedule(predict="15m", train="1d"),
    monitoring=Monitoring(baselines=SEASONS),
)
