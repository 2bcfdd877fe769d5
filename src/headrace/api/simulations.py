"""Policies that are tried over the past: how they are named, and what they gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from headrace.errors import ConfigError, UsageError
from headrace.flow.simulated import errors_over_time, frame_of
from headrace.pipelines.configured import Reference, configured

if TYPE_CHECKING:
    import polars as pl

    from headrace.flow.simulate import Policy
    from headrace.flow.simulated import Simulated
    from headrace.home import Home
    from headrace.system import System

Policies = Sequence[str | Path] | Mapping[str, Mapping[str, Any]]
"""Files of policies, or what each of them says by its name."""
DECLARED = "declared"
_NEVER = "never"


@dataclass(frozen=True, repr=False)
class Simulations(Sequence["Simulated"]):
    """What each policy gave, in the order in which they were named; those beside them last.

    Attributes:
        system: The system's name.
        tried: One for each policy.
    """

    system: str
    tried: Sequence[Simulated]

    def __repr__(self) -> str:
        names, runs = [one.policy for one in self.tried], [one.done.runs for one in self.tried]
        return f"Simulations({self.system!r}, policies={names}, runs={runs})"

    def __len__(self) -> int:
        return len(self.tried)

    @overload
    def __getitem__(self, place: int) -> Simulated: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Simulated]: ...

    def __getitem__(self, place: int | slice) -> Simulated | Sequence[Simulated]:
        return self.tried[place]

    def _repr_html_(self) -> str:
        from headrace.api.html import table

        return table(f"{self.system}: policies over the past", self.frame().to_dicts())

    def frame(self) -> pl.DataFrame:
        """A row for each policy: its errors beside the best baseline's, what it did, and what it took.

        >>> tried = s.simulate("2023-01-20T16:00:00Z", "2023-01-20T20:00:00Z", "2h", workers=1)
        >>> tried.frame()["retrainings"].to_list()
        [0]
        """
        return frame_of(self.tried)

    def over_time(self, metric: str = "wape") -> pl.DataFrame:
        """A column for each policy: an error by the time of the truth, oldest first."""
        return errors_over_time(self.tried, metric)

    def as_dict(self) -> list[dict[str, Any]]:
        """What ``headrace simulate --compare --json`` says: a document for each policy."""
        return [one.as_dict() for one in self.tried]


def policies_of(
    reference: Reference, home: Home, as_of: datetime, *, compare: Policies = (), beside: Sequence[Any] | str = ()
) -> list[Policy]:
    """The policies that are meant, each with the configuration that a search had found for it by a time.

    Args:
        reference: How the system is loaded, with its settings.
        home: Where configurations are.
        as_of: Only what was found by then.
        compare: See `BoundSystem.simulate`.
        beside: See there.

    Raises:
        UsageError: A file is not there, is said twice, or a calendar is none.
        ConfigError: A policy has a mistake; says which.
    """
    from headrace.flow.simulate import Policy

    named = _named(compare)
    policies = [_policy(reference, home, as_of, name, values) for name, values in named.items()]
    if not policies:
        policies = [Policy(DECLARED, configured(reference, reference.load(), home, as_of), reference)]
    calendars = beside.split(",") if isinstance(beside, str) else beside
    for calendar in calendars:
        if isinstance(calendar, str) and not calendar.strip():
            continue
        name, values = _calendar(calendar, policies[0].system)
        policies.append(_policy(reference, home, as_of, name, values))
    names = [policy.name for policy in policies]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"the policy {name} is named twice", where="compare", hint="give each a name of its own")
    return policies


def _named(compare: Policies) -> dict[str, Mapping[str, Any]]:
    """What each policy says, by its name: that of its file, with the folder where two have the same."""
    from headrace.config import read_config

    if isinstance(compare, Mapping):
        return dict(compare)
    paths = [Path(path) for path in compare]
    stems = [path.stem for path in paths]
    named: dict[str, Mapping[str, Any]] = {}
    for path in paths:
        if not path.is_file():
            hint = "a policy is a file as config.yaml is: schedule and monitoring by their fields"
            raise UsageError("there is no such file", where=str(path), hint=hint)
        name = path.stem if stems.count(path.stem) == 1 else str(path)
        if name in named:
            raise UsageError("is named twice", where=str(path), hint="compare two files")
        named[name] = read_config(path)
    return named


def _calendar(calendar: str | timedelta, system: System) -> tuple[str, dict[str, Any]]:
    """A policy that trains by the calendar alone."""
    from headrace.api.times import duration_of
    from headrace.declaration import format_duration

    text = calendar.strip() if isinstance(calendar, str) else calendar
    length = None if text == _NEVER else duration_of(text, "beside")
    if length is not None and length <= timedelta():
        raise UsageError(f"{text!r} is no time at all", where="beside", hint="never, 1d, 7d")
    train = _NEVER if length is None else format_duration(length)
    bare: dict[str, Any] = {"rules": []} if "rules" in type(system.monitoring).model_fields else {}
    values: dict[str, Any] = {"schedule": {"train": train, "retrain": []}, **({"monitoring": bare} if bare else {})}
    return ("never again" if length is None else f"every {train}"), values


def _policy(reference: Reference, home: Home, as_of: datetime, name: str, values: Mapping[str, Any]) -> Policy:
    """The system with what a policy says over everything else."""
    import yaml

    from headrace.flow.simulate import Policy

    texts = [
        f"{field}={yaml.safe_dump(value, default_flow_style=True, width=1_000_000)}" for field, value in values.items()
    ]
    over = Reference(reference.system, (*reference.settings, *texts))
    try:
        return Policy(name, configured(over, over.load(), home, as_of), over)
    except ConfigError as error:
        raise ConfigError(error.message, where=f"{name}: {error.where}", hint=error.hint) from error
