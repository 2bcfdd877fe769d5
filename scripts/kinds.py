"""Refuses code outside of `tasks/` and `system.py` that asks which kind a system is, or reaches into one kind's folder.

Doors, steps and commands ask a system's task: `headrace.tasks.task_of`. Refused are

- the attribute `forecasts` of a system,
- `isinstance` of what one kind alone has, such as ``isinstance(predicted, PredictedSeries)``,
- `hasattr` and `getattr` with a default of a system, a task, or what a task gave,
- a comparison with a task's `kind`, and a system's `horizon` in a condition,
- imports of `headrace.tasks.forecast` and `headrace.tasks.rows`, but for `EXCEPTIONS`.

python scripts/kinds.py
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent / "src" / "headrace"
ROOMS = ("tasks/", "system.py")
ATTRIBUTES = ("testing/models.py",)
"""Has an attribute `forecasts` that is no system's: the model that is tried."""
EXCEPTIONS = {
    "serving/engine/": "folds events into the state of series: it is the predictor of series for events",
    "serving/posted/": "the log of posted events, which has a state of series too",
    "serving/stream/": "has one worker for events and one for rows, chosen by what the task can",
    "serving/http/scoring.py": "scores a second version beside the champion, with a predictor of either kind",
    "api/workspace.py": "headrace lookup reads what rows look up",
    "api/checks.py": "headrace skew is about features that are logged with rows",
    "console/skew.py": "shows it",
    "doctor.py": "tells which features of a posted row are slow",
}
"""Who may import from a kind's folder, and why."""
KINDS = re.compile(r"^(\w*Task|Forecast\w*|Row[A-Z]\w*|RollingOrigins|Predicted\w+|ScoredRows|SeriesModel|Tabular)$")
"""Names of classes that one kind alone has."""
ASKED = re.compile(r"^_?(system|declaration|task|predicted|evaluation|output|predictor)$")
"""Names of values that are not asked for their attributes."""
SYSTEMS = ("system", "declaration")
FOLDER = re.compile(r"^headrace\.tasks\.(forecast|rows)\b")


def name_of(node: ast.expr) -> str:
    """The last part of a dotted name; the empty text of anything else."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def modules(node: ast.AST) -> list[str]:
    """What an import statement imports, as dotted names."""
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


def conditions(tree: ast.AST) -> Iterator[ast.AST]:
    """Everything within a condition."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If | ast.IfExp | ast.While | ast.Assert):
            yield from ast.walk(node.test)


def asks(node: ast.AST) -> str | None:
    """What a node asks that it should not; None: nothing."""
    if isinstance(node, ast.Compare) and any(
        isinstance(side, ast.Attribute) and side.attr == "kind" and name_of(side.value).strip("_") == "task"
        for side in (node.left, *node.comparators)
    ):
        return "compares the kind of a task"
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or len(node.args) < 2:
        return None
    if node.func.id == "isinstance":
        names = [name_of(part) for part in ast.walk(node.args[1]) if isinstance(part, ast.Name | ast.Attribute)]
        kind = next((name for name in names if KINDS.match(name)), None)
        return None if kind is None else f"asks whether something is a {kind}"
    default = node.func.id == "getattr" and len(node.args) == 3
    if (node.func.id == "hasattr" or default) and ASKED.match(name_of(node.args[0])):
        return f"asks whether a {name_of(node.args[0])} has an attribute"
    return None


def findings(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a file, each with what is wrong there; what `EXCEPTIONS` names may import, and tell its own apart."""
    place, tree = path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))
    is_exception = place.startswith(tuple(EXCEPTIONS))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "forecasts" and place not in ATTRIBUTES:
            yield node.lineno, "asks what a system is"
        for module in [] if is_exception else modules(node):
            if FOLDER.match(module):
                yield node.lineno, f"imports {module}"
        if not is_exception and (text := asks(node)) is not None:
            yield node.lineno, text
    for node in conditions(tree):
        if isinstance(node, ast.Attribute) and node.attr == "horizon" and name_of(node.value).strip("_") in SYSTEMS:
            yield node.lineno, "asks whether a system has a horizon"


def unused() -> list[str]:
    """Exceptions that nothing needs any more."""
    imports = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if any(FOLDER.match(module) for module in modules(node))
    }
    return [prefix for prefix in EXCEPTIONS if not any(place.startswith(prefix) for place in imports)]


def main() -> int:
    """Print each place; the exit status is 1 if there is one."""
    lines = [
        f"{path.relative_to(ROOT.parent.parent)}:{line}: {text}; name what its task can in tasks/base.py, and ask that"
        for path in sorted(ROOT.rglob("*.py"))
        if not path.relative_to(ROOT).as_posix().startswith(ROOMS)
        for line, text in findings(path)
    ]
    lines += [f"scripts/kinds.py: the exception {prefix} is not needed any more" for prefix in unused()]
    print("\n".join([*lines, f"kinds: {len(lines)} places ask which kind a system is, {len(EXCEPTIONS)} exceptions"]))
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
