"""Whose trials are still running, where a database keeps them: each trial beats there, by the database's own clock.

Locks in a home say nothing to another machine. Optuna's storage keeps the beats; only its own ``optimize`` makes them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.storages._heartbeat import BaseHeartbeat

EVERY = 5
"""Seconds between two beats of a trial."""
GRACE = 60
"""After so many seconds without a beat a trial is given up: its process is gone, or cannot reach the database."""


class Beats:
    """The beats of a study's trials.

    Args:
        storage: Where they are kept.
    """

    def __init__(self, storage: BaseHeartbeat) -> None:
        self._storage = storage

    @contextmanager
    def beating(self, trial_id: int) -> Iterator[None]:
        """Let a trial beat, from now on until this ends.

        Raises:
            StorageInternalError: The database cannot take the first one.
        """
        self._storage.record_heartbeat(trial_id)
        ended = threading.Event()
        thread = threading.Thread(target=self._beat, args=(trial_id, ended), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _beat(self, trial_id: int, ended: threading.Event) -> None:
        from optuna.exceptions import StorageInternalError

        while not ended.wait(EVERY):
            with suppress(StorageInternalError):  # the grace is several beats: the next one may pass
                self._storage.record_heartbeat(trial_id)

    def silent(self, study_id: int) -> set[int]:
        """Trials that have not beaten for as long as the grace, by their ids in the storage."""
        return set(self._storage._get_stale_trial_ids(study_id))  # noqa: SLF001  # what it offers only to `optimize`
