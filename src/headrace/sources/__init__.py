"""Where records come from. A new kind of source is one new file here, and a line in ``SCHEMES``."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from headrace.errors import UsageError
from headrace.sources.base import Reader, Records, Source

if TYPE_CHECKING:
    from headrace.sources.kafka import Stream

__all__ = ["SCHEMES", "Reader", "Records", "Source", "open_source"]

SCHEMES = {
    "api": "headrace.sources.energidataservice",
    "file": "headrace.sources.files",
    "kafka": "headrace.sources.kafka",
    "simulated": "headrace.sources.simulated",
}
"""URI scheme to the module that reads it; the module has ``open_reader(source, rest)``."""

_FORMS = "api, file:PATH, kafka://HOST:PORT/TOPIC, simulated, simulated:?seed=1&days=90"


class _Module(Protocol):
    def open_reader(self, source: Source, rest: str, cache: Path | None = None) -> Reader: ...


def open_source(
    source: Source, uri: str | None = None, cache: Path | None = None, stream: Callable[[], Stream] | None = None
) -> Reader:
    """The reader of ``uri``, or of the source's own, or of simulated records.

    Nothing is read yet. Paths are relative to the current folder. A live service keeps in the folder `cache` what it
    has read, until the whole read is done, and a topic where its last read ended. What the events of a topic look
    like is asked of `stream`.

    Raises:
        UsageError: The URI has a form that is not supported, or the system has nothing to simulate.
    """
    given = (uri or source.uri or "simulated").strip()
    scheme, _, rest = given.partition(":")
    module = SCHEMES.get(scheme)
    if module is None:
        raise UsageError("this kind of source is not supported", where=given, hint=f"supported: {_FORMS}")
    if scheme == "kafka":
        from headrace.sources.kafka import open_reader

        return open_reader(source, rest, cache, stream)
    return cast(_Module, import_module(module)).open_reader(source, rest, cache)
