"""Every type of error: why it is raised, and what to do."""

from __future__ import annotations

from collections.abc import Iterator

from docs._generated.docstrings import cell, sections

from headrace.errors import HeadraceError

WHY, REMEDY = "Raised when", "What to do"


def errors() -> str:
    """A table of the whole tree, parents before children."""
    rows = ["| error | raised when | what to do | exit | HTTP |", "|---|---|---|---|---|"]
    for depth, cls in tree():
        parts = sections(cls)
        indent = "↳ " * max(depth - 1, 0)
        texts = [cell(parts.get(name, "")) for name in (WHY, REMEDY)]
        rows.append(f"| {indent}`{cls.__name__}` | {' | '.join(texts)} | {cls.exit_code} | {cls.http_status} |")
    return "\n".join(rows)


def tree(cls: type[HeadraceError] = HeadraceError, depth: int = 0) -> Iterator[tuple[int, type[HeadraceError]]]:
    """Every type of `headrace.errors` with its depth, the base left out."""
    if depth:
        yield depth, cls
    for child in cls.__subclasses__():
        if child.__module__ == HeadraceError.__module__:
            yield from tree(child, depth + 1)


def unexplained() -> list[str]:
    """Types whose docstring does not say both."""
    return [cls.__name__ for _, cls in tree() if not all(sections(cls).get(name) for name in (WHY, REMEDY))]
