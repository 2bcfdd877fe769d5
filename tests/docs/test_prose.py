"""What the check of the prose finds, and what it leaves out."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "prose.py"


@pytest.fixture(scope="module")
def prose() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("prose", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["prose"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


LONG = "This sentence of yours goes on " + "and on " * 12 + "to the end."


@pytest.mark.parametrize(
    ("page", "finding"),
    [
        (f"# Title\n\n{LONG}\n", "3: 33 words, at most 25"),
        ("You make a thing.\n\nThe thing is made anew.\n", '3: "anew": write "again"'),
        ("| a | you |\n|---|---|\n| shall | b |\n\nYou read it here.\n", '3: "shall": write "will"'),
        ("A page without a reader. It is short.\n", '1: it never says "you"'),
        ("You " + "say a word " * 4 + "of it.\n", "1: the median sentence has 15 words"),
    ],
)
def test_what_breaks_a_limit_is_found(prose: ModuleType, page: str, finding: str) -> None:
    found = list(prose.findings(page))
    assert any(text.startswith(finding) for text in found), found


@pytest.mark.parametrize(
    "page",
    [
        f"You read this.\n\n```text\n{LONG} anew\n```\n",
        f"You read this.\n\n<!-- {LONG} -->\n",
        f"You read this.\n\n| a |\n|---|\n| {LONG} |\n",
        f"# {LONG}\n\nYou read this.\n",
        "You write `a very long piece of code that counts as one word in any sentence that has it, anew`.\n",
        "You read [a link](https://example.org/a/very/long/address/that/is/no/word).\n",
        "- You read this item.\n- And this one, which is a sentence of its own.\n",
    ],
)
def test_what_is_no_prose_is_left_out(prose: ModuleType, page: str) -> None:
    assert list(prose.findings(page)) == []


def test_sentences_end_where_a_reader_ends_them(prose: ModuleType) -> None:
    page = "You run it. headrace answers: 1.5 s, e.g. now. `code` begins one.\n\nIs it done? Yes.\n"
    assert [sentence.words for sentence in prose.sentences(page)] == [3, 6, 3, 3, 1]
