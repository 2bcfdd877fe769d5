"""What the peers serve: the prediction of the titanic system, as people build it with pandas and scikit-learn.

From the same raw columns the same features (title, class, family, fare of each, port, age, and the keys of what is
known of a family, a ticket and people alike), the same encodings (missing numbers filled and marked, categories
one-hot, keys as smoothed target means), the same two members with the same settings, their mean, and Platt's
calibration. It is one pipeline, so that every server gets what it would get from its users: rows in, probabilities out.

    python passengers_model.py TRAIN.csv MODEL [mlflow]     # fits and saves, as a joblib file or in MLflow's format
"""

from __future__ import annotations

import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from lightgbm import LGBMClassifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import VotingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler, TargetEncoder

TITLES = {title: title for title in ("Mr", "Mrs", "Miss", "Master")}
TITLES |= {"Mlle": "Miss", "Ms": "Miss", "Mme": "Mrs", "Lady": "Mrs", "the Countess": "Mrs"}
NUMBERS = ["class", "family", "fare_each", "age"]
CATEGORIES = ["title", "embarked"]
GROUPS = ["party", "kin", "alike"]


def features(rows: pd.DataFrame) -> pd.DataFrame:
    """The features of the titanic system. Whole columns at once; JSON's null makes columns of objects."""
    title = rows["Name"].str.extract(r", ([^.]+)\.", expand=False).map(TITLES).fillna("other")
    family = rows["SibSp"] + rows["Parch"] + 1
    spared = (rows["Sex"] == "female") | (title == "Master")
    number, kind = rows["Pclass"].astype(str), spared.astype(str)
    surname = rows["Name"].str.partition(",")[0]
    return pd.DataFrame(
        {
            "class": rows["Pclass"].astype(float),
            "family": np.minimum(family, 6.0),
            "fare_each": np.log1p(pd.to_numeric(rows["Fare"]) / family),
            "age": pd.to_numeric(rows["Age"]),
            "title": title.astype(object),
            "embarked": rows["Embarked"].fillna("S").astype(object),
            "party": rows["Ticket"].where(spared, "none").astype(object),
            "kin": (surname + "|" + number).where(spared & (family > 1), "none").astype(object),
            "alike": (kind + "|" + number + "|" + (spared & (family > 4)).astype(str)).astype(object),
        }
    )


def pipeline() -> Pipeline:
    """Raw rows to probabilities."""
    encode = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), NUMBERS),
            ("categories", OneHotEncoder(handle_unknown="ignore", sparse_output=False), CATEGORIES),
            ("groups", TargetEncoder(random_state=0), GROUPS),
        ]
    )
    boosting = LGBMClassifier(
        n_estimators=120,
        learning_rate=0.05,
        num_leaves=5,
        min_child_samples=15,
        colsample_bytree=0.7,
        subsample=0.8,
        subsample_freq=1,
        reg_lambda=5.0,
        random_state=0,
        n_jobs=1,
        verbose=-1,
    )
    members = [("linear", LogisticRegression(C=0.3, max_iter=2000)), ("boosting", boosting)]
    mean = VotingClassifier(members, voting="soft")
    steps = [("features", FunctionTransformer(features)), ("encode", encode), ("model", mean)]
    # One fit on all rows, calibrated on held-out ones: as the system does it, and a fifth of the work of five fits.
    return Pipeline([("calibrated", CalibratedClassifierCV(Pipeline(steps), method="sigmoid", ensemble=False))])


def fit(path: str) -> Pipeline:
    """Fit on a CSV file of passengers."""
    rows = pd.read_csv(path)
    rows = rows[rows["Survived"].notna()]
    made: Pipeline = pipeline().fit(rows.drop(columns="Survived"), rows["Survived"].astype(int))
    return made


def main() -> None:
    """Fit and save."""
    from passengers_model import fit  # so that what is pickled names this module, not __main__

    data, folder = sys.argv[1:3]
    model = fit(data)
    if "mlflow" in sys.argv:
        import mlflow

        # `predict` of the served model gives probabilities. Without a signature, which would cost it time: it does not
        # look at the rows before it predicts.
        mlflow.sklearn.save_model(
            model,
            folder,
            pyfunc_predict_fn="predict_proba",
            serialization_format="cloudpickle",
            code_paths=[str(Path(__file__))],
        )
    else:
        joblib.dump(model, folder)


if __name__ == "__main__":
    main()
