"""Runs on the day of an alarm, killed at each phase of the retuning that follows. Run by test_acting.py.

Each is a forked child: imports are done once.

    acting_worker.py FOLDER PHASE...

In FOLDER/clean one run is left alone, in FOLDER/together two are under way at once, and in FOLDER/PHASE one is killed
there and repeated. All begin with copies of the same home.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

WORLD = str(Path(__file__).parents[1] / "worlds" / "acting")
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SHIFT = "simulated:?at=13"
ALARM = BEGIN + 15 * DAY
PHASES = ("evaluated", "read", "begun", "trial", "configuration", "registered", "judged", "noted", "untold", "queued")
"""Before and after readings are kept, of which alerts follow; after it is kept that the action began; in the search;
after it; between a version and its promotion; before and after it is kept what became of the alarm; before and after
messages are kept, which then wait."""
LATER = ("begun", "trial", "registered")
"""After these the next run may be a later one, which finishes what was begun."""
NEXT = DAY / 4
ACTING = ("monitoring.on_alarm=retune", "monitoring.notify=[NOBODY_LISTENS]")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dying(phase: str) -> None:
    """Have this process die at a phase."""
    from headrace.loop import actions, notify, readings
    from headrace.registry import Registry
    from headrace.registry.configurations import Configurations
    from headrace.tuning.study import Study

    def after(owner: object, name: str, *, before: bool = False) -> None:
        original = getattr(owner, name)

        def wrapped(*arguments: object, **named: object) -> object:
            if before:
                die()
            result = original(*arguments, **named)
            die()
            return result

        setattr(owner, name, wrapped)

    if phase == "trial":  # while the third one runs
        run, calls = Study.run, []

        def counted(self: Study, loss: object) -> object:
            calls.append(1)
            return run(self, loss if len(calls) < 3 else lambda *_: die())

        Study.run = counted
    elif phase == "configuration":
        after(Configurations, "add")
    elif phase == "registered":
        after(Registry, "register")
    elif phase in ("begun", "judged", "noted"):
        write, calls = actions.write, []

        def counted_write(*arguments: object) -> object:
            calls.append(1)
            if phase == "judged" and len(calls) == 2:
                die()
            written = write(*arguments)
            if (phase, len(calls)) in (("begun", 1), ("noted", 2)):
                die()
            return written

        actions.write = counted_write
    elif phase in ("evaluated", "read"):
        after(readings, "write", before=phase == "evaluated")
    elif phase in ("untold", "queued"):
        after(notify, "enqueue", before=phase == "untold")


def child(work: object) -> int:
    number = os.fork()
    if number:
        return number
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def ended(number: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def prepare(home: Path) -> None:
    from headrace.flow.backfill import BackfillRequest, backfill
    from headrace.grid.date_range import DateRange
    from headrace.home import Home
    from headrace.pipelines.configured import Reference
    from headrace.settings import Settings

    reference = Reference(WORLD, ACTING)
    times = DateRange(BEGIN + 11 * DAY, ALARM - DAY / 2, DAY / 2)
    request = BackfillRequest(times, times.end, SHIFT, reference=reference)
    backfill(reference.load(), Home(Settings(home=home, threads=1)), request)


def once(home: Path, phase: str | None = None, as_of: datetime = ALARM) -> None:
    from headrace.flow.run import RunRequest, run
    from headrace.home import Home
    from headrace.pipelines.configured import Reference, configured
    from headrace.settings import Settings

    if phase is not None:
        dying(phase)
    reference, opened = Reference(WORLD, ACTING), Home(Settings(home=home, threads=1))
    present = configured(reference, reference.load(), opened, as_of)
    run(present, opened, RunRequest(as_of, as_of, SHIFT, reference=reference))


def waits_for_the_search(home: Path) -> None:
    """Until a run that is under way has said that it begins its action."""
    from headrace.home import Home
    from headrace.loop import actions
    from headrace.settings import Settings

    opened = Home(Settings(home=home, threads=1))
    while not actions.unfinished(opened, "acting", ALARM):
        time.sleep(0.05)


def main() -> None:
    folder, phases = Path(sys.argv[1]), sys.argv[2:]
    # Imported, not used: a fork then has no thread of theirs to miss.
    import deltalake  # noqa: F401
    import optuna  # noqa: F401
    import polars as pl  # noqa: F401

    from headrace.registry.tracking import _quiet_import

    _quiet_import()
    import mlflow.store.model_registry.sqlalchemy_store
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
    from sqlalchemy.orm import configure_mappers

    configure_mappers()
    assert ended(child(lambda: prepare(folder / "base"))) == 0
    for name in ("clean", "together", "overlapping", *phases):
        shutil.copytree(folder / "base", folder / name)
    assert ended(child(lambda: once(folder / "clean"))) == 0
    shutil.copytree(folder / "clean", folder / "clean-later")
    both = [child(lambda: once(folder / "together")) for _ in range(2)]
    assert [ended(number) for number in both] == [0, 0]
    assert ended(child(lambda: once(folder / "clean-later", as_of=ALARM + NEXT))) == 0
    overlapping = [child(lambda: once(folder / "overlapping"))]
    assert ended(child(lambda: waits_for_the_search(folder / "overlapping"))) == 0
    overlapping.append(child(lambda: once(folder / "overlapping", as_of=ALARM + NEXT)))
    assert [ended(number) for number in overlapping] == [0, 0]
    for phase in phases:
        assert ended(child(lambda: once(folder / phase, phase))) == -signal.SIGKILL, phase  # noqa: B023
        if phase in LATER:
            shutil.copytree(folder / phase, folder / f"{phase}-later")
            assert ended(child(lambda: once(folder / f"{phase}-later", as_of=ALARM + NEXT))) == 0, phase  # noqa: B023
        assert ended(child(lambda: once(folder / phase))) == 0, phase  # noqa: B023


if __name__ == "__main__":
    main()
