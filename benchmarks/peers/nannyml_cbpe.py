"""NannyML's confidence-based estimates of windows of predictions.

python nannyml_cbpe.py FOLDER. For each ``NAME.reference.parquet`` in it, of held-out predictions (``chance_0 ...``,
``predicted``, ``truth``), those of ``NAME.current.parquet``, window by window, each as long as ``NAME.json`` says.
Prints JSON: by name ``cpu`` and ``seconds`` of fitting and estimating, reading not counted, and by metric a value per
window.
"""

import json
import sys
import time
import warnings
from pathlib import Path

import nannyml
import pandas as pd

OF_TWO = ("accuracy", "roc_auc", "f1", "precision", "recall")
OF_MANY = ("accuracy", "f1")


def estimated(folder: Path, name: str) -> dict:
    """One scenario."""
    reference, current = (pd.read_parquet(folder / f"{name}.{part}.parquet") for part in ("reference", "current"))
    size = json.loads((folder / f"{name}.json").read_text())["size"]
    chances = [column for column in reference.columns if column.startswith("chance_")]
    two = len(chances) == 2
    metrics = OF_TWO if two else OF_MANY
    began, cpu = time.perf_counter(), time.process_time()
    estimator = nannyml.CBPE(
        metrics=list(metrics),
        y_pred_proba="chance_1" if two else dict(enumerate(chances)),
        y_pred="predicted",
        y_true="truth",
        problem_type="classification_binary" if two else "classification_multiclass",
        chunk_size=size,
    )
    estimator.fit(reference)
    result = estimator.estimate(current)
    spent = {"cpu": time.process_time() - cpu, "seconds": time.perf_counter() - began}
    frame = result.filter(period="analysis").to_df()
    return spent | {"metrics": {metric: frame[metric]["value"].tolist() for metric in metrics}}


def main() -> None:
    """Every scenario of the folder."""
    warnings.simplefilter("ignore")
    nannyml.disable_usage_logging()
    folder = Path(sys.argv[1])
    names = sorted(path.name.removesuffix(".json") for path in folder.glob("*.json"))
    print(json.dumps({name: estimated(folder, name) for name in names}))


if __name__ == "__main__":
    main()
