"""How pages ask the API: one caller for one viewer, and what is said where the API has no good answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


class ViewerApi(Protocol):
    """The public HTTP API, asked with the token of one viewer. Implementations must be safe for concurrent use."""

    async def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """The JSON answer of a reading route.

        Args:
            path: Of the route, its parts escaped, as ``/v1/systems/energy/runs``.
            params: The query; values that are None are left out.

        Raises:
            ApiRefusal: The API refused, or did not answer.
        """
        ...

    async def post(
        self, path: str, body: Any = None, params: Mapping[str, Any] | None = None, *, key: str | None = None
    ) -> Any:
        """The JSON answer of a writing route, asked once.

        Args:
            path: Of the route.
            body: What is JSON.
            params: The query.
            key: Of a route that takes one: asked with it again, nothing more is done.

        Raises:
            ApiRefusal: As `get`.
        """
        ...

    async def delete(self, path: str) -> Any:
        """The JSON answer of a route that ends something.

        Raises:
            ApiRefusal: As `get`.
        """
        ...


@dataclass
class ApiRefusal(Exception):
    """The API has no good answer.

    Attributes:
        status: Its HTTP status; 0: it did not answer in time, or not at all, or not whole.
        title: What happened, in a few words.
        detail: What it said.
        hint: What to do.
        errors: What is wrong where: ``{"loc", "msg"}``.
        docs: Of the error, in the documentation.
    """

    status: int
    title: str
    detail: str
    hint: str = ""
    errors: list[dict[str, Any]] = field(default_factory=list)
    docs: str = ""

    @property
    def passing(self) -> bool:
        """Whether asking again by itself may help."""
        return self.status == 0 or self.status >= 500 or self.status == 429
