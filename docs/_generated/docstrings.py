"""Sections of docstrings in Google's style."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping

SECTION = re.compile(r"^(Args|Attributes|Raises|Returns|Raised when|What to do|Examples?):$")
ENTRY = re.compile(r"^(?P<names>\w+(?:, \w+)*)(?: \([^)]*\))?: *(?P<text>.*)$")


def sections(thing: object) -> Mapping[str, str]:
    """The text of a docstring by section; what stands before the first one has the name of the empty text."""
    parts: dict[str, list[str]] = {"": []}
    name = ""
    for line in inspect.cleandoc(getattr(thing, "__doc__", None) or "").splitlines():
        heading = SECTION.match(line)
        if heading:
            name = heading[1]
            parts[name] = []
        elif name and line.strip() and not line.startswith(" "):  # text after a section belongs to none of them
            name = ""
            parts[name] += ["", line]
        else:
            parts[name].append(line)
    return {name: inspect.cleandoc("\n".join(lines)) for name, lines in parts.items()}


def entries(section: str) -> dict[str, str]:
    """Names of a section to what is said of them, each in one line."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines():
        entry = None if line.startswith(" ") else ENTRY.match(line)
        if entry:
            names = entry["names"].split(", ")
            found |= dict.fromkeys(names, entry["text"])
        else:
            found |= {name: f"{found[name]} {line.strip()}".strip() for name in names}
    return found


def described(cls: type) -> dict[str, str]:
    """Fields of a class to what its docstring, and those of its bases, say of them."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("headrace"):
            parts = sections(base)
            found |= entries(parts.get("Args", "")) | entries(parts.get("Attributes", ""))
    return found


def summary(thing: object) -> str:
    """What stands before the first section, as paragraphs of Markdown, without doctests."""
    text = sections(thing)[""]
    paragraphs = [" ".join(part.split()) for part in text.split("\n\n") if not part.lstrip().startswith(">>>")]
    return plain("\n\n".join(part for part in paragraphs if part))


def plain(text: str) -> str:
    """Markdown of what docstrings write: two backticks become one."""
    return text.replace("``", "`")


def cell(text: str) -> str:
    """The same within a cell of a table."""
    return plain(" ".join(text.split())).replace("|", "\\|")


def examples(thing: object) -> list[str]:
    """Lines of the doctests of a docstring, with what they print."""
    lines: list[str] = []
    within = False
    for line in inspect.cleandoc(getattr(thing, "__doc__", None) or "").splitlines():
        text = line.strip()
        within = text.startswith(">>>") or (within and bool(text))
        if within:
            lines.append(text)
    return lines
