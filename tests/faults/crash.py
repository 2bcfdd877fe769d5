"""Registers in forked children, which saves each of them the import of mlflow. Run by test_faults.py.

    crash.py FOLDER SEED

In FOLDER/race four start at once; in FOLDER/killed five are killed at random moments, then one finishes.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from headrace.registry import Registry
from headrace.registry.tracking import _quiet_import
from headrace.store.store import Store

NOW = datetime(2023, 1, 1, tzinfo=UTC)


def register(home: Path, key: str) -> None:
    registry = Registry(Store(home / "store"), home)
    folder = home / f"trained-{key}"
    registry.register(
        "energy", folder, key=key, params={"a": 1}, metrics={"m": 1.0}, pins={}, as_of=NOW, created_at=NOW
    )


def start(home: Path, key: str) -> int:
    folder = home / f"trained-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.txt").write_text(key * 1000)
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        register(home, key)
        code = 0
    finally:
        os._exit(code)


def finished(child: int) -> bool:
    return os.waitpid(child, 0)[1] == 0


def kill(home: Path, seed: int) -> None:
    begun = time.perf_counter()
    assert finished(start(home / "clean", "k"))
    longest = time.perf_counter() - begun
    chance, killed = random.Random(seed), 0
    for _ in range(5):
        child = start(home, "k")
        time.sleep(chance.uniform(0, longest))
        os.kill(child, signal.SIGKILL)
        killed += not finished(child)
    assert finished(start(home, "k"))
    print(f"killed {killed} of 5 within {longest:.2f} s")


def race(home: Path) -> None:
    children = [start(home, f"k{number % 3}") for number in range(4)]
    assert [finished(child) for child in children] == [True] * 4


def main() -> None:
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    # Imported, not used: a fork then has no thread of theirs to miss.
    import deltalake  # noqa: F401
    import polars as pl  # noqa: F401

    _quiet_import()
    import mlflow.store.model_registry.sqlalchemy_store
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
    from sqlalchemy.orm import configure_mappers

    configure_mappers()
    race(folder / "race")
    kill(folder / "killed", seed)


if __name__ == "__main__":
    main()
