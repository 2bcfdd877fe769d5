"""What a system declares of its tuning: which settings are searched within which bounds, how, and for how long."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from datetime import timedelta
from math import isfinite
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, ValidationError, field_validator, model_validator

from headrace.declaration import Declared, declaration_error, format_duration, parse_duration
from headrace.errors import DeclarationError

_WIDE = 10_000
"""Columns of one line of YAML that is not folded."""
SamplerName = Literal["tpe", "cmaes", "random", "qmc"]
PrunerName = Literal["auto", "none", "median", "hyperband"]


def _limit(value: object) -> timedelta | None:
    if value is None or value == "never":
        return None
    duration = timedelta(seconds=value) if isinstance(value, int | float) else parse_duration(value)
    if duration <= timedelta():
        raise ValueError(f"{value!r} is no time at all; write never where there is no limit")
    return duration


Limit = Annotated[
    timedelta | None,
    BeforeValidator(_limit),
    PlainSerializer(lambda v: "never" if v is None else format_duration(v), return_type=str, when_used="json"),
]
"""A duration, a number of seconds, or ``"never"``."""


class Conditional(Declared):
    """What every parameter may say.

    Attributes:
        when: Other searched paths to the value, or the list of values, that they must have for this one to count.
    """

    when: Mapping[str, Any] = Field(default_factory=dict)

    def counts(self, chosen: Mapping[str, Any]) -> bool:
        """Whether this parameter is searched, beside values that were chosen already."""
        return all(
            name in chosen and chosen[name] in (wanted if isinstance(wanted, list) else [wanted])
            for name, wanted in self.when.items()
        )


def _bound(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError("is no finite number")
    return value


Bound = Annotated[int | float, BeforeValidator(_bound)]


class Range(Conditional):
    """A number between two bounds, both included: a whole one where both are.

    Attributes:
        low: The least.
        high: The greatest.
        log: Whether its logarithm is searched evenly; without a `step`.
        step: Only multiples of it above `low`.

    >>> Range(low=7, high=63).whole, Range(low=0.01, high=1, log=True).whole
    (True, False)
    """

    low: Bound
    high: Bound
    log: bool = False
    step: Bound | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _check(self) -> Range:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is greater than high {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low {self.low} has no logarithm")
        if self.log and self.step is not None:
            raise ValueError("log and step exclude each other")
        return self

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are tried."""
        return all(isinstance(end, int) for end in (self.low, self.high, self.step or 0))

    @property
    def ends(self) -> Sequence[Any]:
        """Values that show whether a path takes what is searched: the bounds."""
        return self.low, self.high

    @property
    def text(self) -> str:
        """What is tried, in words."""
        return f"{self.low} to {self.high}"

    def holds(self, value: object) -> bool:
        """Whether a value lies within."""
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high


class Choices(Conditional):
    """One of several values, of any kind that ``--set`` takes.

    Attributes:
        choices: The values.
    """

    choices: tuple[Any, ...] = Field(min_length=1)

    @property
    def ends(self) -> Sequence[Any]:
        """All of them."""
        return self.choices

    @property
    def text(self) -> str:
        """What is tried, in words."""
        return ", ".join(map(str, self.choices))

    def holds(self, value: object) -> bool:
        """Whether a value is one of them."""
        return any(type(value) is type(choice) and value == choice for choice in self.choices)


Parameter = Range | Choices
_FIELDS = {*Range.model_fields, *Choices.model_fields}


def _whole(path: str, value: Mapping[str, Any]) -> tuple[str, object]:
    """The path that somebody meant whose parts are keys within one another, and what is searched there."""
    inner = value[next(iter(value))]
    path = f"{path}.{next(iter(value))}"
    if isinstance(inner, Mapping) and inner:
        return (path, inner) if set(inner) & _FIELDS else _whole(path, inner)
    return path, inner if isinstance(inner, list) and inner else {"low": 1, "high": 10}


def _as_set(path: str, searched: object) -> str:
    """What to write on the command line."""
    import yaml

    plain = json.loads(json.dumps({path: searched}, default=str))
    text = yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=_WIDE).strip()
    return f"--set {shlex.quote(f'tuning.space={text}')}; in config.yaml, tuning: {{space: {text}}}"


def _parameter(path: str, value: object) -> Parameter:
    """What is searched at a path; a mistake names the path."""
    where = f"tuning.space.{path}"
    if isinstance(value, Range | Choices):
        return value
    if isinstance(value, list | tuple):
        value = {"choices": value}
    if not isinstance(value, Mapping):
        message = f"neither bounds nor choices (got {value!r})"
        raise DeclarationError(message, where=where, hint="{low: 1, high: 10}, or a list of values")
    if value and not set(value) & _FIELDS:  # the path was split at its dots
        message = f"a path is one key, dots and all (got {value!r})"
        raise DeclarationError(message, where=where, hint=_as_set(*_whole(path, value)))
    try:
        return (Choices if "choices" in value else Range).model_validate(value)
    except ValidationError as error:
        raise declaration_error(error, where) from None  # its path is whole: nobody has to find it from the cause


class Tuning(Declared):
    """How better settings are searched; `headrace tune` does it.

    Attributes:
        space: Paths, as ``--set`` takes them, to what is tried: ``{low, high, log, step}``, ``{choices}``, or a list.
        sampler: Who proposes: ``tpe``, ``cmaes`` where all are numbers, ``random``, or ``qmc``.
        pruner: What ends a trial that is worse than others after as many folds: ``median``, ``hyperband``, ``none``;
            ``auto`` is none under five folds, and otherwise the median.
        trials: So many are completed, in all commands together that work on the same study.
        timeout: No trial begins after this time.
        patience: Stop after so many completed trials without a better one. None: never.
        seed: Of the sampler. With one worker the same seed tries the same.
        workers: Processes. None: one a core.

    >>> tuning = Tuning(space={"model.members.linear.C": {"low": 0.01, "high": 10, "log": True}}, trials=20)
    >>> tuning.space["model.members.linear.C"].ends
    (0.01, 10)
    """

    space: Mapping[str, Parameter] = Field(default_factory=dict)
    sampler: SamplerName = "tpe"
    pruner: PrunerName = "auto"
    trials: int = Field(default=40, ge=1)
    timeout: Limit = None
    patience: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0)
    workers: int | None = Field(default=None, ge=1)

    @field_validator("space", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        return {path: _parameter(str(path), at) for path, at in value.items()} if isinstance(value, Mapping) else value

    @model_validator(mode="after")
    def _check(self) -> Tuning:
        for path, parameter in self.space.items():
            unknown = [name for name in parameter.when if name not in self.space or name == path]
            if unknown:
                raise DeclarationError(f"{unknown[0]!r} is not searched", where=f"tuning.space.{path}.when")
        list(self.ordered())
        if self.sampler == "cmaes":
            texts = [path for path, parameter in self.space.items() if isinstance(parameter, Choices) or parameter.when]
            if texts:
                message = f"cmaes searches numbers alone, and {texts[0]!r} has choices or a condition"
                raise DeclarationError(message, where="tuning.sampler", hint="tuning.sampler=tpe")
        return self

    def ordered(self) -> Sequence[tuple[str, Range | Choices]]:
        """The space, each parameter after those that it depends on.

        Raises:
            DeclarationError: Some depend on one another.
        """
        waiting, ordered = dict(self.space), list[tuple[str, Range | Choices]]()
        while waiting:
            ready = [path for path, parameter in waiting.items() if not set(parameter.when) & set(waiting)]
            if not ready:
                path = next(iter(waiting))
                raise DeclarationError("its condition depends on itself", where=f"tuning.space.{path}.when")
            ordered += [(path, waiting.pop(path)) for path in ready]
        return ordered
