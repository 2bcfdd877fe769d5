"""What every declared object is made of: frozen, strict about unknown fields, with readable durations."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, PrivateAttr, ValidationError

from headrace.errors import DeclarationError

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)

MONTH = timedelta(days=365.2425) / 12
"""The nominal length of a month, to the second: 12 make a year, so durations add up and compare as those of clocks do.

On a grid of months it counts as a month; nothing else is a whole number of it."""
BUSINESS_DAY = timedelta(days=7) / 5
"""The nominal length of a business day: five make a week."""
_UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
    "b": BUSINESS_DAY,
    "mo": MONTH,
    "q": 3 * MONTH,
    "y": 12 * MONTH,
}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(mo|[smhdwbqy])")
_MONTHS = re.compile(r"\d\s*M(?![a-zA-Z])")


def parse_duration(value: object) -> timedelta:
    """A duration from ``"15d"``, ``"1h30m"``, ``"0h"``, ``"3mo"``, or a ``timedelta``.

    Months, quarters and years (``mo q y``) and business days (``b``) are nominal: `MONTH`, `BUSINESS_DAY`.

    Raises:
        ValueError: The text is not a sequence of numbers with units s, m, h, d, w, mo, q, y or b, is longer than a
            `timedelta`, has a part of a month or of a business day, or says ``M``.
    """
    if isinstance(value, timedelta):
        return value
    if _MONTHS.search(str(value)):
        raise ValueError(f"{value!r} may mean months or minutes; write 1mo for a month, 1m for a minute")
    text = str(value).strip().lower()
    sign = -1 if text.startswith("-") else 1
    body = text.lstrip("+-")
    parts = _PART.findall(body)
    if not parts or _PART.sub("", body).strip():
        raise ValueError(f"{value!r} is not a duration; write it as 30m, 24h, 7d, 1h30m, 3mo or 1y")
    if any(unit in ("mo", "q", "y", "b") and float(number) % 1 for number, unit in parts):
        raise ValueError(f"{value!r} has a part of a month or business day; write whole ones, such as 6mo or 5b")
    try:
        return sign * sum((float(number) * _UNITS[unit] for number, unit in parts), timedelta())
    except OverflowError as error:
        raise ValueError(f"{value!r} is longer than time is counted") from error


def format_duration(value: timedelta) -> str:
    """The shortest text that `parse_duration` reads back: ``timedelta(days=15)`` is ``"15d"``."""
    seconds = value.total_seconds()
    if seconds < 0:
        return "-" + format_duration(-value)
    if seconds and not value % MONTH:
        months = value // MONTH
        return f"{months}mo" if months % 12 else f"{months // 12}y"
    if seconds and not value % BUSINESS_DAY and value % timedelta(days=7):
        return f"{value // BUSINESS_DAY}b"
    if seconds != int(seconds):
        return f"{seconds:.6f}".rstrip("0") + "s"
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s" if seconds else "0h"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
]
"""A length of time, written ``"15d"``, ``"24h"``, ``"1h30m"``, ``"3mo"``."""


def _never_or_duration(value: object) -> timedelta | None:
    if value is None or value == "never":
        return None
    duration = parse_duration(value)
    if duration <= timedelta():
        raise ValueError(f"{value!r} is no time at all; write never where there is none")
    return duration


Every = Annotated[
    timedelta | None,
    BeforeValidator(_never_or_duration),
    PlainSerializer(lambda v: "never" if v is None else format_duration(v), return_type=str, when_used="json"),
]
"""A duration, or ``"never"``."""


def field_path(root: str, parts: Iterable[int | str]) -> str:
    """The path of a field as a person writes it: ``contract.columns[2].minimum``."""
    path = root
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part.isidentifier():
            path = f"{path}.{part}" if path else part
    return path


def declaration_error(error: ValidationError, root: str = "") -> DeclarationError:
    """The first complaint of ``error`` as a `DeclarationError`; the others are listed in its hint.

    Args:
        error: What pydantic raised while an object was declared.
        root: The path of that object, such as ``contract``; empty for the system itself.
    """
    complaints = error.errors(include_url=False, include_context=False, include_input=True)
    first, further = complaints[0], complaints[1:]
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "there is no such field"
    elif first["type"] != "missing":
        message = f"{message} (got {str(first['input'])[:80]!r})"
    further_messages = "; ".join(
        f"{field_path(root, complaint['loc'])}: {complaint['msg']}" for complaint in further[:3]
    )
    hint = f"also {further_messages}" if further_messages else None
    return DeclarationError(message, where=field_path(root, first["loc"]) or None, hint=hint)


D = TypeVar("D", bound="Declared")


class _TypedMistakes(ModelMetaclass):
    """Makes objects that a program declares: a mistake in their fields is a `DeclarationError`.

    Not by an ``__init__``: pydantic calls that for parts of an object too, whose path would be lost.
    """

    def __call__(self, *arguments: Any, **fields: Any) -> Any:
        if arguments and _takes_names(self):
            raise DeclarationError("fields have names", where=self.__name__, hint="write each as name=value")
        try:
            return super().__call__(*arguments, **fields)
        except ValidationError as error:
            raise declaration_error(error, self.__name__) from error


def entry_of(declared: type[D], value: object) -> D:
    """An object from its JSON form, where it is a part of another one.

    Raises:
        ValidationError: What is wrong with its fields: whoever it is a part of adds its path.
    """
    try:
        return declared.model_validate(value)
    except DeclarationError as error:  # of one with an __init__ of its own
        if isinstance(error.__cause__, ValidationError):
            raise error.__cause__ from error
        raise


def _takes_names(declared: type) -> bool:
    """Whether its fields are given by their names alone."""
    return next(each for each in declared.__mro__ if "__init__" in vars(each)) is BaseModel


class Declared(BaseModel, metaclass=_TypedMistakes):
    """Base of all declared objects: immutable, and an unknown field is a mistake.

    >>> class Pause(Declared):
    ...     length: Duration
    >>> Pause(length="1h").length
    datetime.timedelta(seconds=3600)
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


@dataclass(frozen=True)
class Tuned:
    """Which configuration, found by a search, a declaration has over its own values.

    Attributes:
        version: Its number.
        digest: Of its values and of the declaration that they are over.
        declared: The digest of that declaration.
        replaced: Paths of its values that are not in effect, since ``--set`` goes over them.
    """

    version: int
    digest: str
    declared: str
    replaced: tuple[str, ...] = ()

    @property
    def pins(self) -> dict[str, Any]:
        """What a model that was made with it is pinned to."""
        pins = {"config_version": self.version, "configuration": self.digest, "declared": self.declared}
        return {**pins, "config_replaced": list(self.replaced)} if self.replaced else pins


class Located(Declared):
    """Base of what a `system.py` declares: it knows its folder, and how another process finds it."""

    _folder: Path | None = PrivateAttr(default=None)
    _tuned: Tuned | None = PrivateAttr(default=None)
    _found: tuple[Any, ...] | None = PrivateAttr(default=None)

    @property
    def folder(self) -> Path:
        """Where `system.py` lies; the current folder for one that was made in a program."""
        return self._folder or Path.cwd()

    @property
    def is_loaded(self) -> bool:
        """Whether it was loaded from its folder, so that other processes can load it too; not if made in a program."""
        return self._found is not None

    @property
    def tuned(self) -> Tuned | None:
        """The configuration from a search that it has; None where its values are those that you declared."""
        return self._tuned

    def with_tuned(self, tuned: Tuned) -> Self:
        """The same, which says that its values are those of a configuration."""
        self._tuned = tuned
        return self

    def at(self, folder: Path, again: Callable[[], Any] | None = None) -> Self:
        """The same, found in `folder`.

        Args:
            folder: Where `system.py` lies.
            again: Finds it once more. Another process gets this in its place (it is what is pickled), because
                functions and classes of a user's own file can be imported nowhere else.
        """
        self._folder = folder
        self._found = None if again is None else (again, *self.__dict__.values())
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        """How to find it again; for one that was made or changed in a program, what it holds."""
        if self._found is not None:
            repeated, *fields = self._found
            if all(one is other for one, other in zip(fields, self.__dict__.values(), strict=True)):
                return repeated, ()
        return super().__reduce_ex__(protocol)
