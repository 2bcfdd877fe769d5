"""Tells hooks what became of model versions, by the registry's log: whoever wrote there, each fact is told."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

from headrace.errors import StoreError
from headrace.files import write_whole
from headrace.home import Home
from headrace.hooks import Calls, PromotedEvent, TrainedEvent
from headrace.registry.history import in_order
from headrace.system import System

_PROMOTIONS = ("promoted", "rolled_back")


def calls_of(system: System, home: Home) -> Calls:
    """The hooks of a system. What is decided from now on is told by `tell_decisions`.

    Raises:
        HookError: A package's hook cannot be loaded, and hooks are strict.
    """
    if home.settings.rehearsal:
        return Calls(system.name, (), None)
    calls = Calls(system.name, system.hooks, strict=home.settings.hooks == "raise")
    if calls.heard and not _mark(home, system).exists():
        facts = home.registry.timeline(system.name).facts
        _write(_mark(home, system), max((fact.order for fact in facts), default=-1))
    return calls


def tell_decisions(system: System, home: Home, calls: Calls, until: datetime | None = None) -> None:
    """Tell hooks what the registry has come to hold since they were told last.

    How far they were told is written down afterwards: what a process dies in between is told again.

    Args:
        system: The declaration.
        home: Where the registry is.
        calls: The hooks.
        until: What counts from a later time on waits; None: nothing does.

    Raises:
        HookError: A hook failed, and hooks are strict.
    """
    if not calls.heard:
        return
    path, timeline = _mark(home, system), home.registry.timeline(system.name)
    position, champion = _read(path), None
    for fact in in_order(timeline.facts):
        version, name = timeline.registered[fact.version], system.name
        new = fact.order > position and (until is None or fact.as_of <= until)
        if fact.event == "registered" and new:
            calls(TrainedEvent(name, fact.as_of, version.version, version.metrics, version.pins))
        elif fact.event in _PROMOTIONS:
            if new:
                calls(PromotedEvent(name, fact.as_of, version.version, champion, fact.reason))
            champion = version.version
    waiting = [fact.order - 1 for fact in timeline.facts if until is not None and fact.as_of > until]
    newest = min(waiting, default=max((fact.order for fact in timeline.facts), default=position))
    if newest > position:
        _write(path, newest)


def _mark(home: Home, system: System) -> Path:
    return home.path / "hooks" / f"{system.name}.json"


def _read(path: Path) -> int:
    try:
        return int(json.loads(path.read_bytes())["told"])
    except FileNotFoundError:
        return -1
    except (ValueError, KeyError, TypeError) as error:
        hint = "delete it: hooks are then told what comes from now on"
        raise StoreError("does not hold how far hooks were told", where=str(path), hint=hint) from error


def _write(path: Path, position: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps({"told": position}).encode())
