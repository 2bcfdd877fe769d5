"""Holidays are the library's own, without what importing all of its countries costs."""

from __future__ import annotations

import subprocess
import sys

import holidays
import pytest

from headrace.features.holidays import public_holidays


@pytest.mark.parametrize("country", ["DK", "DNK", "Denmark", "US", "GB", "JP", "GU"])
def test_they_are_the_librarys(country: str) -> None:
    assert public_holidays(country, 2022, 2027) == sorted(holidays.country_holidays(country, years=range(2022, 2028)))


def test_an_unknown_country_is_refused() -> None:
    with pytest.raises(NotImplementedError, match="XX"):
        public_holidays("XX", 2020, 2020)


def test_one_country_is_read() -> None:
    program = """
import sys
from headrace.features.holidays import public_holidays
assert public_holidays("DK", 2026, 2026)
print(sum(name.startswith("holidays.countries") for name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) == 0
