"""Fitted objects in a model's files, together with the code of yours that they are of.

A pickle only names classes and functions. What lies beside `system.py` is stored with it and read from there, so an
edited or deleted file changes no model that is there already. Other modules of yours are stored as digests: an edited
one is refused. A pickle runs what it holds: only files whose digest the registry has checked come here.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import io
import json
import pickle
import sys
import sysconfig
import types
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from typing import Any

from headrace.errors import ArtefactError
from headrace.models import volatile

RESTORING: ContextVar[bool] = ContextVar("restoring", default=False)
"""Whether code of a model's files is being run: then files that a declaration names need not be there."""
_SYSTEM, _STORED = "_headrace_system_", "_headrace_code_"
_PICKLE, _CODE, _MODULES = "object.pickle", "code", "modules.json"
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


@dataclass(frozen=True)
class Pickled:
    """An object as it was at one moment: what it picks up later, as while it predicts, is not in it.

    Attributes:
        content: The bytes.
        modules: The modules of all classes and functions that they name.
    """

    content: bytes
    modules: frozenset[str]


def pickled(thing: Any, name: str = "") -> Pickled:
    """An object as it is now, without what is volatile in it: equal fits give equal bytes.

    Args:
        thing: What is kept.
        name: What it is called in an error.

    Raises:
        ArtefactError: It cannot be pickled.
    """
    return Pickled(*_pickled(thing, "model", name))


def save(thing: Any, folder: Path) -> None:
    """Write an object, or what `pickled` kept of it, into a folder, with the code beside `system.py` that it needs.

    Raises:
        ArtefactError: It cannot be pickled.
    """
    folder.mkdir()
    stored = thing if isinstance(thing, Pickled) else Pickled(*_pickled(thing, str(folder)))
    (folder / _PICKLE).write_bytes(stored.content)
    others = {}
    for name in sorted(stored.modules):
        if name.startswith((_SYSTEM, _STORED)):
            for module in _closure(name):
                _store(module, folder / _CODE)
        elif (file := _own_file(name)) is not None:
            others[name] = _digest(file)
    if others:
        (folder / _MODULES).write_text(json.dumps(others, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def load(folder: Path) -> Any:
    """Read what `save` wrote, by the code that it was saved with.

    Raises:
        ArtefactError: A library or module that it needs is missing or another one, or the file is damaged.
    """
    hint = "install the versions it was trained with, or train again"
    try:
        if (folder / _MODULES).exists():
            _refuse_edited(json.loads((folder / _MODULES).read_text(encoding="utf-8")), str(folder))
        code = folder / _CODE
        package = _package(code) if code.is_dir() else None
        return _Unpickler(io.BytesIO((folder / _PICKLE).read_bytes()), package).load()
    except (pickle.UnpicklingError, ImportError, AttributeError, EOFError, TypeError, OSError, ValueError) as error:
        raise ArtefactError(f"cannot be read: {error}", where=str(folder), hint=hint) from error


def _pickled(value: Any, where: str, name: str = "") -> tuple[bytes, frozenset[str]]:
    import cloudpickle

    modules: set[str] = set()

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        """Notes what is named; what was typed at a prompt goes in as a whole."""

        def reducer_override(self, obj: Any) -> Any:
            """How an object is pickled: functions and classes by cloudpickle, objects without what is volatile."""
            parts = super().reducer_override(obj)
            if isinstance(obj, type):
                return volatile.unnumbered(parts)
            if parts is not NotImplemented or isinstance(obj, types.FunctionType) or type(obj) in self.dispatch_table:
                return parts
            return volatile.reduced(obj)

        def persistent_id(self, obj: Any) -> tuple[Any, ...] | None:
            """The module within a system's folder, and the name there; a set of texts; None for anything else."""
            if not isinstance(obj, type | types.FunctionType):
                return volatile.set_id(obj)
            modules.add(obj.__module__ or "")
            package, _, inner = (obj.__module__ or "").partition(".")
            if not package.startswith((_SYSTEM, _STORED)) or "<" in obj.__qualname__:
                return None
            return inner, obj.__qualname__

    buffer = io.BytesIO()
    try:
        Pickler(buffer, protocol=5).dump(value)
    except Exception as error:  # a user's own object may raise anything
        hint = "leave out what cannot be pickled, or make it in fit"
        message = f"{name} cannot be stored: {type(error).__name__}: {error}".lstrip()
        raise ArtefactError(message, where=where, hint=hint) from error
    return buffer.getvalue(), frozenset(modules)


class _Unpickler(pickle.Unpickler):
    """Reads names of a system's folder from the code that is stored."""

    def __init__(self, file: io.BytesIO, package: str | None) -> None:
        super().__init__(file)
        self._package = package

    def persistent_load(self, pid: tuple[Any, ...]) -> Any:
        """What a name of a system's folder meant when it was stored, or a set."""
        if pid[0] == volatile.SET and len(pid) == 3:
            return volatile.set_of((pid[0], pid[1], pid[2]))
        inner, name = pid
        if self._package is None:
            raise pickle.UnpicklingError(f"the code of {inner}.{name} is missing")
        token = RESTORING.set(True)
        try:
            module: Any = importlib.import_module(f"{self._package}.{inner}" if inner else self._package)
        finally:
            RESTORING.reset(token)
        for part in name.split("."):
            module = getattr(module, part)
        return module


class _Loader(SourceFileLoader):
    """Writes no bytecode beside the source: the files of a model must stay as they are."""

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """Nothing is written."""


class _Finder(MetaPathFinder):
    """Finds the modules of stored code."""

    def __init__(self) -> None:
        self.folders: dict[str, Path] = {}

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        """The module of a stored file; None for any other name."""
        package, _, inner = name.partition(".")
        if package not in self.folders or not inner:
            return None
        place = self.folders[package].joinpath(*inner.split("."))
        for file, folder in ((place.with_suffix(".py"), False), (place / "__init__.py", True)):
            if file.is_file():
                folders = [str(place)] if folder else None
                return importlib.util.spec_from_file_location(
                    name, file, loader=_Loader(name, str(file)), submodule_search_locations=folders
                )
        return None


_FINDER = _Finder()


def _package(code: Path) -> str:
    """The name under which stored code is imported: equal code once per process."""
    files = sorted(code.rglob("*.py"))
    text = "".join(f"{file.relative_to(code)} {_digest(file)}\n" for file in files)
    name = _STORED + hashlib.sha256(text.encode()).hexdigest()[:16]
    if name not in sys.modules:
        module = types.ModuleType(name)
        module.__path__ = [str(code)]
        _FINDER.folders[name] = code
        if _FINDER not in sys.meta_path:
            sys.meta_path.append(_FINDER)
        sys.modules[name] = module
    return name


def _closure(name: str) -> Iterator[types.ModuleType]:
    """A module of a system's folder, and those beside it that it imports."""
    package, waiting, visited = name.partition(".")[0], [name], set[str]()
    while waiting:
        name = waiting.pop()
        module = sys.modules.get(name)
        if name in visited or module is None or getattr(module, "__file__", None) is None:
            continue
        visited.add(name)
        yield module
        file = Path(str(module.__file__))
        within = name if file.name == "__init__.py" else name.rpartition(".")[0]
        for imported in _relative_imports(file, within):
            parents = imported.split(".")
            waiting += [".".join(parents[:end]) for end in range(2, len(parents) + 1) if parents[0] == package]


def _relative_imports(file: Path, package: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            parts = package.split(".")
            base = ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _store(module: types.ModuleType, code: Path) -> None:
    file = Path(str(module.__file__))
    inner = module.__name__.split(".")[1:]
    target = code.joinpath(*inner, "__init__.py") if file.name == "__init__.py" else code.joinpath(*inner)
    target = target if target.suffix else target.with_suffix(".py")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(file.read_bytes())


def _own_file(name: str) -> Path | None:
    """The source of a module that is no library's."""
    root = name.partition(".")[0]
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None or root in sys.stdlib_module_names or root in ("headrace", "__main__"):
        return None
    return None if file.startswith(_LIBRARIES) else Path(file)


def _refuse_edited(digests: dict[str, str], where: str) -> None:
    for name, digest in digests.items():
        importlib.import_module(name)
        file = _own_file(name)
        if file is not None and _digest(file) != digest:
            hint = "check out the revision that it was trained with, or train again"
            raise ArtefactError(f"was trained with another {name}, which was edited since", where=where, hint=hint)


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def sources(folder: Path) -> Sequence[Path]:
    """The code that a saved object brings, as paths in its folder."""
    code = folder / _CODE
    return sorted(file.relative_to(folder) for file in code.rglob("*.py")) if code.is_dir() else []
