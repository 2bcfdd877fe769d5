"""Groups of entry points: built-in names first, packages by name, and whatever is wrong with one is said."""

import pytest

from headrace.errors import PluginError
from headrace.plugins import Group, Plugin

BUILTIN = {"plain": "headrace.plugins:Plugin"}


@pytest.fixture
def group(distribution):
    distribution("acme", "1.2", {"headrace.examples": {"warm": "acme_parts:WARM", "broken": "acme_absent:X"}})
    (distribution.folder / "acme_parts.py").write_text("WARM = 42\n")
    return Group("headrace.examples", BUILTIN)


def test_what_a_package_adds_is_found_by_name(group):
    assert group.load("warm") == 42
    assert group.load("plain") is Plugin
    assert group.load("cold") is None
    assert group.names() == ("plain", "broken", "warm")
    assert group.added()[1] == Plugin("warm", "acme_parts:WARM", "acme 1.2")


def test_one_that_cannot_be_imported_names_its_package(group):
    with pytest.raises(PluginError) as error:
        group.load("broken")
    assert error.value.where == "headrace.examples: broken = acme_absent:X"
    assert error.value.hint == "it comes with acme 1.2"
    assert "ModuleNotFoundError" in error.value.message


def test_two_packages_of_one_name_are_refused(group, distribution):
    distribution("globex", "3", {"headrace.examples": {"warm": "acme_parts:COLD"}})
    with pytest.raises(PluginError, match=r"acme 1\.2, globex 3 each bring one"):
        Group("headrace.examples", BUILTIN).load("warm")


def test_a_builtin_name_needs_no_look_at_packages(monkeypatch):
    monkeypatch.setattr("headrace.plugins.entry_points", lambda **_: pytest.fail("looked"))
    assert Group("headrace.examples", BUILTIN).load("plain") is Plugin
