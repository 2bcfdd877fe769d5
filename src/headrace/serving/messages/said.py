"""What a worker said in a message on the topic of answers."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.system import System
from headrace.tasks import task_of


class AnswerReader:
    """Reads answers of one system.

    Args:
        system: The declaration.
    """

    def __init__(self, system: System) -> None:
        self._names = task_of(system).form.names

    def __call__(self, message: Any) -> dict[str, Any] | None:
        """The answer; None for what somebody else put on the topic."""
        try:
            document = msgspec.json.decode(message.value() or b"")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return document if isinstance(document, dict) and document.keys() >= self._names else None
