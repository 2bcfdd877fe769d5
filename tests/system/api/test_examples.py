"""The examples in the docstrings of what Python opens, each method's run on one home with a trained model."""

from __future__ import annotations

import doctest
import inspect
from importlib import import_module

import pytest

MODULES = ("opened", "workspace", "checks", "read", "decided", "bound", "simulations", "results", "times")


def test_the_examples_hold(copies, root, monkeypatch):
    monkeypatch.chdir(root)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    report: list[str] = []
    for name in MODULES:
        module = import_module(f"headrace.api.{name}")
        for test in (each for each in doctest.DocTestFinder().find(module) if each.examples):
            system = next(copies)
            test.globs |= {"home": system.workspace, "s": system}
            runner.run(test, out=report.append)
    assert not runner.failures, "\n".join(report)
    assert runner.tries > 30


OWNERS = (
    "opened.OpenHome",
    "workspace.Workspace",
    "checks.CheckedSystem",
    "read.ReadSystem",
    "decided.DecidedSystem",
    "bound.BoundSystem",
)


@pytest.mark.parametrize("name", OWNERS)
def test_every_public_method_has_an_example(name):
    module, _, owner = name.partition(".")
    members = vars(getattr(import_module(f"headrace.api.{module}"), owner))
    public = {n: inspect.getdoc(getattr(m, "func", m)) for n, m in members.items() if not n.startswith("_")}
    without = {n for n, doc in public.items() if ">>>" not in (doc or "")}
    assert without <= {"home", "reading", "now"}
