"""Which model answers: the champion now, and a look for a new one from time to time, beside the loop."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from headrace.errors import HeadraceError, NotFoundError
from headrace.home import Home
from headrace.lineage import Pins, code_revision
from headrace.predictor import Predictor
from headrace.serving.stream.engine import Champion
from headrace.system import System


def champion(system: System, home: Home, now: datetime) -> Champion:
    """The champion by all that was decided, ready to predict; `now` is only written down.

    Raises:
        NotFoundError: There is none.
        ArtefactError: Its files are damaged.
    """
    version = home.registry.champion(system.name)
    if version is None:
        raise NotFoundError("there is no model yet", where=system.name, hint=f"headrace run {system.name}")
    pins = Pins(
        as_of=now,
        data_version=0,
        feature_version=str(version.pins["feature_version"]),
        model_version=version.version,
        model_digest=version.digest,
        config_digest=str(version.pins["config_digest"]),
        code_revision=code_revision(system.folder),
    )
    return Champion(Predictor.load(home.registry.fetch(version)), pins)


class Watch:
    """Looks for a new champion every few seconds, in a thread of its own.

    Args:
        system: The declaration.
        home: Where the registry is.
        first: The champion that answers already.
        every: Seconds between two looks.
        failed: Told when a look failed; the present champion goes on.
    """

    def __init__(
        self, system: System, home: Home, first: Champion, every: float, failed: Callable[[Exception], None]
    ) -> None:
        self._system, self._home, self._every, self._failed = system, home, every, failed
        self._version = first.pins.model_version
        self._found: queue.SimpleQueue[Champion] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, name="champions", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def taken(self) -> Champion | None:
        """A champion that is new since the last call, or None."""
        try:
            return self._found.get_nowait()
        except queue.Empty:
            return None

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join(timeout=5.0)

    def _look(self) -> None:
        while not self._stop.wait(self._every):
            try:
                version = self._home.registry.champion(self._system.name)
                if version is not None and version.version != self._version:
                    self._found.put(champion(self._system, self._home, datetime.now(UTC)))
                    self._version = version.version
            except (HeadraceError, OSError) as error:
                self._failed(error)
