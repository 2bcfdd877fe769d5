"""What the site takes from the code: a page asks for it by a line `<!-- generated: NAME -->`."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module

MARK = re.compile(r"^<!-- generated: (?P<name>[a-z-]+) -->$", re.MULTILINE)
NAMES = ("client", "commands", "declarations", "errors", "features", "http", "layers", "python", "settings")


def fill(page: str) -> str:
    """A page of Markdown with every part that it asks for.

    Raises:
        KeyError: A page asks for a part that there is not.
    """
    return MARK.sub(lambda mark: part(mark["name"]), page)


def part(name: str) -> str:
    """One part, by its name.

    Raises:
        KeyError: There is none of that name.
    """
    if name not in NAMES:
        raise KeyError(f"a page asks for {name!r}; there are {', '.join(NAMES)}")
    function: Callable[[], str] = getattr(import_module(f"docs._generated.{name}"), name)
    return function()
