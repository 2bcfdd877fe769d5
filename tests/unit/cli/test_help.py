"""Every help fits a terminal of 80 columns: no line is longer, no sentence is cut, each command has its place."""

from __future__ import annotations

import re

import pytest
import typer
from tests.commands import headrace

from headrace.cli import app
from headrace.cli.contents import CONTENTS, brief

MAIN = typer.main.get_command(app)
NAMES = sorted(MAIN.commands)
METAVARS = re.compile(r"\[[A-Z]+\]\.\.\.|=value&\.\.\.")


@pytest.fixture(autouse=True)
def terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def fits(text):
    for line in text.splitlines():
        assert len(line) <= 80, line
        assert "..." not in METAVARS.sub("", line), line


def test_the_table_of_contents_has_every_command_once():
    listed = [name for names in CONTENTS.values() for name in names]
    assert sorted(listed) == sorted({name for name in NAMES if " " not in name})
    text = headrace("--help").out
    fits(text)
    for name in listed:
        assert re.search(rf"^  {name} +{re.escape(brief(MAIN.commands[name]))}$", text, re.MULTILINE), name


@pytest.mark.parametrize("name", NAMES)
def test_the_help_of_each_command_fits(name):
    text = headrace(*name.split(), "--help").out
    fits(text)
    others = [each for each in NAMES if each.startswith(f"{name} ")]
    assert all(each in text for each in others)


@pytest.mark.parametrize("name", NAMES)
def test_the_first_sentence_of_each_command_is_short(name):
    assert len(brief(MAIN.commands[name])) <= 56
    for parameter in MAIN.commands[name].params:
        assert len(getattr(parameter, "help", None) or "") <= 64, parameter.name
