"""Holds the sizes of the code in `src`: small files, short functions, few parameters, all of it annotated.

python scripts/sizes.py [FOLDER]
"""

from __future__ import annotations

import ast
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MEDIAN_LINES = 150
FILE_LINES = 600
FUNCTION_LINES = 80
PARAMETERS = 8


@dataclass(frozen=True)
class Function:
    """One function of a file, with the names of what it stands in."""

    path: Path
    name: str
    node: ast.FunctionDef | ast.AsyncFunctionDef
    is_method: bool
    is_public: bool

    @property
    def lines(self) -> int:
        """Lines from ``def`` to the last statement, decorators left out."""
        return (self.node.end_lineno or self.node.lineno) - self.node.lineno + 1

    @property
    def parameters(self) -> list[ast.arg]:
        """All parameters but ``self`` and ``cls``."""
        given = self.node.args
        named = [*given.posonlyargs, *given.args]
        is_static = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in self.node.decorator_list)
        if self.is_method and not is_static:
            named = named[1:]
        return [*named, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]

    @property
    def missing(self) -> list[str]:
        """What lacks an annotation: parameters by name, and ``return``."""
        names = [parameter.arg for parameter in self.parameters if parameter.annotation is None]
        returns = self.node.returns is not None or self.node.name == "__init__"
        return names if returns else [*names, "return"]


def functions(path: Path, node: ast.AST, inside: tuple[ast.AST, ...] = ()) -> Iterator[Function]:
    """Every function below `node`, nested ones too."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            names = [*(getattr(outer, "name", "") for outer in inside), child.name]
            is_nested = any(isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef) for outer in inside)
            is_public = not is_nested and not any(is_private(name) for name in names)
            is_method = bool(inside) and isinstance(inside[-1], ast.ClassDef)
            yield Function(path, ".".join(names), child, is_method, is_public)
        named = isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        yield from functions(path, child, (*inside, child) if named else inside)


def is_private(name: str) -> bool:
    """Whether a name says that it is not for others: ``_name``, but not ``__name__``."""
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


def findings(function: Function) -> Iterator[str]:
    """What is too large about one function, or not annotated."""
    where = f"{function.path}:{function.node.lineno} {function.name}"
    if function.lines > FUNCTION_LINES:
        yield f"{where}: {function.lines} lines, at most {FUNCTION_LINES}"
    if len(function.parameters) > PARAMETERS:
        yield f"{where}: {len(function.parameters)} parameters, at most {PARAMETERS}"
    if function.is_public and function.missing:
        yield f"{where}: not annotated: {', '.join(function.missing)}"


def main() -> int:
    """Print what breaks a limit, then the sizes as they are."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "src")
    sources = {path: path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py"))}
    sources = {path: text for path, text in sources.items() if text.strip()}
    if not sources:
        print(f"sizes: no Python files below {folder}", file=sys.stderr)
        return 2
    lines = {path: len(text.splitlines()) for path, text in sources.items()}
    found = [f"{path}: {n} lines, at most {FILE_LINES}" for path, n in lines.items() if n > FILE_LINES]
    median = statistics.median(lines.values())
    if median >= MEDIAN_LINES:
        found.append(f"{folder}: the median file has {median:g} lines, it must stay under {MEDIAN_LINES}")
    every = [function for path, text in sources.items() for function in functions(path, ast.parse(text))]
    found += [finding for function in every for finding in findings(function)]
    print("\n".join(found), end="\n" if found else "")
    print(
        f"sizes: {len(lines)} files, median {median:g} lines, largest {max(lines.values())}; "
        f"{len(every)} functions, longest {max((function.lines for function in every), default=0)} lines; "
        f"{len(found)} past a limit"
    )
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
