"""What other packages add: entry point groups, looked up by name together with what headrace brings itself."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from headrace.errors import HeadraceError, PluginError


@dataclass(frozen=True)
class Plugin:
    """One thing that a group has.

    Attributes:
        name: What it is found by.
        value: Where it is: ``package.module:attribute``.
        package: The distribution that brings it, with its version; ``headrace`` for what is built in.
    """

    name: str
    value: str
    package: str


@dataclass(frozen=True)
class Group:
    """A group of entry points. Built-in members are declared as another package declares its own, and come first.

    No installed package is looked at as long as a built-in member has the name that is asked for.

    Args:
        name: Of the group, such as ``headrace.sources``.
        builtin: Name to ``module:attribute``.

    >>> group = Group("headrace.examples", {"plain": "headrace.plugins:Group"})
    >>> group.load("plain").__name__, group.names(), group.load("absent")
    ('Group', ('plain',), None)
    """

    name: str
    builtin: Mapping[str, str] = field(default_factory=dict)

    def load(self, name: str) -> Any:
        """The member of this name; None where there is none.

        Raises:
            PluginError: It is there and cannot be imported, or two packages bring one of this name.
        """
        builtin = self.builtin.get(name)
        if builtin is not None:
            return _loaded(EntryPoint(name, builtin, self.name), "headrace")
        members = [entry for entry in self._installed if entry.name == name]
        if len({entry.value for entry in members}) > 1:
            packages = ", ".join(sorted({_package(entry) for entry in members}))
            raise PluginError(
                f"{packages} each bring one", where=f"{self.name}: {name}", hint="uninstall all of them but one"
            )
        return _loaded(members[0], _package(members[0])) if members else None

    def names(self) -> tuple[str, ...]:
        """What can be asked for: built-in names, then those of installed packages."""
        return tuple(dict.fromkeys([*self.builtin, *sorted(entry.name for entry in self._installed)]))

    def members(self) -> Iterator[Plugin]:
        """Everything in the group, built-in members first. Nothing is imported."""
        for name, value in self.builtin.items():
            yield Plugin(name, value, "headrace")
        for entry in sorted(self._installed, key=lambda entry: entry.name):
            yield Plugin(entry.name, entry.value, _package(entry))

    def added(self) -> tuple[Plugin, ...]:
        """What installed packages add."""
        return tuple(member for member in self.members() if member.package != "headrace")

    @property
    def _installed(self) -> tuple[EntryPoint, ...]:
        return tuple(entry_points(group=self.name)) if _mentioned(f"[{self.name}]".encode()) else ()


def _mentioned(heading: bytes) -> bool:
    """Whether the metadata of any package has a heading: a tenth of the time that it takes to read all of it."""
    for place in dict.fromkeys(sys.path):
        folder = Path(place)
        if folder.is_file():
            return True  # an archive: asked in the long way
        for name in os.listdir(folder) if folder.is_dir() else ():  # noqa: PTH208  # a name is enough
            if name.endswith((".dist-info", ".egg-info")):
                with suppress(OSError):  # most packages have no such file
                    if heading in (folder / name / "entry_points.txt").read_bytes():
                        return True
    return False


def _package(entry: EntryPoint) -> str:
    return "an unknown package" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"


def _loaded(entry: EntryPoint, package: str) -> Any:
    try:
        return entry.load()
    except HeadraceError:
        raise
    except Exception as error:  # whatever another package raises is a mistake in that package
        raise PluginError(
            f"{type(error).__name__}: {error}",
            where=f"{entry.group}: {entry.name} = {entry.value}",
            hint=f"it comes with {package}",
        ) from error
