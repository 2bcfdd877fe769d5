"""Digests of users' code: an edit of anything that is used changes them, and nothing else does."""

import sys
from functools import partial
from importlib import import_module
from types import ModuleType

import polars as pl
import pytest

from headrace.user_code import code_digest

SYSTEM = """
from .shaping import doubled
from . import words

FACTOR = 2

def helper(frame):
    return doubled(frame, FACTOR)

def prepared(frame):
    return helper(frame) if words.GREETING else frame

def unused(frame):
    return frame
"""
FILES = {"system.py": SYSTEM, "shaping.py": "def doubled(frame, by):\n    return frame * by\n"}
FILES |= {"words.py": "from .deep import WORD\nGREETING = WORD\n", "deep.py": "WORD = 'hello'\n", "apart.py": "X = 1\n"}


def digest(folder, **edits):
    folder.mkdir()
    for name, text in FILES.items():
        before, after = edits.get(name.removesuffix(".py"), ("", ""))
        (folder / name).write_text(text.replace(before, after) if before else text)
    package = ModuleType(f"_headrace_system_{folder.name}")  # as `load_system` does
    package.__path__ = [str(folder)]
    sys.modules[package.__name__] = package
    return code_digest(import_module(f"{package.__name__}.system").prepared)


@pytest.fixture(autouse=True)
def forgotten():
    yield
    for name in [name for name in sys.modules if name.startswith("_headrace_system_")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("file", "edit"),
    [
        ("system", ("words.GREETING", "not words.GREETING")),
        ("system", ("FACTOR = 2", "FACTOR = 3")),
        ("system", ("doubled(frame, FACTOR)", "doubled(frame, FACTOR + 1)")),
        ("shaping", ("frame * by", "frame + by")),
        ("words", ("GREETING = WORD", "GREETING = WORD * 2")),
    ],
)
def test_an_edit_of_what_is_used_changes_the_digest(tmp_path, file, edit):
    assert digest(tmp_path / "one") != digest(tmp_path / "two", **{file: edit})


@pytest.mark.parametrize(
    ("file", "edit"),
    [
        ("system", ("def unused(frame):\n    return frame", "def unused(frame):\n    return None")),
        ("apart", ("X = 1", "X = 2")),
    ],
)
def test_an_edit_of_something_else_does_not(tmp_path, file, edit):
    assert digest(tmp_path / "one") == digest(tmp_path / "two", **{file: edit})


def test_a_folder_may_be_moved(tmp_path):
    assert digest(tmp_path / "here") == digest(tmp_path / "there")


def test_what_is_closed_over_and_bound_counts():
    def maker(by):
        return lambda frame: frame * by

    class Table:
        def __init__(self, frame):
            self.frame = frame

        def __call__(self, frame):
            return frame.join(self.frame, on="x")

    assert code_digest(maker(1)) != code_digest(maker(2))
    assert code_digest(maker(1)) == code_digest(maker(1))
    frames = [pl.DataFrame({"x": [*range(30), last]}) for last in (0, 0, 1)]
    one, same, other = (code_digest(Table(frame)) for frame in frames)
    assert one == same != other
    assert code_digest(partial(maker, by=[1, 2])) != code_digest(partial(maker, by=[1, 3]))


def test_a_compiled_module_beside_the_system_counts_by_its_bytes(tmp_path, monkeypatch):
    compiled = ModuleType("quick_shapes")
    compiled.__file__ = str(tmp_path / "quick_shapes.so")
    monkeypatch.setitem(sys.modules, "quick_shapes", compiled)
    names = {"quick_shapes": compiled}
    exec("def prepared(frame):\n    return quick_shapes.doubled(frame)", names)
    digests = set()
    for content in (b"\x7fELF\x96\xff", b"\x7fELF\x96\xfe"):
        (tmp_path / "quick_shapes.so").write_bytes(content)
        digests.add(code_digest(names["prepared"]))
    assert len(digests) == 2
