"""The examples in docstrings hold, and each model that people declare has one."""

from __future__ import annotations

import doctest
import inspect
from importlib import import_module
from pathlib import Path

import pytest

import headrace
from headrace import models

ROOT = Path(headrace.__file__).parent
WITH_EXAMPLES = sorted(
    path
    for path in ROOT.rglob("*.py")
    if path.relative_to(ROOT).parts[0] != "api"  # these have a test that gives them a home
    and ">>>" in path.read_text(encoding="utf-8")
)


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("name", [_module(path) for path in WITH_EXAMPLES])
def test_the_examples_hold(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, report = import_module(name), list[str]()
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in doctest.DocTestFinder().find(module):
        runner.run(test, out=report.append)
    assert runner.tries, "no example is found"
    assert not runner.failures, "\n".join(report)


@pytest.mark.parametrize("name", sorted(set(models.__all__) - {"Model"}))
def test_each_kind_that_people_declare_has_an_example(name: str) -> None:
    assert ">>>" in (inspect.getdoc(getattr(models, name)) or "")
