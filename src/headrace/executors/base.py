"""What an executor must do, and what processes are handed: where the system is found, and the settings. No more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from headrace.settings import Settings
from headrace.system import System

if TYPE_CHECKING:
    from headrace.feature_system import FeatureSystem
    from headrace.home import Home
    from headrace.ledger import Known

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Handover:
    """What a process is handed, whatever it is to do; it can be pickled.

    A system that was loaded from a folder or an entry point goes as the reference that it was loaded by, with the
    settings over it and its digest: the process loads it anew, with its user's own functions and classes, and refuses
    one that was edited meanwhile. One that a program made goes as it is. Of the home go the settings alone.

    Attributes:
        systems: The declarations.
        settings: Of the home, and of where everything else is.
    """

    systems: tuple[System | FeatureSystem, ...]
    settings: Settings

    @classmethod
    def of(cls, settings: Settings, *systems: System | FeatureSystem) -> Self:
        """A hand-over of these systems."""
        return cls(systems, settings)

    @property
    def system(self) -> System:
        """The only system.

        Raises:
            ValueError: There are several, or it is one of features.
        """
        (system,) = self.systems
        if not isinstance(system, System):
            raise ValueError(f"{system.name} is a system of features")
        return system

    def home(self, *, make: bool = True, known: Known | None = None) -> Home:
        """The home, opened anew.

        Args:
            make: Make it where it is missing.
            known: The ledger that it must be.
        """
        from headrace.home import Home

        return Home(self.settings, make=make, known=known)


Entry = Callable[[Any, int, threading.Event], Any]
"""What a long-lived process runs: a function of a module, given what it was handed, its number, and what is set when it
is to end. What it returns can be pickled."""


class Pool(Protocol):
    """Processes that do tasks side by side. A context manager: leaving it ends them."""

    def __enter__(self) -> Self:
        """Called once, before the first `map`. Processes may be started then or later."""

    def __exit__(self, *_: object) -> None:
        """Called once. No process of the pool may be left over, nor start another task."""

    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
        """Results as they come, in any order; may be called several times, one after the other.

        Called with a function of a module and tasks that can be pickled. It must guarantee that every task is done
        once, unless an error is raised, and that tasks are drawn as they are needed: drawing one may take its time,
        and may depend on results that were given before. An exception of a task is raised as it is.

        Raises:
            HeadraceError: A task failed, or a process was killed; results of other tasks may be lost. Tasks may be
                repeated by whoever called.
            UsageError: What is to be sent cannot be pickled.
        """
        ...


class Running(Protocol):
    """One long-lived process."""

    @property
    def alive(self) -> bool:
        """Whether it still runs. Asked several times a second."""

    @property
    def code(self) -> int | None:
        """How it ended: 0, the status that it left, or minus the signal that killed it; None while it runs."""

    def result(self) -> Any | None:
        """What its entry returned; None where it ended without, or runs. Asked once, after its end."""

    def stop(self) -> None:
        """Ask it to end: sets the event that its entry was given. Returns at once."""

    def kill(self) -> None:
        """End it now, whatever it does."""

    def wait(self, seconds: float) -> None:
        """Return when it has ended, or after so many seconds."""


class Executor(Protocol):
    """Has work done in other processes. Chosen by its name; made without arguments.

    The processes are started afresh: they share no memory with the one that starts them, and find everything through
    what they are handed. They must end when the one that started them is gone, however it went.
    """

    def pool(self, count: int) -> Pool:
        """Processes for tasks that end: the runs of a backfill. Called once per command; nothing is started yet.

        Args:
            count: How many tasks are done side by side; with 1 they may be done in this process.

        Raises:
            UsageError: There can be no so many.
        """
        ...

    def start(self, entry: Entry, handed: Any, number: int) -> Running:
        """Start a process that runs until it is told to end: a worker of a stream. Who called starts it again, with
        the same number, where it ended by itself.

        Args:
            entry: What it runs.
            handed: What the entry gets; it can be pickled.
            number: Which of several like it.
        """
        ...
