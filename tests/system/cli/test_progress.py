"""What a terminal shows while a model is trained."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

from tests.commands import AS_OF, ENERGY, SMALL

from headrace.models.booster import fit_booster
from headrace.watching import watching


def test_trees_are_told_to_whoever_watches() -> None:
    import numpy as np

    matrix, target = np.arange(200.0).reshape(100, 2), np.arange(100.0)
    fit = {"rounds": 7, "params": {"min_data_in_leaf": 5}, "feature_names": ["a", "b"]}
    alone, told = fit_booster(matrix, target, **fit), list[int]()
    with watching(told.append):
        watched = [fit_booster(matrix, target, **fit) for _ in range(2)]
    assert told == list(range(1, 15))
    assert watched == [alone, alone]
    fit_booster(matrix, target, **fit)
    assert len(told) == 14


def test_a_training_shows_its_trees(home: Path) -> None:
    command = [sys.executable, "-m", "headrace", "train", ENERGY, "--home", str(home), *SMALL, "--json"]
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*command, "--as-of", AS_OF.isoformat()], stderr=theirs, stdout=subprocess.DEVNULL
    ) as process:
        os.close(theirs)
        seen = b""
        while True:
            try:
                part = os.read(ours, 65_536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            seen += part
    os.close(ours)
    assert process.returncode == 0
    assert b" trees" in seen
