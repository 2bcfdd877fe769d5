"""A peer on the folds of the prices benchmark, as its documentation has people use it, one process a peer.

    python prices_model.py --rows ROWS.parquet --folds FOLDS.npz --out VALUES.npz --kind KIND

`catboost` reads categories and texts, `catboost_plain` categories only; `skrub` is `tabular_pipeline` of a boosting
model, `skrub_ridge` `TableVectorizer` with `StringEncoder` before a ridge; `autogluon` is `medium_quality`, and its
folder goes after every fold. All learn `log(1 + price)`. It runs in an environment of its own: `python -m venv E`,
`E/bin/pip install --require-hashes -r benchmarks/peers/prices.lock`, and then `python benchmarks/prices.py --peers
E/bin/python`. The lock is made by `uv pip compile --generate-hashes` of `autogluon.tabular[lightgbm,catboost,xgboost]`,
`catboost` and `skrub`.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

TEXTS = ["name", "item_description"]
CATEGORIES = ["category_name", "brand_name", "top", "middle", "item_condition_id", "shipping"]
Fitted = Callable[[pd.DataFrame], np.ndarray]


def catboost(rows: pd.DataFrame, target: np.ndarray, texts: bool) -> Fitted:
    """CatBoost with its own handling of categories, and of texts."""
    from catboost import CatBoostRegressor, Pool

    columns = [*CATEGORIES, *(TEXTS if texts else [])]

    def pool(frame: pd.DataFrame, label: np.ndarray | None = None) -> Pool:
        filled = frame[columns].astype(str)
        return Pool(filled, label, cat_features=CATEGORIES, text_features=TEXTS if texts else None)

    model = CatBoostRegressor(iterations=300, thread_count=1, random_seed=0, verbose=False, allow_writing_files=False)
    model.fit(pool(rows, target))
    return lambda frame: np.asarray(model.predict(pool(frame)))


def skrub(rows: pd.DataFrame, target: np.ndarray, ridge: bool) -> Fitted:
    """skrub's tabular pipeline, or its vectorizer with truncated TF-IDF of strings and a ridge."""
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from skrub import StringEncoder, TableVectorizer, tabular_pipeline

    columns = [*CATEGORIES, *TEXTS]
    if ridge:
        vectorizer = TableVectorizer(high_cardinality=StringEncoder(n_components=100))
        model: Any = make_pipeline(vectorizer, RidgeCV(alphas=np.logspace(-2, 3, 11)))
    else:
        model = tabular_pipeline("regressor")
    model.fit(rows[columns], target)
    return lambda frame: np.asarray(model.predict(frame[columns]))


def autogluon(rows: pd.DataFrame, target: np.ndarray) -> Fitted:
    """AutoGluon's tabular predictor."""
    from autogluon.tabular import TabularPredictor

    columns, folder = [*CATEGORIES, *TEXTS], tempfile.mkdtemp()
    predictor = TabularPredictor("target", problem_type="regression", path=folder, verbosity=0)
    predictor.fit(rows[columns].assign(target=target), presets="medium_quality", time_limit=900, num_cpus=1, num_gpus=0)

    def predict(frame: pd.DataFrame) -> np.ndarray:
        value = predictor.predict(frame[columns]).to_numpy()
        shutil.rmtree(folder)
        return value

    return predict


KINDS: dict[str, Callable[[pd.DataFrame, np.ndarray], Fitted]] = {
    "catboost": lambda rows, target: catboost(rows, target, texts=True),
    "catboost_plain": lambda rows, target: catboost(rows, target, texts=False),
    "skrub": lambda rows, target: skrub(rows, target, ridge=False),
    "skrub_ridge": lambda rows, target: skrub(rows, target, ridge=True),
    "autogluon": autogluon,
}


def cpu() -> float:
    """CPU seconds of this process and of those that it started and that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def main() -> None:
    """Fit on every fold; predictions and CPU seconds go to one file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("rows", "folds", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--kind", required=True, choices=KINDS)
    options = parser.parse_args()
    rows = pd.read_parquet(options.rows)
    levels = rows["category_name"].str.split("/", n=2, expand=True)
    rows = rows.assign(top=levels[0], middle=levels[0] + "/" + levels[1])
    rows[TEXTS] = rows[TEXTS].fillna("")
    target = np.log1p(rows["price"].to_numpy())
    folds = np.load(options.folds)["folds"]
    value, seconds = np.full(folds.shape, np.nan), []
    for repeat, places in enumerate(folds):
        for fold in np.unique(places):
            began, held = cpu(), places == fold
            learnt = ~held & (target > 0)  # nothing is sold for 0: nobody learns from that
            fitted = KINDS[options.kind](rows[learnt], target[learnt])
            fit = cpu() - began
            value[repeat, held] = np.expm1(fitted(rows[held]))
            seconds.append((fit, cpu() - began - fit))
            print(json.dumps({"repeat": repeat, "fold": int(fold), "fit": fit}), flush=True)
    np.savez(options.out, value=value, seconds=np.array(seconds))


if __name__ == "__main__":
    main()
