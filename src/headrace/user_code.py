"""Digests of code that users bring: of a function, class or object, and of all of theirs that it uses."""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
import sysconfig
import textwrap
import types
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, time, timedelta
from pathlib import Path
from typing import Any

_PLAIN = (str, bytes, int, float, complex, bool, types.NoneType, date, time, timedelta, Path)
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_SYSTEM = "_headrace_system_"
"""So begins the package that a folder with a `system.py` is loaded as."""


def code_digest(thing: Any, length: int = 12) -> str:
    """Hex digest of a user's function, class or object: another one after an edit of anything that it uses.

    It covers the source text of the thing itself, of what it uses from its own module and of whole modules beside
    `system.py`, and plain values such as constants, defaults and attributes. Libraries count by name alone. Neither the
    folder nor the process matters.

    Args:
        thing: What is to be called, or what a model is made of.
        length: Hex digits.

    >>> from functools import partial
    >>> def shift(frame, by=1): return frame
    >>> code_digest(partial(shift, by=2)) == code_digest(partial(shift, by=3))
    False
    """
    walk = _Walk(thing)
    walk.visit(thing, "")
    text = "\0".join(f"{name}\0{source}" for name, source in sorted(walk.texts.items()))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:length]


class _Walk:
    """Collects the texts of what a thing uses.

    Args:
        thing: Whose package is the user's own, wherever it is installed.
    """

    def __init__(self, thing: Any) -> None:
        while isinstance(thing, functools.partial):
            thing = thing.func
        self._root = _root(_module(thing if hasattr(thing, "__module__") else type(thing)))
        self._visited: set[int] = set()
        self._kept: list[Any] = []  # so that no id is given twice
        self.texts: dict[str, str] = {}

    def visit(self, thing: Any, path: str) -> None:
        """Add a thing, called `path` by what uses it."""
        if isinstance(thing, _PLAIN):
            self.texts[path] = repr(thing)
            return
        if id(thing) in self._visited:
            return
        self._visited.add(id(thing))
        self._kept.append(thing)
        if isinstance(thing, types.ModuleType):
            self._visit_module(thing, path)
        elif isinstance(thing, functools.partial):
            self._visit_each({"func": thing.func, "args": thing.args, "keywords": thing.keywords}, path)
        elif isinstance(thing, types.MethodType):
            self._visit_each({"func": thing.__func__, "self": thing.__self__}, path)
        elif isinstance(thing, types.FunctionType | type):
            self._visit_code(thing, path)
        elif isinstance(thing, Mapping):
            self._visit_each({f"[{key!r}]": value for key, value in thing.items()}, path)
        elif isinstance(thing, list | tuple):
            self._visit_each({f"[{place}]": value for place, value in enumerate(thing)}, path)
        elif isinstance(thing, set | frozenset):
            self.texts[path] = repr(sorted(map(repr, thing)))
        else:
            self._visit_object(thing, path)

    def _visit_each(self, members: Mapping[str, Any], path: str) -> None:
        for name, value in members.items():
            self.visit(value, f"{path}.{name}")

    def _visit_module(self, module: types.ModuleType, path: str) -> None:
        name = module.__name__
        if not self._own(name):
            self.texts[path] = f"module {name}"
            return
        file = getattr(module, "__file__", None)
        # A compiled module is no text.
        self.texts[_called(name)] = Path(file).read_text(encoding="utf-8", errors="surrogateescape") if file else ""
        for each, value in vars(module).items():
            if isinstance(value, types.ModuleType) or self._own(_module(value)):
                self.visit(value, f"{_called(name)}.{each}")

    def _visit_code(self, code: types.FunctionType | type, path: str) -> None:
        module = _module(code)
        name = f"{_called(module)}.{code.__qualname__}"
        if not self._own(module):
            self.texts[path] = f"of {name}"
            return
        loaded = sys.modules.get(module)
        if loaded is not None and _root(module).startswith(_SYSTEM) and not module.endswith(".system"):
            self.visit(loaded, path)  # a module beside system.py counts as a whole
        self.texts[name] = _source(code)
        if isinstance(code, type):
            self._visit_each({base.__qualname__: base for base in code.__bases__}, name)
            members = {key: _plain_function(value) for key, value in vars(code).items()}
            self._visit_each({key: value for key, value in members.items() if _written(value)}, name)
            return
        self._visit_each(dict(_used(code)), name)

    def _visit_object(self, value: Any, path: str) -> None:
        kind = type(value)
        if self._own(kind.__module__):
            self.visit(kind, f"{path}.class")
        state = getattr(value, "__dict__", None)
        if state and not _whole(value):
            self.texts[path] = f"{kind.__module__ if not self._own(kind.__module__) else ''}{kind.__qualname__}"
            self._visit_each(state, path)
            return
        text = _value(value)
        self.texts[path] = kind.__qualname__ if " at 0x" in text else text  # an address tells nothing

    def _own(self, module: str) -> bool:
        root = _root(module)
        if root == self._root or root.startswith(_SYSTEM):
            return True
        if root in sys.stdlib_module_names or root == "headrace":
            return False
        file = getattr(sys.modules.get(module), "__file__", None)
        return file is not None and not file.startswith(_LIBRARIES)


def _used(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """What a function reads beside its arguments: globals, what it closes over, and its defaults."""
    for name in sorted(_names(function.__code__)):
        if name in function.__globals__:
            yield name, function.__globals__[name]
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        yield name, cell.cell_contents
    yield "defaults", function.__defaults__ or ()
    yield "keywords", function.__kwdefaults__ or {}


def _names(code: types.CodeType) -> Iterable[str]:
    """The names that code reads, those of functions within it included."""
    names = set(code.co_names)
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            names |= set(_names(const))
    return names


def _source(thing: types.FunctionType | type) -> str:
    try:
        return textwrap.dedent(inspect.getsource(thing))
    except (OSError, TypeError):  # typed at a prompt
        code = getattr(thing, "__code__", None)
        return "" if code is None else f"{code.co_code.hex()} {code.co_names} {code.co_varnames}"


def _plain_function(member: Any) -> Any:
    """The function in a property, a class method or a static method."""
    member = getattr(member, "fget", member)
    return getattr(member, "__func__", member)


def _written(member: Any) -> bool:
    """Whether a member of a class is a function that a person wrote, rather than `dataclass` or another one."""
    return isinstance(member, types.FunctionType) and member.__code__.co_filename != "<string>"


def _whole(value: Any) -> str | None:
    """The method that tells all that a frame, series or array holds: as text they show a part of it only."""
    return next((name for name in ("to_dicts", "tolist", "to_list") if hasattr(value, name)), None)


def _value(value: Any) -> str:
    text = _whole(value)
    return repr(value if text is None else getattr(value, text)())


def _module(value: Any) -> str:
    return getattr(value, "__module__", None) or ""


def _root(module: str) -> str:
    return module.partition(".")[0]


def _called(module: str) -> str:
    """The name of a module, without that of the folder that it is in, which may be moved."""
    return module.partition(".")[2] if module.startswith(_SYSTEM) else module
