"""The benchmark's job as a peer's user writes it: 24 lags of a series as state, a LightGBM model of 100 trees on them.

Imports nothing of headrace: it runs in the peers' environments. `python stream_job.py FILE` fits the model.
"""

import sys

import lightgbm
import numpy as np

LAGS, TREES, LEAVES = 24, 100, 8


def fit(path: str) -> None:
    """Fit on walks like the benchmark's series and save LightGBM's own file."""
    rng = np.random.default_rng(0)
    walks = 10 + rng.normal(size=(200, LAGS + 101)).cumsum(axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(walks, LAGS + 1, axis=1).reshape(-1, LAGS + 1)
    data = lightgbm.Dataset(np.ascontiguousarray(windows[:, :LAGS]), windows[:, LAGS])
    settings = {"num_leaves": LEAVES, "learning_rate": 0.05, "verbosity": -1, "num_threads": 1}
    lightgbm.train(settings, data, num_boost_round=TREES).save_model(path)


class Job:
    """Predicts the next value of one series, or of several."""

    def __init__(self, path: str) -> None:
        self._model = lightgbm.Booster(model_file=path)

    def answers(self, events: list[dict], lags: list[list[float]]) -> list[dict]:
        """One answer per event; `lags` are the newest values of its series, the event's own last."""
        matrix = np.full((len(lags), LAGS), np.nan)
        for row, values in zip(matrix, lags, strict=True):
            row[LAGS - len(values) :] = values
        said = self._model.predict(matrix, num_threads=1)
        return [
            {"metric": event["metric"], "event_time": event["time"], "observed": event["value"], "value": value}
            for event, value in zip(events, said.tolist(), strict=True)
        ]


if __name__ == "__main__":
    fit(sys.argv[1])
