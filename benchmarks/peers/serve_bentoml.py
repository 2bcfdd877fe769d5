"""BentoML with adaptive batching."""

from __future__ import annotations

import os
from typing import Any

import bentoml
import pandas as pd
from passengers_model import features, fit


@bentoml.service(traffic={"timeout": 30}, metrics={"enabled": False})
class Passengers:
    """Rows in, probabilities out; rows of several requests are predicted together."""

    def __init__(self) -> None:
        self.model = fit(os.environ["PASSENGERS"])

    @bentoml.api(batchable=True, max_batch_size=256, max_latency_ms=1000)
    def predict(self, rows: list[dict[str, Any]]) -> list[float]:
        """Probabilities of rows."""
        found: list[float] = self.model.predict_proba(features(pd.DataFrame(rows)))[:, 1].tolist()
        return found
