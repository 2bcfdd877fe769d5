"""`CheckedSystem`: what a system in a home is: its plan, and what is checked, copied and made again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.api.results import RunPlan
from headrace.api.times import time_of

if TYPE_CHECKING:
    from headrace.api.opened import OpenHome
    from headrace.system import System
    from headrace.tasks.rows.skew import Skew

Progress = Callable[[str, int, int], None]


class CheckedSystem:
    """A system in a home.

    Attributes:
        declaration: The `System` as it was declared, with its settings.
        workspace: The home.
    """

    def __init__(self, declaration: System, workspace: OpenHome) -> None:
        self.declaration, self.workspace = declaration, workspace

    @property
    def name(self) -> str:
        """The system's name.

        >>> s.name
        'energy'
        """
        return self.declaration.name

    def plan(self) -> RunPlan:
        """The steps of a run, in order, with the tables that each reads and writes. Looks at the declaration alone.

        >>> [step["name"] for step in s.plan().steps]
        ['ingest', 'validate', 'features', 'train', 'predict', 'monitor']
        """
        from headrace.flow.steps import plan

        return RunPlan(**plan(self.declaration))

    def skew(self, *, since: datetime | str | None = None) -> Skew:
        """Compare the features that predictions were logged with to those that a training computes.

        Args:
            since: No prediction is earlier.

        Returns:
            How many predictions differ, in all and by feature.

        Raises:
            UsageError: The system logs no features (``log_features=True``).
            NotFoundError: No prediction was logged with its features.

        >>> s.skew()
        Traceback (most recent call last):
        headrace.errors.UsageError: energy: only features of rows are logged
        """
        from headrace.tasks import task_of
        from headrace.tasks.rows.skew import skew

        start = time_of(since, self.workspace.now(), "since") if since else None
        with self._progress() as on_progress:
            if task_of(self.declaration).logs_features:
                self._exported(on_progress)
            return skew(self.declaration, self.workspace.reading, start=start, on_progress=on_progress)

    def export(self) -> dict[str, Any]:
        """Copy what HTTP requests logged to the tables, each entry once; how many there were.

        Answers come as predictions and posted events as facts. `differing` counts answers to events that were not
        the same when computed again.

        >>> s.export()["predictions"]  # nothing was posted
        0
        """
        from headrace.tasks import task_of

        with self._progress() as on_progress:
            return {"system": self.name, **task_of(self.declaration).export(self.workspace.home, on_progress)}

    def remake(self, *, deep: bool = False) -> dict[str, Any]:
        """Make predictions, scores and features again whose files are lost; says what `OpenHome.verify` does then.

        They are computed from the records of the runs that made them, so ids and values are the same.

        Args:
            deep: Read every file afterwards, and compare its digest.

        Raises:
            HeadraceError: The facts or a model that a run pinned cannot be read.

        >>> s.remake()["ok"]
        True
        """
        from headrace.flow.remake import remake

        remake(self.declaration, self.workspace.reading)
        return self.workspace.verify(self.name, deep=deep)

    @contextmanager
    def _progress(self) -> Iterator[Progress]:
        from headrace.console.progress import progress

        with progress(self.name, quiet=self.workspace.quiet) as tell:
            yield tell

    def _exported(self, on_progress: Progress) -> None:
        """What was only logged so far is copied to the tables, where there is a log."""
        from headrace.tasks import task_of

        if self.workspace.reading.has_ledger:
            task_of(self.declaration).export(self.workspace.reading, on_progress)
