"""Holds local names to nouns: few names of values in `src` are function words (``found``, ``each``, ``said``, ``of``).

Counts every name that a function, a comprehension or a module binds: assignments, loops, ``with ... as``, ``:=``,
parameters. Fails above `LIMIT`.

python scripts/nouns.py [FOLDER] [--places]
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

LIMIT = 0.020
"""The share that is allowed; only ever lower."""
WORDS = {
    *("found", "said", "told", "asked", "made", "done", "given", "taken", "seen", "heard", "gone", "kept", "wanted"),
    *("each", "some", "any", "all", "both", "either", "every", "everything", "many", "most", "few", "such", "same"),
    *("at", "of", "by_", "to", "into", "from_", "with_", "as_", "about", "beside", "besides", "without", "on_", "in_"),
    *(
        "this",
        "that",
        "these",
        "those",
        "it",
        "its",
        "itself",
        "they",
        "them",
        "their",
        "theirs",
        "mine",
        "ours",
        "own",
    ),
    *("others", "another", "what", "which", "who", "whose", "how", "why", "when", "where_", "whole", "apart", "alone"),
    *("here", "there", "then", "now_", "again", "away", "back", "anew", "together", "once", "so", "too", "also", "yet"),
    *("thing", "things", "something"),
}
"""Names that say nothing of what they hold."""


def bindings(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Names that are bound, each with its line; fields of classes are no local names."""
    fields = {
        id(target)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for statement in node.body
        for target in ast.walk(statement)
        if isinstance(statement, ast.Assign | ast.AnnAssign)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and id(node) not in fields:
            yield node.id, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno


def main() -> int:
    """Print the share, the most frequent words, and with ``--places`` where they stand."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--places"]
    folder = Path(arguments[0] if arguments else "src")
    names, places = Counter[str](), list[str]()
    total = 0
    for path in sorted(folder.rglob("*.py")):
        for name, line in bindings(ast.parse(path.read_text(encoding="utf-8"))):
            total += 1
            if name.strip("_") in WORDS or name in WORDS:
                names[name.strip("_")] += 1
                places.append(f"{path}:{line}: {name}")
    if not total:
        print(f"nouns: no name below {folder}", file=sys.stderr)
        return 2
    if "--places" in sys.argv:
        print("\n".join(places))
    share = len(places) / total
    words = ", ".join(f"{name} {count}" for name, count in names.most_common(12))
    print(f"nouns: {len(places)} of {total} names are function words, {share:.2%}; at most {LIMIT:.1%} ({words})")
    return int(share > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
