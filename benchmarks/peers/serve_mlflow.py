"""MLflow's scoring server with a Python function model."""

from __future__ import annotations

import os
import sys
from typing import Any

import mlflow
import pandas as pd
from passengers_model import features, fit


class Passengers(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """Features and model in one."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> Any:
        """Probabilities of rows."""
        return self.model.predict_proba(features(model_input))[:, 1]


if __name__ == "__main__":
    port, path, folder = sys.argv[1:4]
    code = [os.path.join(os.path.dirname(__file__), "passengers_model.py")]  # noqa: PTH118, PTH120
    mlflow.pyfunc.save_model(folder, python_model=Passengers(fit(path)), code_paths=code)
    served = ["mlflow", "models", "serve", "-m", folder, "-p", port, "--env-manager", "local", "--workers", "1"]
    os.execv(os.path.join(os.path.dirname(sys.executable), "mlflow"), served)  # noqa: PTH118, PTH120
