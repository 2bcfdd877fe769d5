"""What is said to be done next can be done: every command and option that a text of the code names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from typer.main import get_command

from headrace.cli import app

SOURCE = Path(__file__).resolve().parents[3] / "src" / "headrace"
COMMANDS = {name: {o for p in command.params for o in p.opts} for name, command in get_command(app).commands.items()}
EVERY = set().union(*COMMANDS.values()) | {"--help", "--version"}
KAFKA = {"--bootstrap-server", "--create", "--topic", "--replication-factor", "--config", "--alter", "--add-config"}
PROTOC = {"--include_imports", "--include", "--descriptor_set_out", "--descriptor"}
OTHERS = {"--short", "--porcelain", "--no-deps"} | KAFKA | PROTOC
"""Options of other programs."""
_TWO = "|".join(name for name in COMMANDS if " " in name)
_COMMAND = re.compile(rf"\bheadrace ({_TWO}|[a-z][a-z-]+)\b(?=([^;`,]*))")
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
PROSE = {
    "is",
    "keeps",
    "raises",
    "has",
    "knows",
    "reads",
    "was",
    "needs",
    "stores",
    "cannot",
    "does",
    "says",
    "that",
    "and",
    "import",
    "wrote",
}
"""Words that follow the name where a sentence is about headrace."""


def texts() -> list[tuple[str, str]]:
    """Every text of the code that people may see, with its place; what is filled in stands as X."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        docs = {
            id(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(tree):
            place = f"{path.relative_to(SOURCE)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.JoinedStr):
                parts = [p.value if isinstance(p, ast.Constant) else "X" for p in node.values]
                found.append((place, "".join(map(str, parts))))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs | inside:
                if ":root{" in node.value:
                    continue  # a style sheet
                found.append((place, node.value))
    return found


TEXTS = texts()


def test_texts_are_found() -> None:
    assert len([text for _, text in TEXTS if "headrace run" in text]) > 5


@pytest.mark.parametrize(("place", "text"), [each for each in TEXTS if _COMMAND.search(each[1])])
def test_a_command_that_is_named_is_there_with_its_options(place: str, text: str) -> None:
    for name, rest in _COMMAND.findall(text):
        if name in PROSE:
            continue
        assert name in COMMANDS, f"{place}: headrace {name}"
        assert set(_OPTION.findall(rest)) <= COMMANDS[name], f"{place}: headrace {name}{rest}"


@pytest.mark.parametrize(("place", "text"), [each for each in TEXTS if _OPTION.search(each[1])])
def test_an_option_that_is_named_is_there(place: str, text: str) -> None:
    assert set(_OPTION.findall(text)) <= EVERY | OTHERS, f"{place}: {text}"
