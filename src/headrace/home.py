"""Home: the store, the registry, the ledger and the folders of one installation, opened from its settings."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.errors import DeclarationError, LedgerUnavailableError, StoreError
from headrace.files import absolute, disk_trouble
from headrace.settings import Settings

if TYPE_CHECKING:
    import polars as pl

    from headrace.grid import Cadence, Grid
    from headrace.ledger import Ledger, LedgerIdentity
    from headrace.registry import Registry
    from headrace.registry.configurations import Configurations
    from headrace.store import Store, Table
    from headrace.store.history import SeriesLayout
    from headrace.store.online import Online
    from headrace.system import System
    from headrace.tuning import Tuning
    from headrace.tuning.study import Study

_GRID = "grid.json"
_GRID_HINT = "put it back from a backup, or delete it: it is made anew from the facts"
RAW, EVENTS, QUARANTINE, PREDICTIONS, METRICS, RUNS = "raw", "events", "quarantine", "predictions", "metrics", "runs"
TUNING = "tuning"
"""The folder of searches, in a folder for each system."""
SHADOWS = "shadows"
"""What versions said beside the one that answered: never among the predictions."""
COMPARISONS = "comparisons"
"""How these versions stood to the champion, at each monitoring."""
READINGS = "readings"
"""What rules of monitoring measured, at each evaluation time."""
ANOMALIES = "anomalies"
"""How unusual values were, beside what was forecast of them."""
DRIFT, DRIFT_COUNTS = "drift", "drift_counts"
"""How the distributions of columns lie beside those of the training; and what they are, by day."""
RELEASES = "releases"
"""What became of rows of the quarantine that were to be released."""
LEARNING_CURVES = "learning_curves"
"""How errors fall with what is learnt from, of the versions that somebody asked about."""
VALIDATIONS = "validations"
"""What the contract said of each ingest."""
WARNINGS = "warnings"
"""What the contract warned of in batches that were stored."""


class Home:
    """Everything that outlives a run. Nothing is opened before it is asked for.

    Args:
        settings: Where things are.
        make: Whether a store that is missing is made. Whoever only reads makes none, and finds nothing there.
        known: The ledger that is to be opened, and no other one; None: the one that is there, or a new one.
    """

    def __init__(self, settings: Settings, *, make: bool = True, known: LedgerIdentity | None = None) -> None:
        self.settings, self._make, self.known = settings, make, known
        self.path = absolute(settings.home)
        self._grids: dict[tuple[str, Cadence], Grid] = {}

    @cached_property
    def store(self) -> Store:
        """The tables of all systems."""
        from headrace.store import Store

        options = {name: value.get_secret_value() for name, value in self.settings.storage_options.items()}
        return Store(
            self.settings.store_uri or self.path / "store", options, online=lambda: self.online, make=self._make
        )

    @cached_property
    def online(self) -> Online:
        """The online side of the feature groups of all systems."""
        from headrace.store.online import Online

        uri = self.settings.online_uri
        place = uri.get_secret_value() if uri else f"sqlite:///{self.path / 'online.db'}"
        return Online(place, timeout=self.settings.online_timeout)

    @cached_property
    def registry(self) -> Registry:
        """The model versions of all systems."""
        from headrace.registry import Registry

        uri = self.settings.tracking_uri
        return Registry(self.store, self.path, uri.get_secret_value() if uri else None)

    def configurations(self, system: str) -> Configurations:
        """The configurations that searches found for a system."""
        from headrace.registry.configurations import Configurations

        return Configurations(self.store, system)

    def study(self, system: str, tuning: Tuning, name: str, folds: int) -> Study:
        """The trials of a search, in a journal below this folder or in the database of the settings.

        Args:
            system: The system's name.
            tuning: Says what is searched.
            name: Of all that makes the study.
            folds: How often a trial reports.
        """
        from headrace.tuning.study import Study

        uri = self.settings.tuning_uri
        folder = self.path / TUNING / system
        return Study(name, tuning, folder, uri.get_secret_value() if uri else None, folds)

    @cached_property
    def ledger(self) -> Ledger:
        """The logged predictions of all systems."""
        from headrace.ledger import Ledger

        uri = self.settings.ledger_uri
        if uri is None and not self._make and not self.path.exists():
            raise LedgerUnavailableError("the home is gone", where=str(self.path), hint="put it back")
        place = uri.get_secret_value() if uri else f"sqlite:///{self.path / 'ledger.db'}"
        opened = Ledger.open(place, timeout=self.settings.ledger_timeout, known=self.known)
        if uri is None and self.known is None:
            self._mark(opened)
        return opened

    def _mark(self, ledger: Ledger) -> None:
        """Keep which ledger this home began with: one that is gone, or begun anew, is noticed by that."""
        from headrace.ledger.checks import mark

        try:
            mark(self.path / "ledger.db", ledger.known.identity)
        except OSError as error:
            ledger.close()
            where = str(self.path)
            raise LedgerUnavailableError(f"its mark cannot be written: {error.strerror}", where=where) from error

    @property
    def has_ledger(self) -> bool:
        """Whether there is a ledger by now: opening one makes it."""
        return self.settings.ledger_uri is not None or (self.path / "ledger.db").exists()

    @property
    def has_online(self) -> bool:
        """Whether there is an online side by now: using one makes it."""
        return self.settings.online_uri is not None or (self.path / "online.db").exists()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold what a system is changed under as a whole: a version made, or all deleted or renamed.

        Raises:
            StoreError: The folder cannot be written.
        """
        from headrace.registry.lock import exclusive

        with ExitStack() as held:
            try:
                held.enter_context(exclusive(self.path / "changes.lock"))
            except OSError as error:
                said = disk_trouble(error) or error.strerror or "it cannot be locked"
                raise StoreError(said, where=str(self.path), hint="check the disk and the folder's rights") from error
            yield

    def table(self, system: str, name: str) -> Table:
        """One table of one system."""
        return self.store.table(system, name)

    def raw(self, system: System) -> Table:
        """What a system's source said: its facts, or the events that its facts are made from."""
        return self.table(system.name, EVENTS if system.contract.aggregates else RAW)

    def series(self, system: System) -> SeriesLayout:
        """How the table of a system that forecasts holds series.

        Raises:
            DeclarationError: It does not forecast.
            StoreError: The storage cannot be read.
        """
        return system.series(self.grid(system))

    def grid(self, system: System) -> Grid:
        """When the steps of a system begin: as at its first ingest; before it, as declared.

        Raises:
            DeclarationError: The system has no step, or declares another phase than its facts have.
            StoreError: The storage cannot be read.
        """
        if system.cadence is None:
            raise DeclarationError("this system has no steps", where="step", hint="declare time= and step=")
        return self.settled(system) or system.cadence.grid()

    def settled(self, system: System) -> Grid | None:
        """When the steps of a system begin, if anything says so by now; errors as of `grid`."""
        cadence = system.cadence
        if cadence is None:
            return None
        grid = self._grids.get((system.name, cadence)) or self._noted_grid(system.name)
        if grid is None and self.raw(system).exists():
            grid = self.settle(system, cadence.of(self._facts(system)))
        if grid is None or grid.step != cadence.step:
            return None
        _refuse_phase(system, cadence, grid)
        self._grids[system.name, cadence] = grid
        return grid

    def settle(self, system: System, grid: Grid) -> Grid:
        """Keep when the steps of a system begin, once and for all that come after.

        Raises:
            DeclarationError: Another ingest, at the same time, was the first and says otherwise.
            StoreError: The storage cannot be written.
        """
        text = json.dumps(grid.as_dict(), sort_keys=True).encode()
        stands = self.store.first(f"{system.name}/{_GRID}", text, _GRID_HINT)
        if stands != text:
            hint = "run it again: its rows are then checked against the steps that stand"
            raise DeclarationError("steps begin at other times in what was stored first", where="phase", hint=hint)
        return grid

    def _noted_grid(self, system: str) -> Grid | None:
        from headrace.grid import Grid
        from headrace.store.failures import intact

        noted = self.store.noted(f"{system}/{_GRID}", _GRID_HINT)
        if noted is None:
            return None
        with intact(f"{self.store.uri}/{system}/{_GRID}", _GRID_HINT):
            return Grid.from_dict(json.loads(noted))

    def _facts(self, system: System) -> pl.Series:
        table = self.raw(system)
        return table.collect(table.scan().select(system.event_time)).to_series()

    @property
    def kafka(self) -> dict[str, str]:
        """Settings of Kafka clients beside the address, such as how to log in."""
        return {name: value.get_secret_value() for name, value in self.settings.kafka.items()}

    @property
    def schema_registry(self) -> dict[str, str]:
        """Settings of the schema registry's client: where it is, and how to log in."""
        return {name: value.get_secret_value() for name, value in self.settings.schema_registry.items()}

    @property
    def workers(self) -> int:
        """Threads for fitting and predicting; no number depends on it."""
        return self.settings.threads or os.cpu_count() or 1

    def reports(self, system: str) -> Path:
        """The folder of a system's reports; made when missing."""
        folder = self.path / "reports" / system
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def _refuse_phase(system: System, cadence: Cadence, grid: Grid) -> None:
    if cadence.phase is not None and not grid.holds(cadence.phase):
        raise DeclarationError(
            f"no step of {system.name!r} begins at {system.phase}: the facts in this home are of another phase",
            where="phase",
            hint="give the system a new name, or choose a new --home; to go on, declare it as it was",
        )
