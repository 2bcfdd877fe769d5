"""Find a system by folder, name or entry point, and load it with its configuration."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import types
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.metadata import entry_points
from pathlib import Path

from headrace.config import nested, override, parse_setting, read_config, together
from headrace.declaration import Tuned
from headrace.errors import DeclarationError, HeadraceError, NotFoundError
from headrace.feature_system import FeatureSystem
from headrace.system import System

ENTRY_POINTS = "headrace.systems"


@dataclass(frozen=True)
class Overrides:
    """What a search found: texts ``PATH=VALUE`` over ``config.yaml`` and under ``--set``, and which it is."""

    settings: tuple[str, ...]
    tuned: Tuned


def load_system(reference: str, settings: Sequence[str] = (), overrides: Overrides | None = None) -> System:
    """The system with a model that `reference` names; see `load`.

    Raises:
        DeclarationError: It has none: it is one of features.
    """
    system = load(reference, settings, overrides)
    if isinstance(system, FeatureSystem):
        hint = f"headrace materialize {reference} computes them"
        raise DeclarationError("declares features of events, and no model", where=reference, hint=hint)
    return system


def load_features(reference: str, settings: Sequence[str] = ()) -> FeatureSystem:
    """The system of features that `reference` names; see `load`.

    Raises:
        DeclarationError: It has a model.
    """
    system = load(reference, settings)
    if isinstance(system, System):
        hint = "declare `system = FeatureSystem(...)`; headrace run and headrace stream are for systems with a model"
        raise DeclarationError("declares a model, and no features of events", where=reference, hint=hint)
    return system


def load(reference: str, settings: Sequence[str] = (), overrides: Overrides | None = None) -> System | FeatureSystem:
    """The system that `reference` names, with `config.yaml` and then `settings` applied.

    Args:
        reference: A folder that holds `system.py`, a name found as ``systems/NAME`` below the current folder, or an
            installed entry point of the group ``headrace.systems``.
        settings: ``PATH=VALUE`` texts, later ones win.
        overrides: What a search found, between the two.

    Raises:
        NotFoundError: There is no such system.
        DeclarationError: `system.py` has a mistake.
        ConfigError: `config.yaml` or a setting has one.
    """
    for folder in (Path(reference), Path("systems") / reference):
        if (folder / "system.py").is_file():
            reference = str(folder.resolve())
            system: System | FeatureSystem = _from_folder(folder.resolve())
            break
    else:
        system = _from_entry_point(reference)
    folder = system.folder
    texts = (*(overrides.settings if overrides else ()), *settings)
    changes = [read_config(folder / "config.yaml"), *(nested(*parse_setting(text)) for text in texts)]
    for change in together(changes):
        system = override(system, change)
    system = system if overrides is None else system.with_tuned(overrides.tuned)
    return system.at(folder, partial(again, reference, tuple(settings), system.config_digest, overrides))


def installed() -> list[str]:
    """Names of the installed systems, sorted; none of them is loaded."""
    return sorted({entry.name for entry in entry_points(group=ENTRY_POINTS)})


def folder_of(name: str) -> Path | None:
    """The folder of an installed system; None where there is none of this name. Its code is not run."""
    for entry in entry_points(group=ENTRY_POINTS, name=name):
        spec = importlib.util.find_spec(entry.module)
        if spec is not None and spec.origin is not None:
            return Path(spec.origin).parent
    return None


def adjusted(system: System, settings: Sequence[str], overrides: Overrides | None = None) -> System:
    """A system that was made in a program, with ``PATH=VALUE`` texts applied; itself where there is none.

    Raises:
        ConfigError: A setting has a mistake.
    """
    texts = (*(overrides.settings if overrides else ()), *settings)
    for change in together([nested(*parse_setting(text)) for text in texts]):
        system = override(system, change)
    return system if overrides is None else system.with_tuned(overrides.tuned)


@lru_cache(maxsize=8)
def again(
    reference: str, settings: tuple[str, ...], digest: str, overrides: Overrides | None = None
) -> System | FeatureSystem:
    """A system that another process loaded, in this one.

    Raises:
        DeclarationError: Its declaration has changed since then.
    """
    system = load(reference, settings, overrides)
    if system.config_digest != digest:
        hint = "repeat the command: it goes on from where it was"
        raise DeclarationError("the declaration changed while a command used it", where=reference, hint=hint)
    return system


def _from_folder(folder: Path) -> System | FeatureSystem:
    """Load `system.py` as a module of a package of its own, so that ``from .features import x`` works in it."""
    digest = hashlib.blake2s(str(folder).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
    package = f"_headrace_system_{folder.name}_{digest}"  # the same in every process
    module = types.ModuleType(package)
    module.__path__ = [str(folder)]
    vars(module)["code_digest"] = _code_digest(folder)
    before = sys.modules.get(package)
    if before is not None and before.code_digest != module.code_digest:  # edited since: nothing of it is what it was
        for stale in [module for module in sys.modules if module.startswith(f"{package}.")]:
            del sys.modules[stale]
    sys.modules[package] = module
    name = f"{package}.system"
    spec = importlib.util.spec_from_file_location(name, folder / "system.py")
    if spec is None or spec.loader is None:
        raise NotFoundError("cannot be loaded", where=str(folder / "system.py"))
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded
    try:
        spec.loader.exec_module(loaded)
    except DeclarationError as error:
        part = getattr(error.__cause__, "title", None)
        if part is None or error.where is None or not error.where.startswith(part):
            raise
        where = f"{folder / 'system.py'}: {error.where}"  # a part of the system, such as its model
        raise DeclarationError(error.message, where=where, hint=error.hint) from error
    except HeadraceError:
        raise
    except Exception as error:  # whatever a user's file raises is a mistake in that file
        raise DeclarationError(f"{type(error).__name__}: {error}", where=str(folder / "system.py")) from error
    return _the_system(loaded, str(folder / "system.py")).at(folder)


def _code_digest(folder: Path) -> str:
    """Digest of the folder's code."""
    digest = hashlib.blake2s()
    for file in sorted(folder.rglob("*.py")):
        digest.update(str(file.relative_to(folder)).encode("utf-8", "surrogateescape") + file.read_bytes())
    return digest.hexdigest()


def _from_entry_point(reference: str) -> System | FeatureSystem:
    for entry in entry_points(group=ENTRY_POINTS):
        if entry.name == reference:
            try:
                loaded = entry.load()
            except HeadraceError:
                raise
            except Exception as error:  # whatever another package raises is a mistake in that package
                raise DeclarationError(f"{type(error).__name__}: {error}", where=entry.value) from error
            system = loaded if isinstance(loaded, System | FeatureSystem) else _the_system(loaded, entry.value)
            file = getattr(sys.modules.get(entry.module), "__file__", None)
            return system.at(Path(file).parent) if file else system
    near = sorted(path.parent.name for path in Path("systems").glob("*/system.py"))
    raise NotFoundError(
        f"no system {reference!r}: neither a folder with system.py, nor systems/{reference}, nor installed",
        hint=f"systems here: {', '.join(near)}" if near else "make one with `headrace init NAME`",
    )


def _the_system(module: object, where: str) -> System | FeatureSystem:
    system = getattr(module, "system", None)
    if not isinstance(system, System | FeatureSystem):
        raise DeclarationError("it must define `system = System(...)`", where=where)
    return system
