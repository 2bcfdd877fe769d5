"""Which versions score beside the champion: shadows, and canaries that answer a share of the keys in its place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.errors import DeclarationError, HeadraceError, NotFoundError, UsageError
from headrace.home import Home
from headrace.system import System
from headrace.tasks import task_of

if TYPE_CHECKING:
    from headrace.serving.http.options import Options


@dataclass(frozen=True)
class Beside:
    """Versions of one system beside its champion.

    Attributes:
        shadows: Asked of everything that is answered, and not answered with.
        canary: The version that answers a share of the keys; None: there is none.
        share: From 0 to 1.
    """

    shadows: tuple[int, ...] = ()
    canary: int | None = None
    share: float = 0.0


def beside(options: Options, systems: Sequence[System]) -> dict[str, Beside]:
    """What the options say, by system; only those of which they say something.

    Raises:
        UsageError: An option is not written as it should be, or asks for what cannot be.
    """
    names = [system.name for system in systems]
    versions: dict[str, Beside] = {}
    for text in options.shadow:
        name, rest = _parted(text, names, "--shadow", 1)
        known = versions.get(name, Beside())
        number = _number(rest[0], text, "--shadow")
        versions[name] = Beside(tuple(dict.fromkeys([*known.shadows, number])), known.canary, known.share)
    for text in options.canary:
        name, rest = _parted(text, names, "--canary", 2)
        known = versions.get(name, Beside())
        if known.canary is not None:
            raise UsageError(f"{name} has two canaries", where="--canary", hint="one version takes a share")
        versions[name] = Beside(known.shadows, _number(rest[0], text, "--canary"), _share(rest[1], text))
    _refuse(versions, systems, logged=options.logged)
    return versions


def _refuse(versions: dict[str, Beside], systems: Iterable[System], *, logged: bool) -> None:
    for system in systems:
        versions_of = versions.get(system.name)
        if versions_of is None:
            continue
        if versions_of.canary is not None and not task_of(system).splits:
            message = (
                f"{system.name} answers events: the series of one body could be two versions', and it is kept whole"
            )
            hint = "--shadow VERSION has it score every event beside, and ?version= asks it"
            raise UsageError(message, where="--canary", hint=hint)
        if versions_of.shadows and not logged:
            hint = "a shadow reads what was logged: leave out --unlogged"
            raise UsageError("nothing is logged", where="--shadow", hint=hint)


def refuse_missing(found: dict[str, Beside], systems: Iterable[System], home: Home) -> None:
    """Refuse versions that there are not, and shadows of what answers nothing. Where the registry is away, `/ready`
    will tell.

    Raises:
        NotFoundError: There is no such version; says which there are.
        UsageError: The system answers no events.
    """
    for system in systems:
        if system.name in found and task_of(system).stateful:
            try:
                system.event_shape(home.grid(system))
            except DeclarationError as error:
                message = f"{system.name} answers no events: {error.message}"
                raise UsageError(message, where="--shadow") from error
    for name, settings in found.items():
        for number in (*settings.shadows, *(() if settings.canary is None else (settings.canary,))):
            try:
                home.registry.get(name, number)
            except NotFoundError:
                raise
            except HeadraceError:
                return


def _parted(text: str, names: Sequence[str], where: str, parts: int) -> tuple[str, list[str]]:
    """The system and what is said of it; without a name the only one is meant."""
    found = text.split("=")
    written = "VERSION" if parts == 1 else "VERSION=SHARE"
    if len(found) == parts and len(names) == 1:
        return names[0], found
    if len(found) != parts + 1:
        form = written if len(names) == 1 else f"SYSTEM={written}"
        raise UsageError(f"{text!r} is not {form}", where=where)
    if found[0] not in names:
        raise UsageError(f"{found[0]!r} is not served here", where=where, hint=f"there are: {', '.join(names)}")
    return found[0], found[1:]


def _number(text: str, option: str, where: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:9]) > 0 and len(text) <= 9):
        raise UsageError(f"{text!r} in {option!r} is not the number of a version", where=where)
    return int(text)


def _share(text: str, option: str) -> float:
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        hint = "write 0.05 or 5%"
        raise UsageError(f"{text!r} in {option!r} is no share from 0 to 1", where="--canary", hint=hint)
    return share
