"""Holds one word to one thing: no name of a class is used twice in `src`.

python scripts/classes.py [FOLDER]
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path


def classes(path: Path) -> Iterator[tuple[str, str]]:
    """Every class of a file, nested ones too: its name without a leading underscore, and where it stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef):
            yield node.name.lstrip("_"), f"{path}:{node.lineno}"


def main() -> int:
    """Print the names that are used twice, with their places."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "src")
    places: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted(folder.rglob("*.py")):
        for name, place in classes(path):
            places[name].append(place)
    if not places:
        print(f"classes: no class below {folder}", file=sys.stderr)
        return 2
    twice = {name: where for name, where in sorted(places.items()) if len(where) > 1}
    for name, where in twice.items():
        print(f"{name}: {', '.join(where)}")
    print(f"classes: {len(places)} names, {len(twice)} of them used twice or more often")
    return int(bool(twice))


if __name__ == "__main__":
    sys.exit(main())
