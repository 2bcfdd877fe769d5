"""What a door holds of a version in memory, and what that looks up: what `Task.answering` gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol


class RowAnswers(Protocol):
    """A version that a door holds in memory, where each answer stands for itself. Any number of threads ask it."""

    def answer(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The prediction for one decoded row: values by the names of `Task.columns`.

        Raises:
            HeadraceError, ArithmeticError, ValueError: It cannot be computed for this row, which is refused.
        """

    def answer_columns(self, columns: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """The predictions for many decoded rows, column by column: the very ones that `answer` gives."""

    def features(self, columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
        """The features of many decoded rows, JSON-ready; asked for only where they are logged."""


class OnlineLookups(Protocol):
    """What a version looks up online while a door holds it."""

    @property
    def embedded(self) -> bool:
        """Whether a look-up is quick enough for an event loop."""

    def fill(self, rows: Sequence[dict[str, Any]], now: datetime) -> None:
        """Put the looked-up columns into decoded rows.

        Raises:
            HeadraceError: They cannot be looked up now.
        """

    def follow(self, now: datetime) -> None:
        """Bring what is looked up to what is known now.

        Raises:
            OnlineUnavailableError: The online side is away.
        """
