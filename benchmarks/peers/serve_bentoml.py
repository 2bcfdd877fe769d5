"""BentoML with adaptive batching, one process, and the pipeline of `passengers_model`.

It answers the probability of survival, gives no ids, checks that rows are objects, and logs nothing.
"""

from __future__ import annotations

import os
from typing import Any

import bentoml
import joblib
import pandas as pd


@bentoml.service(traffic={"timeout": 30}, metrics={"enabled": False})
class Passengers:
    """Rows in, probabilities out; rows of several requests are predicted together."""

    def __init__(self) -> None:
        self.model = joblib.load(os.environ["PASSENGERS"])

    @bentoml.api(batchable=True, max_batch_size=1000, max_latency_ms=1000)
    def predict(self, rows: list[dict[str, Any]]) -> list[float]:
        """Probabilities of rows."""
        found: list[float] = self.model.predict_proba(pd.DataFrame(rows))[:, 1].tolist()
        return found
