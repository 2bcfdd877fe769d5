"""Where the trials of a study are kept: a journal in the home, or a database."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import IO, TYPE_CHECKING

from headrace.errors import TuningError
from headrace.tuning import beats

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

_DRIVERS = {"postgresql://": "postgresql+psycopg://", "postgres://": "postgresql+psycopg://"}


class _JournalLock:
    """The lock of a journal: the kernel frees it when its holder is killed. Optuna's own wait half a minute then."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def acquire(self) -> bool:
        import fcntl

        file = self._path.open("a")
        fcntl.flock(file, fcntl.LOCK_EX)
        self._file = file
        return True

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def quiet() -> None:
    """Let optuna write nothing: what a study does is told by whoever asks it."""
    import optuna

    optuna.logging.disable_default_handler()
    logging.getLogger("optuna").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    warnings.filterwarnings("ignore", message="Heartbeat of storage")  # `Beats` makes them where no `optimize` does


def storage_of(folder: Path, study: str, uri: str | None) -> BaseStorage:
    """Where a study's trials are kept; made when missing.

    Args:
        folder: Of journals.
        study: Its name.
        uri: A database, as SQLAlchemy names it; None: a journal in the folder.

    Raises:
        TuningError: The database cannot be reached.
    """
    quiet()
    if uri is None:
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{study}.journal"
        return JournalStorage(JournalFileBackend(str(path), lock_obj=_JournalLock(path.with_suffix(".lock"))))  # type: ignore[arg-type]
    from optuna.exceptions import ExperimentalWarning
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import SQLAlchemyError

    for scheme, driver in _DRIVERS.items():
        uri = driver + uri.removeprefix(scheme) if uri.startswith(scheme) else uri
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            engine = {"pool_pre_ping": True}
            return RDBStorage(uri, engine_kwargs=engine, heartbeat_interval=beats.EVERY, grace_period=beats.GRACE)
    except (SQLAlchemyError, ImportError, ValueError) as error:
        first = str(error).partition("[SQL:")[0].strip().splitlines()
        said = f"{type(error).__name__}" if "://" in str(error) or not first else first[0][:200]
        hint = "check HEADRACE_TUNING_URI; without it trials are kept in a journal in the home"
        raise TuningError(
            f"the trials' database cannot be used: {said}", where="HEADRACE_TUNING_URI", hint=hint
        ) from error
