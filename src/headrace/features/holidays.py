"""The public holidays of a country, by the library `holidays`."""

from __future__ import annotations

from datetime import date
from functools import cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any


@cache
def public_holidays(country: str, first: int, last: int) -> list[date]:
    """All of the years from `first` to `last`, in order. Raises `NotImplementedError` where none are known."""
    return sorted(_calendar(country)(years=range(first, last + 1)))


@cache
def _calendar(country: str) -> Any:
    """The library's calendar of a country, run from its own file: its package would run those of all 250."""
    import holidays
    from holidays.registry import COUNTRIES

    for name, spoken_of_as in COUNTRIES.items():
        path = Path(holidays.__file__).with_name("countries") / f"{name}.py"
        if country in spoken_of_as and path.is_file():
            module = ModuleType(f"{__name__}.{name}")
            SourceFileLoader(module.__name__, str(path)).exec_module(module)
            return getattr(module, country)
    return lambda years: holidays.country_holidays(country, years=years)
