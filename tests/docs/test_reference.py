"""The generated reference has everything: no public field, setting or error without a text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from docs._generated import MARK, NAMES, commands, declarations, docstrings, errors, part, python, settings

ROOT = Path(__file__).resolve().parents[2]


def test_every_field_of_a_declaration_is_documented() -> None:
    assert declarations.undocumented() == []


def test_every_setting_is_documented() -> None:
    assert settings.undocumented() == []


def test_every_method_of_a_workspace_is_documented() -> None:
    assert python.undocumented() == []


def test_every_command_is_in_the_table_of_commands() -> None:
    page = (ROOT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    assert [name for name in commands.names() if f"`{name} " not in page and f"`{name}`" not in page] == []


def test_every_error_says_when_it_is_raised_and_what_to_do() -> None:
    assert errors.unexplained() == []


def test_a_field_without_a_text_is_found() -> None:
    class Loud(declarations.Declared):
        """Says nothing of its fields.

        Attributes:
            volume: In decibels.
        """

        volume: int = 1
        pitch: int = 1

    Loud.__module__ = "headrace.system"
    assert [name for name in declarations.undocumented() if name.startswith("Loud.")] == ["Loud.pitch"]


def test_each_part_is_asked_for_by_a_page_and_is_the_same_twice() -> None:
    asked = [name for page in (ROOT / "docs").rglob("*.md") for name in MARK.findall(page.read_text(encoding="utf-8"))]
    assert sorted(asked) == sorted(NAMES)
    assert all(part(name) == part(name) != "" for name in NAMES)


def test_a_part_that_there_is_not_is_refused() -> None:
    with pytest.raises(KeyError, match="a page asks for 'wishes'"):
        part("wishes")


def test_the_reference_has_types_defaults_and_bounds_in_words() -> None:
    page = declarations.declarations()
    assert re.search(r"^\| `keys` \| list of text \| empty \|", page, re.MULTILINE)
    assert re.search(r'^\| `train` \| duration or `"never"` \| `"7d"` \|', page, re.MULTILINE)
    assert re.search(r"^\| `batch` \| whole number; at least 1, at most 100,000 \| `16,000` \|", page, re.MULTILINE)


def test_entries_of_a_section_are_told_apart() -> None:
    class Thing:
        """A thing.

        Attributes:
            a, b: Both
                of them.
            c (int): The third.
        """

    assert docstrings.described(Thing) == {}  # it is none of ours
    text = docstrings.sections(Thing)["Attributes"]
    assert docstrings.entries(text) == {"a": "Both of them.", "b": "Both of them.", "c": "The third."}
