"""energy_use: the energy that a steel plant uses in a quarter of an hour, with an interval."""

from headrace import Boosting, Column, Contract, Linear, Regressor, Source, System
from headrace.features import col

system = System(
    name="energy_use",
    source=Source(
        columns={
            "quarter": "date",
            "kwh": "Usage_kWh",
            "factor": "Lagging_Current_Power_Factor",
            "seconds": "NSM",
            "week": "WeekStatus",
            "load": "Load_Type",
        }
    ),
    contract=Contract(
        columns=(
            Column("quarter", "text"),
            Column("kwh", "float", minimum=0, nullable=True),
            Column("factor", "float", minimum=0, maximum=100),
            Column("seconds", "integer", minimum=0, maximum=86_400),
            Column("week", "category", values=("Weekday", "Weekend")),
            Column("load", "category"),
        )
    ),
    keys=("quarter",),
    target="kwh",
    features={"factor": col("factor"), "seconds": col("seconds"), "week": col("week"), "load": col("load")},
    model=Regressor(members=(Linear(), Boosting(n_estimators=40)), folds=3, repeats=1),
)
