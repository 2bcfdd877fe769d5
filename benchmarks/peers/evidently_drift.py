"""Evidently's drift report of two Parquet files, and the drift of each column by each method.

python evidently_drift.py REFERENCE CURRENT. Prints JSON: ``seconds`` of the report, reading not counted, and by column
``method score drifted``. Of numbers Wasserstein and PSI, of categories Jensen-Shannon, each at Evidently's threshold.
"""

import json
import sys
import time

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.metrics import ValueDrift
from evidently.presets import DataDriftPreset


def main() -> None:
    """Report, then each method by itself."""
    frames = [pd.read_parquet(path) for path in sys.argv[1:3]]
    numbers = [name for name in frames[0] if name.startswith("n")]
    categories = [name for name in frames[0] if name.startswith("c")]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=categories)
    began = time.perf_counter()
    reference, current = (Dataset.from_pandas(frame, data_definition=definition) for frame in frames)
    Report([DataDriftPreset()]).run(current, reference).dict()
    seconds = time.perf_counter() - began
    metrics = [ValueDrift(column=name, method=how) for name in numbers for how in ("wasserstein", "psi")]
    metrics += [ValueDrift(column=name, method="jensenshannon") for name in categories]
    metrics += [ValueDrift(column=name, method="ks") for name in numbers]
    results = Report(metrics).run(current, reference).dict()["metrics"]
    scores = [
        {"column": each["config"]["column"], "method": each["config"]["method"], "score": float(each["value"])}
        for each in results
    ]
    print(json.dumps({"seconds": seconds, "scores": scores}))


if __name__ == "__main__":
    main()
