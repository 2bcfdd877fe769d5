"""The framework's own columns, and how a user's column that has the name of one is kept apart from it.

In tables, frames, answers and exports such a column is called ``key.NAME``; files, requests and events call it NAME, as
its declaration does. There is no name that a user's column cannot have.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

PREFIX = "key."
FACTS = frozenset(("known_at", "_version"))
"""Own columns of every table."""
_PINS = ("model_version", "model_digest", "feature_version", "data_version", "config_digest", "code_revision")
_PREDICTIONS = (*FACTS, *_PINS, "id", "key", "as_of", "created_at", "run_id", "time", "actual", "n", "expected", "bin")
SERIES = frozenset(
    (
        *_PREDICTIONS,
        *("origin", "ahead", "value", "lower", "upper", "scale", "revision", "served", "model_share"),
        *("key", "door", "inputs"),
        *("reader", "scope", "made", "turn", "moment", "stamp", "last", "reason", "hours", "event_id"),
        *(
            "absolute",
            "relative_n",
            "relative",
            "squared",
            "error",
            "scaled_n",
            "scaled",
            "scaled_squared",
            "predictions_version",
            "interval_n",
            "covered",
        ),
        *("mape", "wape", "rmse", "mase", "bias", "coverage", "next", "anomaly", "degree", "pins", "prediction_id"),
    )
)
"""Own columns beside the keys and the event time of series: of predictions, scores, answers and the steps between."""
ROWS = frozenset(
    (
        *_PREDICTIONS,
        *("probability", "inputs", "row_digest", "door", "logged", "learnt", "stamp", "right", "tenth", "parameter"),
        *("log_loss", "brier", "accuracy", "stored", "probabilities", "predicted", "true", "lower", "upper", "label"),
        *("truth", "class", "hit", "absolute", "squared", "error", "size", "covered", "width", "predictions"),
        *("members", "notes"),
    )
)
"""Own columns beside the keys and the target of rows."""
_MADE = re.compile(r"(baseline|naive)_.*|.*_(stands|again|right)|_.*")
_OWN = FACTS | SERIES | ROWS


def called(name: str) -> str:
    """What files, requests and events call a column."""
    inner = name.removeprefix(PREFIX)
    return inner if inner in _OWN or _MADE.fullmatch(inner) else name


def apart(names: Iterable[str], own: frozenset[str]) -> dict[str, str]:
    """Those of the names that are the framework's own, with the names that they are kept under."""
    return {n: PREFIX + n for n in names if n in own or (own is not FACTS and _MADE.fullmatch(n))}


def inside(names: Mapping[str, str], keys: Iterable[str]) -> dict[str, str]:
    """Conditions by name, where a user's key comes before a column of the framework's."""
    present = set(keys)
    return {PREFIX + name if PREFIX + name in present else name: text for name, text in names.items()}
