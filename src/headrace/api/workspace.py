"""`Workspace`: a home opened from Python, and the systems in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.api.opened import OpenHome
from headrace.api.times import duration_of, time_of
from headrace.settings import load_settings

if TYPE_CHECKING:
    import polars as pl

    from headrace.api.bound import BoundSystem
    from headrace.store import Observed
    from headrace.system import System

Overrides = Mapping[str, Any] | Sequence[str]
"""Values over those of ``config.yaml``: by path, or as texts ``PATH=VALUE``."""


def open_workspace(
    path: str | Path | None = None, *, clock: Callable[[], datetime] | None = None, quiet: bool = False
) -> Workspace:
    """Open a home. Nothing is made or read before you ask for it.

    Args:
        path: The folder of all state. None: ``HEADRACE_HOME``, or ``.headrace`` below the current folder.
        clock: Tells the time, with a zone, where a method is given none. None: the machine's clock.
        quiet: Show no progress.

    Raises:
        ConfigError: A variable of the environment has a value that does not fit.

    >>> import headrace as hr
    >>> hr.open("somewhere")
    Workspace('somewhere')
    """
    return Workspace(load_settings(None if path is None else Path(path)), clock=clock, quiet=quiet)


class Workspace(OpenHome):
    """A home and the systems in it. `headrace.open` makes one.

    Args:
        settings: Where things are.
        clock: Tells the time, with a zone. None: the machine's clock.
        quiet: Show no progress.
    """

    def system(self, reference: str | Path | System, settings: Overrides = ()) -> BoundSystem:
        """A system, ready to run in this home.

        Args:
            reference: A folder that holds ``system.py``, a name below ``systems/``, an installed entry point of the
                group ``headrace.systems``, or a `System` that you made, which needs no folder.
            settings: Values over those of ``config.yaml``, such as ``{"schedule.train": "1d"}``.

        Raises:
            NotFoundError: There is no such system.
            DeclarationError: Its declaration has a mistake.
            ConfigError: A value does not fit.

        >>> home.system("systems/energy", {"horizon": "48h"}).declaration.steps
        48
        """
        from headrace.api.bound import BoundSystem
        from headrace.pipelines.configured import Reference
        from headrace.system import System

        changes = (
            [f"{path}={_text(value)}" for path, value in settings.items()]
            if isinstance(settings, Mapping)
            else settings
        )
        found = Reference(reference if isinstance(reference, System) else str(reference), tuple(changes))
        return BoundSystem(found.load(), self, found)

    def list(self, folder: str | Path = "systems") -> pl.DataFrame:
        """Systems declared here, stored in the home, or installed, by name.

        Columns: ``system where champion last_run status rows predictions``.

        Args:
            folder: Where systems are declared.

        Raises:
            StoreError: The storage cannot be reached.

        >>> home.list().filter(system="energy").select("champion", "rows", "predictions").row(0)
        (1, 2884, 96)
        """
        import polars as pl

        from headrace.housekeeping.listing import listed
        from headrace.loading import installed

        return pl.DataFrame(listed(self.reading, Path(folder), installed()), infer_schema_length=None)

    def disk(self, system: str | None = None) -> pl.DataFrame:
        """How much room things take, by system and kind: ``system kind name files bytes``.

        Args:
            system: This one alone, without what all share.

        Raises:
            StoreError: The storage cannot be reached.

        >>> home.disk("energy")["bytes"].sum() > 0
        True
        """
        import polars as pl

        from headrace.housekeeping.disk import usage

        return pl.DataFrame(usage(self.reading, system), infer_schema_length=None)

    def prune(
        self,
        older_than: timedelta | str,
        *,
        system: str | None = None,
        runs: int = 100,
        predictions: bool = False,
        dry: bool = True,
    ) -> pl.DataFrame:
        """Delete what is old and pinned by nothing that is kept: ``system kind rows files bytes``.

        Records of runs, scores, quarantined rows, comparisons, files of models and replaced data files go. Every kept
        prediction can be traced and replayed afterwards. Facts stay.

        Args:
            older_than: Nothing younger goes, such as ``90d``.
            system: This one alone.
            runs: So many of the newest runs stay, however old they are.
            predictions: Old forecasts go too.
            dry: Only tell what would go.

        Raises:
            HeadraceError: A part of the home cannot be reached; repeat it.

        >>> home.prune("90d").height  # the clock of this home stands at February 2023
        0
        """
        import polars as pl

        from headrace.housekeeping.pruning import Retention, prune

        keep = Retention(self.now() - duration_of(older_than, "older_than"), runs, predictions)
        home = self.reading if dry else self.home
        names = home.store.systems() if system is None else [system]
        pruned = [row for name in names for row in prune(home, name, keep, dry=dry)]
        return pl.DataFrame(pruned, infer_schema_length=None)

    def lookup(
        self, system: str, view: str, key: Sequence[str] = (), *, last: int = 0, as_of: datetime | str | None = None
    ) -> Sequence[Observed]:
        """Look stored features up by key, as a request would.

        Args:
            system: Whose features, as the store knows it.
            view: A feature view, or a group.
            key: A value for each of its keys, as text, in their order.
            last: So many of the last observations, oldest first; 0 for the latest known values alone.
            as_of: What was known then. Default: now.

        Returns:
            Values by name, each answer with its `time` and since when it was `known_at`, UTC; none where the key is
            not known.

        Raises:
            NotFoundError: There is no such view or group.
            UsageError: A text is no value of its key.

        >>> home.lookup("shop", "customers", ["c1"])
        Traceback (most recent call last):
        headrace.errors.NotFoundError: ...
        """
        from headrace.store import FeatureView
        from headrace.tasks.rows.lookups import look_up

        found = FeatureView.open(self.reading.store, system, view)
        return look_up(found, key, as_of=time_of(as_of, self.now()), last=last)

    def holdings(self, system: str) -> dict[str, Any]:
        """What `delete` would take: ``system tables models predictions shadows bytes``.

        Raises:
            NotFoundError: Nothing is stored of it.

        >>> home.holdings("energy")["models"]
        1
        """
        from headrace.housekeeping.removal import holdings

        return holdings(self.reading, system)

    def delete(self, system: str) -> dict[str, Any]:
        """Delete everything that is stored of a system. Nobody is asked; what went is told, as of `holdings`.

        Its folder with ``system.py`` stays, and so do topics in Kafka. Stop what serves it first. Killed and
        repeated, it ends with nothing left.

        Raises:
            NotFoundError: Nothing is stored of it.
            HeadraceError: A part of it cannot be reached; repeat it.

        >>> home.delete("energy")["models"], home.systems()
        (1, [])
        """
        from headrace.housekeeping.removal import delete

        return delete(self.home, system)

    def rename(self, system: str, new_name: str) -> dict[str, Any]:
        """Give what is stored of a system another name: ``system to tables models``.

        Predictions keep their ids and can be traced and replayed as before. Declare the system under the new name
        afterwards. Stop what serves it first. Killed and repeated, it ends as if it had not been.

        Raises:
            NotFoundError: Nothing is stored of it.
            UsageError: The new name is no good or taken, or other systems look features up under the old one.
            HeadraceError: A part of it cannot be reached; repeat it.

        >>> home.rename("energy", "power")["to"], home.systems()
        ('power', ['power'])
        """
        from headrace.housekeeping.renaming import rename

        return rename(self.home, system, new_name)


def _text(value: object) -> str:
    from headrace.declaration import format_duration

    if isinstance(value, timedelta):
        return format_duration(value)
    return value if isinstance(value, str) else json.dumps(value)
