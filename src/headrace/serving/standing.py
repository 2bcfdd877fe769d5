"""What is about to be served: said once, when a door opens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from headrace.errors import HeadraceError

if TYPE_CHECKING:
    from headrace.home import Home
    from headrace.system import System


def standing(systems: Sequence[System], home: Home) -> list[dict[str, Any]]:
    """Each system with the version that answers: ``name version says``, the last where there is none."""
    return [_of(system, home) for system in systems]


def _of(system: System, home: Home) -> dict[str, Any]:
    try:
        version = home.registry.champion(system.name)
    except (HeadraceError, OSError) as error:  # the door opens all the same, and says that it is not ready
        return {"name": system.name, "version": None, "says": str(error).partition("\n")[0]}
    if version is None:
        return {"name": system.name, "version": None, "says": f"no model yet: headrace run {system.name}"}
    return {"name": system.name, "version": version.version, "says": None}
