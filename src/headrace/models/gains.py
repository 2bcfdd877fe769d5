"""How much the splits of a LightGBM model gain by each column, read from its text."""

from __future__ import annotations

import re

import numpy as np

from headrace.features.arrays import Array

_SPLITS = re.compile(rb"\nsplit_feature=([^\n]+)\nsplit_gain=([^\n]+)\n")


def gains_of(text: bytes, columns: int) -> Array:
    """The sum of the gains of all splits by column, as LightGBM's ``importance_type="gain"``: shape (columns,).

    Args:
        text: The model, which was checked when it was loaded.
        columns: How many it reads.
    """
    total = np.zeros(columns)
    for features, gains in _SPLITS.findall(text):
        places = np.array(features.split(), dtype=np.int64)
        total += np.bincount(places, weights=np.array(gains.split(), dtype=np.float64), minlength=columns)
    return total
