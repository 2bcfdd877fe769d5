"""A model of the size of ours, as people write it with pandas: the features of the titanic system, LightGBM."""

from __future__ import annotations

import lightgbm
import numpy as np
import pandas as pd

TITLES = {"Mr": 0, "Master": 2, "Miss": 3, "Mrs": 4}


def features(rows: pd.DataFrame) -> pd.DataFrame:
    """Title, class, family, fare of each, port and age."""
    family = rows["SibSp"] + rows["Parch"] + 1
    title = rows["Name"].str.extract(r", ([^.]+)\.", expand=False).map(TITLES).fillna(1)
    return pd.DataFrame(
        {
            "title": title,
            "class": rows["Pclass"],
            "sex": rows["Sex"] == "female",
            "family": np.minimum(family, 6),
            "fare_each": np.log1p(pd.to_numeric(rows["Fare"]) / family),
            "embarked": rows["Embarked"].map({"S": 0, "C": 1, "Q": 2}),
            "age": pd.to_numeric(rows["Age"]),
        }
    ).astype(float)


def fit(path: str) -> lightgbm.LGBMClassifier:
    """Fit on a CSV file of passengers."""
    rows = pd.read_csv(path)
    rows = rows[rows["Survived"].notna()]
    model = lightgbm.LGBMClassifier(n_estimators=120, num_leaves=5, min_child_samples=15, n_jobs=1, verbose=-1)
    return model.fit(features(rows), rows["Survived"].astype(int))
