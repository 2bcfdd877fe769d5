"""loads: which of three kinds of load a quarter of an hour at a steel plant is."""

from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from xgboost import XGBClassifier

from headrace import Column, Contract, Source, System
from headrace.features import col

days = (OneHotEncoder(handle_unknown="ignore"), ["day"])

system = System(
    name="loads",
    source=Source(
        columns={
            "quarter": "date",
            "kwh": "Usage_kWh",
            "factor": "Lagging_Current_Power_Factor",
            "seconds": "NSM",
            "day": "Day_of_week",
            "load": "Load_Type",
        }
    ),
    contract=Contract(
        columns=(
            Column("quarter", "text"),
            Column("kwh", "float", minimum=0),
            Column("factor", "float", minimum=0, maximum=100),
            Column("seconds", "integer", minimum=0, maximum=86_400),
            Column("day", "category"),
            Column("load", "category", values=("Light_Load", "Medium_Load", "Maximum_Load"), nullable=True),
        )
    ),
    keys=("quarter",),
    target="load",
    features={"kwh": col("kwh"), "factor": col("factor"), "seconds": col("seconds"), "day": col("day")},
    model=make_pipeline(
        make_column_transformer(days, remainder="passthrough"), XGBClassifier(n_estimators=20, max_depth=4, n_jobs=1)
    ),
)
