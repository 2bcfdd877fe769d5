"""Hyperopt's TPE over a pipe: it proposes values as a line of JSON, and reads their loss.

python hyperopt_tpe.py SPACE TRIALS SEED, in an environment made from ``hyperopt.lock``. SPACE is JSON: paths to
``{low, high, log}``.
"""

from __future__ import annotations

import json
import logging
import math
import sys

import numpy as np
from hyperopt import fmin, hp, tpe

SPACE, TRIALS, SEED = json.loads(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
logging.disable(logging.CRITICAL)


def whole(bounds: dict) -> bool:
    """Whether only whole numbers are tried."""
    return isinstance(bounds["low"], int) and isinstance(bounds["high"], int)


def node(path: str, bounds: dict) -> object:
    """What Hyperopt has for a range."""
    low, high = bounds["low"], bounds["high"]
    if bounds.get("log"):
        make = hp.qloguniform if whole(bounds) else hp.loguniform
        ends = math.log(low), math.log(high)
    else:
        make = hp.quniform if whole(bounds) else hp.uniform
        ends = low, high
    return make(path, *ends, 1) if whole(bounds) else make(path, *ends)


def loss(values: dict) -> float:
    """Ask for the loss of values."""
    chosen = {
        path: int(min(max(v, SPACE[path]["low"]), SPACE[path]["high"])) if whole(SPACE[path]) else float(v)
        for path, v in values.items()
    }
    print(json.dumps(chosen), flush=True)
    return float(sys.stdin.readline())


fmin(
    loss,
    {path: node(path, bounds) for path, bounds in SPACE.items()},
    algo=tpe.suggest,
    max_evals=TRIALS,
    rstate=np.random.default_rng(SEED),
    show_progressbar=False,
    verbose=False,
)
