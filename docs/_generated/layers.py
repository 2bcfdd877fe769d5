"""The rooms of the code, from the list that import-linter holds."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def layers() -> str:
    """A table of the rooms from the top down: what a room imports stands below it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (house,) = [each for each in project["tool"]["importlinter"]["contracts"] if each["id"] == "house"]
    rows = ["| room | what it is |", "|---|---|"]
    for layer in house["layers"]:
        for name in re.findall(r"\w+", layer):
            sentence = _sentence(name)
            if sentence is not None:
                rows.append(f"| `{name}` | {sentence} |")
    return "\n".join(rows)


def _sentence(name: str) -> str | None:
    """The first sentence of a room's docstring; None for one that is not built."""
    spec = importlib.util.find_spec(f"headrace.{name}")
    if spec is None or spec.origin is None:
        return None
    doc = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    first = re.split(r"(?<=\.)\s", inspect.cleandoc(doc).split("\n\n")[0].replace("\n", " "))[0]
    return first.replace("``", "`").replace("|", "\\|")
