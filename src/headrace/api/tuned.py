"""`TunedSystem`: a system in a home with what searches found for it: tune it, list and withdraw configurations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from headrace.api.checks import CheckedSystem
from headrace.api.times import refuse_future, time_of

if TYPE_CHECKING:
    import polars as pl

    from headrace.api.opened import OpenHome
    from headrace.flow.result import Result
    from headrace.flow.tune import SearchResult
    from headrace.pipelines.configured import Reference
    from headrace.registry.configurations import Configuration
    from headrace.system import System


@dataclass(frozen=True, repr=False)
class Search:
    """What a search found. Everything about it stands in `result`."""

    result: SearchResult

    def __repr__(self) -> str:
        best = None if self.result.best is None else self.result.best.loss
        return (
            f"Search({self.result.system!r}, trials={self.trials}, best={best}, config_version={self.config_version})"
        )

    def _repr_html_(self) -> str:
        from headrace.api.html import table

        return table(f"{self.result.system}: trials", self.frame().to_dicts())

    @property
    def trials(self) -> int:
        """Trials that were completed."""
        return self.result.count("complete")

    @property
    def best(self) -> dict[str, Any]:
        """The best trial's ``value`` and ``params``."""
        return dict(self.as_dict()["best"])

    @property
    def config_version(self) -> int | None:
        """The configuration that was stored; None where the present one is the best."""
        return None if self.result.configuration is None else self.result.configuration.version

    @property
    def used(self) -> bool:
        """Whether trainings use it from now on."""
        return bool(self.as_dict()["used"])

    def frame(self) -> pl.DataFrame:
        """A row for each trial: ``number state loss seconds`` and the values that it tried."""
        import polars as pl

        paths = dict.fromkeys(path for trial in self.result.trials for path in trial.values)
        rows = [
            {"number": t.number, "state": t.state, "loss": t.loss, "seconds": t.seconds}
            | {path: t.values.get(path) for path in paths}
            for t in self.result.trials
        ]
        return pl.DataFrame(rows, infer_schema_length=None, strict=False)

    def as_dict(self) -> dict[str, Any]:
        """What ``headrace tune --json`` says."""
        return self.result.as_dict()


class TunedSystem(CheckedSystem):
    """A system in a home.

    Attributes:
        declaration: The `System` as it was declared, with its settings.
        workspace: The home.
    """

    def __init__(self, declaration: System, workspace: OpenHome, reference: Reference | None = None) -> None:
        from headrace.pipelines.configured import Reference

        super().__init__(declaration, workspace)
        self._reference = reference or Reference(declaration)

    def configured(self, as_of: datetime | str | None = None) -> System:
        """The declaration with the configuration that is in use for it, as trainings take it.

        Args:
            as_of: As it was then. Default: now.

        >>> s.configured() is s.declaration  # nothing was tuned
        True
        """
        from headrace.pipelines.configured import configured

        moment = None if as_of is None else time_of(as_of, self.workspace.now(), "as_of")
        return configured(self._reference, self.declaration, self.workspace.reading, moment)

    def _with_unused(self, result: Result) -> Result:
        """A run that says, where it trained, that what was tuned is not used, being of another declaration."""
        from headrace.pipelines.configured import unused

        if result.trained is not None:
            text = unused(self._reference, self.declaration, self.workspace.reading)
            result.warnings += [] if text is None else [text]
        return result

    def tune(
        self,
        as_of: datetime | str | None = None,
        *,
        trials: int | None = None,
        timeout: timedelta | float | str | None = None,
        workers: int | None = None,
        executor: str | None = None,
        simulated: bool = False,
    ) -> Search:
        """Search for better settings within ``tuning.space``, and store the best ones as a configuration.

        The configuration is used by trainings from then on if it beats the present one on data that no trial saw.
        Killed and repeated, it goes on with the trials that are complete.

        Args:
            as_of: See exactly what was known then. Default: now.
            trials: So many completed ones, those of earlier calls included. Default: as declared.
            timeout: No trial begins after this time, in seconds or as ``10m``. Default: as declared.
            workers: Processes. Default: as declared, or one a core; 1 for a system that has no folder.
            executor: Where they run, by its name. None: as ``HEADRACE_EXECUTOR`` says, or ``local``.
            simulated: Allow a time after the clock.

        Raises:
            UsageError: There is nothing to search.
            ConfigError: A value of the space does not fit.
            NotEnoughDataError: There is too little to search and to compare on.
            TuningError: Trials fail one after the other.

        >>> s.tune()
        Traceback (most recent call last):
        headrace.errors.UsageError: tuning.space: there is nothing to search
        ...
        """
        from headrace.config import override
        from headrace.flow.space import refuse_set
        from headrace.flow.tune import TuneRequest, tune
        from headrace.housekeeping.changes import refuse_unfinished
        from headrace.pipelines.configured import configured

        refuse_unfinished(self.workspace.reading, self.name)
        now = self.workspace.now()
        moment = refuse_future(time_of(as_of, now, "as_of"), now, "as_of", simulated=simulated)
        changes = {"trials": trials, "timeout": timeout, "workers": workers}
        changes = {name: value for name, value in changes.items() if value is not None}
        declared, home = self.declaration, self.workspace.home
        refuse_set(declared.tuning, self._reference.settings)
        present = configured(self._reference, declared, home, moment)
        tuning = override(declared.tuning, changes, "tuning")
        count = tuning.workers or (home.workers if declared.is_loaded else 1)
        with self._progress() as on_progress:
            request = TuneRequest(moment, now, tuning, count, executor, on_progress)
            return Search(tune(declared, present, home, request))

    @property
    def configurations(self) -> Sequence[Configuration]:
        """What searches found, by version.

        >>> list(s.configurations)
        []
        """
        return self.workspace.reading.configurations(self.name).all()

    def configuration_in_use(self, as_of: datetime | str | None = None) -> Configuration | None:
        """The one that trainings use; None: they use the declaration's own values.

        >>> s.configuration_in_use() is None
        True
        """
        from headrace.pipelines.configured import in_use

        moment = None if as_of is None else time_of(as_of, self.workspace.now(), "as_of")
        return in_use(self._reference, self.declaration, self.workspace.reading, moment)

    def withdraw(self, config_version: int) -> Configuration:
        """Take a configuration back: trainings use the one before it again, or the declaration's own values.

        Raises:
            NotFoundError: There is no such configuration.
            UsageError: It is not in use.

        >>> s.withdraw(1)
        Traceback (most recent call last):
        headrace.errors.NotFoundError: energy: there is no configuration 1
        ...
        """
        return self.workspace.home.configurations(self.name).withdraw(config_version, self.workspace.now())
