"""Find a system by folder, name or entry point, and load it with its configuration."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import types
from collections.abc import Sequence
from functools import lru_cache, partial
from importlib.metadata import entry_points
from pathlib import Path

from headrace.config import nested, override, parse_setting, read_config, together
from headrace.errors import DeclarationError, HeadraceError, NotFoundError
from headrace.system import System

ENTRY_POINTS = "headrace.systems"


def load_system(reference: str, settings: Sequence[str] = ()) -> System:
    """The system that `reference` names, with `config.yaml` and then `settings` applied.

    Args:
        reference: A folder that holds `system.py`, a name found as ``systems/NAME`` below the current folder, or an
            installed entry point of the group ``headrace.systems``.
        settings: ``PATH=VALUE`` texts, later ones win.

    Raises:
        NotFoundError: There is no such system.
        DeclarationError: `system.py` has a mistake.
        ConfigError: `config.yaml` or a setting has one.
    """
    for folder in (Path(reference), Path("systems") / reference):
        if (folder / "system.py").is_file():
            reference = str(folder.resolve())
            system = _from_folder(folder.resolve())
            break
    else:
        system = _from_entry_point(reference)
    folder = system.folder
    changes = [read_config(folder / "config.yaml"), *(nested(*parse_setting(each)) for each in settings)]
    for change in together(changes):
        system = override(system, change)
    return system.at(folder, partial(again, reference, tuple(settings), system.config_digest))


@lru_cache(maxsize=8)
def again(reference: str, settings: tuple[str, ...], digest: str) -> System:
    """A system that another process loaded, in this one.

    Raises:
        DeclarationError: Its declaration has changed since then.
    """
    system = load_system(reference, settings)
    if system.config_digest != digest:
        hint = "repeat the command: it goes on from where it was"
        raise DeclarationError("the declaration changed while a command used it", where=reference, hint=hint)
    return system


def _from_folder(folder: Path) -> System:
    """Load `system.py` as a module of a package of its own, so that ``from .features import x`` works in it."""
    digest = hashlib.blake2s(str(folder).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
    package = f"_headrace_system_{folder.name}_{digest}"  # the same in every process
    module = types.ModuleType(package)
    module.__path__ = [str(folder)]
    sys.modules[package] = module
    name = f"{package}.system"
    spec = importlib.util.spec_from_file_location(name, folder / "system.py")
    if spec is None or spec.loader is None:
        raise NotFoundError("cannot be loaded", where=str(folder / "system.py"))
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded
    try:
        spec.loader.exec_module(loaded)
    except HeadraceError:
        raise
    except Exception as error:  # whatever a user's file raises is a mistake in that file
        raise DeclarationError(f"{type(error).__name__}: {error}", where=str(folder / "system.py")) from error
    return _the_system(loaded, str(folder / "system.py")).at(folder)


def _from_entry_point(reference: str) -> System:
    for entry in entry_points(group=ENTRY_POINTS):
        if entry.name == reference:
            try:
                loaded = entry.load()
            except HeadraceError:
                raise
            except Exception as error:  # whatever another package raises is a mistake in that package
                raise DeclarationError(f"{type(error).__name__}: {error}", where=entry.value) from error
            system = loaded if isinstance(loaded, System) else _the_system(loaded, entry.value)
            file = getattr(sys.modules.get(entry.module), "__file__", None)
            return system.at(Path(file).parent) if file else system
    near = sorted(path.parent.name for path in Path("systems").glob("*/system.py"))
    raise NotFoundError(
        f"no system {reference!r}: neither a folder with system.py, nor systems/{reference}, nor installed",
        hint=f"systems here: {', '.join(near)}" if near else "make one with `headrace init NAME`",
    )


def _the_system(module: object, where: str) -> System:
    system = getattr(module, "system", None)
    if not isinstance(system, System):
        raise DeclarationError("it must define `system = System(...)`", where=where)
    return system
