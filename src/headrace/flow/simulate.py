"""Simulate: a policy over the past, in a home that is thrown away: runs, trainings, alerts and what came of them.

The real home is only read. Its facts are linked or copied as they are, with the time at which each became known; where
it has none, the source is read once. Then every policy is a backfill of its own, from no model on. Work that all
policies share is done once: the facts, and the first run with its training.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from headrace.errors import NotEnoughDataError, StoreError, UsageError
from headrace.flow.backfill import Backfilled, BackfillRequest, backfill
from headrace.flow.simulated import Simulated, outcome
from headrace.grid.date_range import DateRange
from headrace.home import EVENTS, QUARANTINE, RAW, WARNINGS, Home
from headrace.loop.alerts import FIRST_NAME
from headrace.pipelines import ingest
from headrace.pipelines.configured import Reference
from headrace.scratch import scratch
from headrace.settings import Settings
from headrace.shaping import differing
from headrace.store.verify import refuse_altered
from headrace.system import System
from headrace.tasks import shape, task_of

_FACTS = (RAW, EVENTS, QUARANTINE, WARNINGS)
_NOTES = ("shape.json", "grid.json", FIRST_NAME)
_READ = ("source.", "contract.")
"""Parts of a declaration by which facts are made from what a source says."""


@dataclass(frozen=True)
class Policy:
    """What is tried: a system, with what a policy says over its declaration.

    Attributes:
        name: What it is called in tables.
        system: The declaration, with the configuration that was in use when the first run was due.
        reference: How it is loaded again with what alarms find; None: as it is.
    """

    name: str
    system: System
    reference: Reference | None = None


@dataclass(frozen=True)
class SimulateRequest:
    """What to simulate.

    Attributes:
        range: The runs.
        now: The clock's time; it is only written down, and tells impossible event times.
        policies: What is tried, one after the other; their names differ.
        source: A source URI; None: what the home has, else the system's own source.
        workers: Processes of each backfill.
        keep: An empty or missing folder for the homes, each below it by its policy's name; None: they are thrown away.
        on_progress: Told what is being done, how many runs of it are done, and of how many.
    """

    range: DateRange
    now: datetime
    policies: Sequence[Policy]
    source: str | None = None
    workers: int = 1
    keep: Path | None = None
    on_progress: Callable[[str, int, int], None] = lambda stage, count, total: None


def simulate(home: Home, request: SimulateRequest) -> list[Simulated]:
    """Try policies over the past; the first one's declaration says how facts are read.

    Killed at any moment, what it leaves is taken away by the next one.

    Raises:
        UsageError: The system makes no runs of the past, policies read facts differently, or `keep` is not empty.
        NotEnoughDataError: Nothing was known in the whole range.
        HeadraceError: The source, the contract, the store or a training failed.
    """
    return _SimulationRun(home, request).execute()


def refuse_policies(policies: Sequence[Policy]) -> None:
    """Refuse what cannot be simulated side by side.

    Raises:
        UsageError: The system makes no runs of the past, or policies read facts differently than the first one.
    """
    first, *more = policies
    task = task_of(first.system)
    if task.past is None:
        message = f"{first.system.name} {task.action}, it has no runs of the past to make"
        raise UsageError(message, where="simulate", hint="headrace evaluate scores rows that it has not seen")
    for policy in more:
        changed = differing(first.system.made_from, {"made_from": policy.system.made_from})
        parts = [part for part in changed if part.startswith(_READ)]
        if parts:
            message = f"the policy {policy.name} reads facts in another way ({', '.join(parts)})"
            raise UsageError(message, where="compare", hint="try it with --set in a simulation of its own")


class _SimulationRun:
    def __init__(self, home: Home, request: SimulateRequest) -> None:
        self._home, self._request = home, request
        self._times = request.range.times()
        self._shared: dict[tuple[Any, ...], tuple[Path, float]] = {}
        self._policy = ""

    def execute(self) -> list[Simulated]:
        first, *more = self._request.policies
        refuse_policies(self._request.policies)
        keep = self._request.keep
        _refuse_filled(keep)
        with _place() as root:
            began = _cpu_seconds()
            facts = self._opened(root / "facts")
            self._fill(first.system, facts)
            configurations = self._home.configurations(first.system.name)
            facts.configurations(first.system.name).take(configurations, self._times[0])
            spent = _cpu_seconds() - began
            results = []
            for number, policy in enumerate(self._request.policies):
                self._policy = policy.name if more else ""
                folder = root / f"policy-{number}" if keep is None else keep / _folder(policy.name, bool(more))
                results.append(self._tried(policy, folder, root, facts.path, spent))
                if keep is None:
                    shutil.rmtree(folder)
        return results

    def _tried(self, policy: Policy, folder: Path, root: Path, facts: Path, spent: float) -> Simulated:
        stage, shared = self._stage(policy, root, facts)
        began, started = _cpu_seconds(), time.monotonic()
        copied(stage, folder)
        home = self._opened(folder)
        done = self._backfilled(policy.system, home, self._request.range, reference=policy.reference)
        if not done.runs:
            raise _nothing(policy.system, home, done)
        result = outcome(policy.system, home, self._request.range, done.actions)
        cpu = _cpu_seconds() - began + spent + shared
        place = folder if self._request.keep is not None else None
        seconds = time.monotonic() - started
        return Simulated(policy.name, policy.system.name, self._request.range, done, result, cpu, seconds, place)

    def _stage(self, policy: Policy, root: Path, facts: Path) -> tuple[Path, float]:
        """A home with the facts, and the first run where several policies make the same one; and what it cost."""
        key = _first(policy.system)
        if sum(_first(other.system) == key for other in self._request.policies) == 1:
            return facts, 0.0
        if key not in self._shared:
            began, folder = _cpu_seconds(), root / f"first-{len(self._shared)}"
            copied(facts, folder)
            start = self._times[0]
            only = DateRange(start, start, timedelta(days=1))
            self._backfilled(_unwatched(policy.system), self._opened(folder), only, workers=1)
            self._shared[key] = folder, _cpu_seconds() - began
        return self._shared[key]

    def _backfilled(
        self,
        system: System,
        home: Home,
        dates: DateRange,
        *,
        workers: int | None = None,
        reference: Reference | None = None,
    ) -> Backfilled:
        r, prefix = self._request, f"{self._policy}: " if self._policy else ""
        request = BackfillRequest(
            dates,
            r.now,
            workers=workers or r.workers,
            executor="local" if workers else None,
            stored=True,
            reference=reference,
            on_progress=lambda stage, count, total: r.on_progress(f"{prefix}{stage}", count, total),
        )
        return backfill(system, home, request)

    def _opened(self, folder: Path) -> Home:
        """A home of its own, whatever the environment says; nobody outside is told of what happens in it."""
        settings = self._home.settings
        return Home(Settings(home=folder, threads=settings.threads, executor=settings.executor, rehearsal=True))

    def _fill(self, system: System, place: Home) -> None:
        """The facts: those that the home has, or what the source says."""
        self._request.on_progress("ingest", 0, len(self._times))
        if self._request.source is None and self._home.raw(system).exists():
            shape.check(system, self._home)
            refuse_altered(self._home.store, system.name)
            target = Path(place.store.uri, system.name)
            place.store.systems()
            self._home.store.folders.copy(system.name, _FACTS, _NOTES, target)
            return
        request, first, last = self._request, self._times[0], self._times[-1]
        records = ingest.read(system, place, source=request.source, as_of=last, now=request.now, first=first)
        ingest.validate(system, place, records, as_of=last, now=request.now)


def copied(source: Path, target: Path) -> None:
    """Copy a home that nobody writes to; files that never change are linked where the file system does that."""

    def place(one: str, other: str) -> None:
        if one.endswith(".parquet"):
            try:
                os.link(one, other)
            except OSError:  # another disk, or one that does not link
                shutil.copyfile(one, other)
        else:
            shutil.copyfile(one, other)

    shutil.copytree(source, target, copy_function=place, ignore=shutil.ignore_patterns("*.lock"), dirs_exist_ok=True)


def _first(system: System) -> tuple[Any, ...]:
    """What the first run depends on; policies that have the same make the same one."""
    schedule = system.schedule
    return system.config_digest, schedule.beat_baselines, system.monitoring.baselines


def _unwatched(system: System) -> System:
    """The same without what is made of errors, which is each policy's own."""
    monitoring = system.monitoring
    bare = {"rules": ()} if "rules" in type(monitoring).model_fields else {}
    return system.model_copy(
        update={
            "monitoring": monitoring.model_copy(update=bare),
            "schedule": system.schedule.model_copy(update={"retrain": ()}),
        }
    )


def _nothing(system: System, home: Home, done: Backfilled) -> NotEnoughDataError:
    """Why no run of the whole range could be made."""
    past = task_of(system).past
    known = None if past is None else past.extent(home, home.raw(system).version()).known_from
    reason = done.failed[0]["message"] if done.failed else "nothing is known"
    hint = "give a later --start" if known is None else f"what is known begins at {known:%Y-%m-%dT%H:%M:%SZ}"
    return NotEnoughDataError(f"no run of this range could be made: {reason}", where=system.name, hint=hint)


def _folder(name: str, several: bool) -> str:
    """The folder of a policy below the one that is kept."""
    return "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in name) if several else ""


def _cpu_seconds() -> float:
    """CPU seconds of this process, and of those that it waited for."""
    return sum(os.times()[:4])


@contextmanager
def _place() -> Iterator[Path]:
    """A folder that is thrown away, among the temporary ones: the real home need not be writable."""
    root = Path(tempfile.gettempdir(), f"headrace-{os.getuid()}")
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if root.lstat().st_uid != os.getuid():
            raise StoreError("the folder is not this user's", where=str(root), hint="set TMPDIR to a folder that is")
    except OSError as error:
        raise StoreError(f"cannot be made: {error.strerror}", where=str(root), hint="set TMPDIR") from error
    with scratch(root) as folder:
        yield folder


def _refuse_filled(folder: Path | None) -> None:
    """Homes are kept in an empty folder."""
    if folder is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError("is not an empty folder", where="keep", hint="name one that is not there yet")
