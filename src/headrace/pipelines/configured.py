"""The one door to a declaration's configuration: its own values, what a search found for it, and ``--set`` over both.

A configuration belongs to the declaration that it was searched for, by its digest. It is used while the declaration has
that digest, with or without the ``--set`` of the command; after an edit it is not, until you tune again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from headrace.config import nested, override, reached
from headrace.errors import HeadraceError
from headrace.home import Home
from headrace.loading import Overrides, adjusted, load_system
from headrace.registry.configurations import Configuration
from headrace.system import System
from headrace.tuning.values import settings_of


@dataclass(frozen=True)
class Reference:
    """How a system is found, to be loaded again with other values.

    Attributes:
        system: A name or folder, or one that was made in a program.
        settings: ``PATH=VALUE`` texts over everything else.
    """

    system: str | System
    settings: tuple[str, ...] = ()

    def load(self, overrides: Overrides | None = None) -> System:
        """The system, with its settings.

        Raises:
            NotFoundError, DeclarationError, ConfigError: As `headrace.loading.load_system`.
        """
        return self._with(self.settings, overrides)

    def plain(self) -> System:
        """The same without its settings."""
        return self._with((), None)

    def _with(self, settings: Sequence[str], overrides: Overrides | None) -> System:
        if isinstance(self.system, System):
            return adjusted(self.system, settings, overrides)
        return load_system(self.system, settings, overrides)


def configured(reference: Reference, declared: System, home: Home, as_of: datetime | None = None) -> System:
    """A system with the configuration that is in use for it as of a time; as it was declared where none is.

    Args:
        reference: How to load it again.
        declared: What it gives by itself.
        home: Where configurations are.
        as_of: Only what was found by then; None: now.

    Raises:
        StoreError: The configurations cannot be read.
    """
    found = belonging(reference, declared, home, as_of)
    return declared if found is None else _over(reference, declared, found)


def in_use(reference: Reference, declared: System, home: Home, as_of: datetime | None = None) -> Configuration | None:
    """The configuration that is in use for a declaration; arguments as of `configured`."""
    found = belonging(reference, declared, home, as_of)
    return None if found is None or _over(reference, declared, found).tuned is None else found


def unused(reference: Reference, declared: System, home: Home) -> str | None:
    """Why a configuration that was found is not used, in a sentence; None where one is, or there is none."""
    found = belonging(reference, declared, home, None)
    if found is not None:
        if _over(reference, declared, found).tuned is not None:
            return None
        return (
            f"configuration {found.version} is not used: --set replaces all its values ({', '.join(found.overrides)})"
        )
    won = [c for c in home.configurations(declared.name).all() if c.won and not c.withdrawn]
    if not won:
        return None
    message = f"configuration {won[-1].version} was tuned for another declaration than this one, and is not used"
    return f"{message}: headrace tune {declared.name}"


def belonging(reference: Reference, declared: System, home: Home, as_of: datetime | None) -> Configuration | None:
    """The configuration of a declaration, whether or not ``--set`` leaves something of it; see `configured`."""
    configurations = home.configurations(declared.name)
    if not any(configuration.won for configuration in configurations.all()):
        return None
    digests = {declared.config_digest}
    if reference.settings:
        digests.add(reference.plain().config_digest)
    return configurations.current(digests, as_of)


def _over(reference: Reference, declared: System, found: Configuration) -> System:
    """A declaration with the values of a configuration that ``--set`` leaves; itself where it leaves none."""
    texts = settings_of(found.overrides)
    system = reference.load(Overrides(texts, found.tuned))
    if not reference.settings:
        return system
    replaced = tuple(path for path, value in found.overrides.items() if not _has(system, path, value))
    if len(replaced) == len(found.overrides):
        return declared
    return reference.load(Overrides(texts, replace(found.tuned, replaced=replaced))) if replaced else system


def _has(system: System, path: str, value: Any) -> bool:
    """Whether a value is in effect: to set it once more changes nothing."""
    try:
        return bool(reached(override(system, nested(path, value)), path) == reached(system, path))
    except HeadraceError:  # there is no such path, or the value does not go with the others
        return False
