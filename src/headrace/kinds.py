"""Declared parts that are found by their kind: built in, of installed packages, and of modules that were imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from headrace.declaration import Declared, entry_of
from headrace.errors import DeclarationError, NotFoundError, PluginError
from headrace.plugins import Group

D = TypeVar("D", bound=Declared)


class Kinds(Generic[D]):
    """The classes of one base, by the value of their field ``kind``.

    The base hands every subclass to `add`, from ``__pydantic_init_subclass__``: so a class is known once its module is
    imported. Others are imported when they are asked for.

    Args:
        group: Built-in classes, and those of installed packages.
        shared: Whether the group has members of other bases too; they are told apart by importing them.

    >>> class Shape(Declared):
    ...     kind: str
    >>> class Round(Shape):
    ...     kind: str = "round"
    ...     radius: float = 1.0
    >>> shapes = Kinds[Shape](Group("headrace.examples"))
    >>> shapes.add(Round)
    >>> shapes.names(), shapes.from_data({"kind": "round", "radius": 2})
    (['round'], Round(kind='round', radius=2.0))
    """

    def __init__(self, group: Group, *, shared: bool = False) -> None:
        self._group, self._shared = group, shared
        self._known: dict[str, type[D]] = {}

    def add(self, declared: type[D]) -> None:
        """Make a class known, if its kind has a value; a module that is loaded anew replaces its own.

        Raises:
            DeclarationError: Another class has this kind.
        """
        field = declared.model_fields.get("kind")
        if field is None or not isinstance(field.default, str):
            return
        kind, other = field.default, self._known.get(field.default)
        if other is not None and (other.__module__, other.__qualname__) != (declared.__module__, declared.__qualname__):
            what = f"{declared.__qualname__} calls itself {kind!r}, as {other.__module__}.{other.__qualname__} does"
            raise DeclarationError(what, where="kind", hint="choose another kind")
        self._known[kind] = declared

    def of(self, kind: str) -> type[D]:
        """The class of a kind.

        Raises:
            NotFoundError: There is none; says which there are.
            PluginError: An installed package has one that cannot be imported.
        """
        if kind not in self._known:
            self._group.load(kind)  # its class makes itself known
        if kind not in self._known:
            raise NotFoundError(f"there is no kind {kind!r}: one of {', '.join(self.names())}")
        return self._known[kind]

    def names(self) -> list[str]:
        """The kinds that there are."""
        return list(dict.fromkeys([*filter(self._has, self._group.names()), *self._known]))

    def from_data(self, value: object) -> object:
        """An object from its JSON form, as configuration gives it; what is no mapping stays what it is.

        Raises:
            ValueError: There is no such kind.
        """
        if not isinstance(value, Mapping):
            return value
        kind = value.get("kind")
        if not isinstance(kind, str):
            raise ValueError(f"an entry says its kind: one of {', '.join(self.names())}")
        try:
            return entry_of(self.of(kind), value)
        except NotFoundError as error:
            raise ValueError(error.message) from error

    def _has(self, kind: str) -> bool:
        if not self._shared or kind in self._known:
            return True
        try:
            member: Any = self._group.load(kind)
        except PluginError:  # it cannot be used as anything else either; headrace doctor says why
            return False
        return any(member is known for known in self._known.values())
