"""The shapes of the simulated consumption: levels by industry, profiles of a day, a week and a year."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.sources.hashing import uniform, words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

AREAS = ("DK1", "DK2")

# DE35 industry code: typical kWh in an hour in DK1 and DK2 (rough), and the family of its daily shape.
INDUSTRIES: dict[str, tuple[float, float, str]] = {
    "111": (84e3, 62e3, "home"),
    "112": (2.9e3, 3.2e3, "home"),
    "119": (30e3, 39e3, "home"),
    "121": (310e3, 170e3, "home"),
    "122": (66e3, 66e3, "home"),
    "123": (31e3, 9.1e3, "home"),
    "130": (38e3, 32e3, "home"),
    "211": (120e3, 26e3, "farm"),
    "212": (21e3, 5.6e3, "farm"),
    "215": (2.3e3, 480, "farm"),
    "220": (16e3, 1.2e3, "night"),
    "310": (62e3, 23e3, "shift"),
    "320": (6.3e3, 2.2e3, "shift"),
    "330": (9.3e3, 2.1e3, "works"),
    "340": (8.8e3, 5e3, "works"),
    "350": (41e3, 24e3, "shift"),
    "360": (43e3, 11e3, "shift"),
    "370": (9.9e3, 1.6e3, "works"),
    "381": (6.9e3, 930, "works"),
    "382": (33e3, 34e3, "works"),
    "390": (8.3e3, 2.2e3, "works"),
    "410": (18e3, 8e3, "office"),
    "421": (85e3, 50e3, "shop"),
    "422": (46e3, 23e3, "office"),
    "431": (22e3, 14e3, "shop"),
    "432": (37e3, 42e3, "office"),
    "433": (32e3, 50e3, "office"),
    "441": (130e3, 54e3, "night"),
    "442": (25e3, 8e3, "flat"),
    "443": (28e3, 28e3, "office"),
    "444": (14e3, 25e3, "office"),
    "445": (23e3, 18e3, "shop"),
    "446": (27e3, 24e3, "flat"),
    "447": (20e3, 22e3, "office"),
    "450": (9e3, 4.5e3, "lamp"),
    "461": (3.6e3, 30e3, "shop"),
    "462": (2.8e3, 15e3, "flat"),
    "999": (1.1e6, 600e3, "flat"),
}

# Family: share of the mean (100) in each local hour of a workday; level of weekends; strength of the year.
_FAMILIES: dict[str, tuple[str, float, float]] = {
    "home": (
        "70 65 62 62 64 74 92 105 102 98 98 100 104 102 101 105 118 140 145 135 122 110 98 82",
        1.04,
        0.22,
    ),
    "farm": (
        "84 82 80 82 90 108 118 116 110 105 103 104 103 102 104 110 114 112 106 100 95 92 90 86",
        0.98,
        0.1,
    ),
    "night": (
        "115 116 118 118 116 112 104 98 95 92 90 90 90 90 92 92 90 84 84 88 96 104 110 114",
        1.08,
        0.15,
    ),
    "shift": (
        "88 87 87 88 92 100 108 112 113 113 113 112 110 109 107 104 101 99 97 96 95 93 91 89",
        0.68,
        0.05,
    ),
    "works": (
        "58 57 57 58 64 86 130 154 160 158 156 148 146 140 128 106 88 78 72 68 65 63 61 59",
        0.42,
        0.07,
    ),
    "office": (
        "70 69 68 69 72 82 104 124 134 136 136 136 134 130 124 116 106 98 92 88 82 77 74 72",
        0.68,
        0.09,
    ),
    "shop": (
        "66 64 63 64 68 78 92 108 120 128 132 134 134 133 132 130 126 120 112 104 94 84 76 70",
        0.82,
        0.08,
    ),
    "flat": (
        "94 93 92 92 93 95 98 102 104 105 105 105 105 104 103 103 103 104 104 102 100 98 97 95",
        0.92,
        0.12,
    ),
    "lamp": (
        "190 190 190 190 190 190 170 90 20 10 10 10 10 10 12 60 150 180 190 190 190 190 190 190",
        1.0,
        0.3,
    ),
}

HOLIDAY = 7
"""The kind of day after Monday 0 to Sunday 6."""


def codes(industries: int) -> list[str]:
    """The industry codes, the real ones first, then made-up ones: ``X0038`` and so on."""
    real = list(INDUSTRIES)
    return real[:industries] + [f"X{place:04d}" for place in range(len(real), industries)]


def levels(seed: int, series: NDArray[np.int64]) -> Floats:
    """The mean of each series in kWh; series are numbered industry by industry, two areas each."""
    import numpy as np

    known = list(INDUSTRIES.values())
    made_up = 500.0 + 60_000.0 * uniform(words(seed, 11, series)) ** 2
    real = [known[one // 2][one % 2] if one // 2 < len(known) else 0.0 for one in series.tolist()]
    return np.where(np.array(real) > 0, np.array(real), made_up)


def day_profiles(seed: int, series: NDArray[np.int64]) -> Floats:
    """Factor by series, kind of day (0 to 6, `HOLIDAY`) and local hour: the family's shape, varied."""
    import numpy as np

    families = list(_FAMILIES)
    known = [family for _, _, family in INDUSTRIES.values()]
    depth = 0.8 + 0.4 * uniform(words(seed, 12, series))
    shifts = (uniform(words(seed, 13, series)) * 3).astype(np.int64) - 1
    quiet = 0.95 + 0.1 * uniform(words(seed, 14, series))
    table = np.empty((series.size, 8, 24), dtype=np.float64)
    for row, one in enumerate(series.tolist()):
        family = known[one // 2] if one // 2 < len(known) else families[one // 2 % len(families)]
        shape, weekend, _ = _FAMILIES[family]
        hours = np.array(shape.split(), dtype=np.float64)
        hours /= hours.sum() / 24
        workday = np.maximum(1 + (np.roll(hours, int(shifts[row])) - 1) * depth[row], 0.02)
        # At weekends the peak of work is lower as well as the whole day.
        rest = weekend * quiet[row] * np.maximum(1 + (workday - 1) * (0.5 if weekend < 0.8 else 0.9), 0.02)
        table[row] = [
            workday * 0.99,
            workday,
            workday,
            workday,
            workday * 0.97,
            rest,
            rest * 0.98,
            rest * 0.97,
        ]
    return table


def year_profiles(seed: int, series: NDArray[np.int64]) -> Floats:
    """Factor by series and day of the year (1 to 366; row 0 is unused): cold, dark winters cost more."""
    import numpy as np

    known = [_FAMILIES[family][2] for _, _, family in INDUSTRIES.values()]
    strength = np.array([known[one // 2] if one // 2 < len(known) else 0.1 for one in series.tolist()])
    strength = strength * (0.7 + 0.6 * uniform(words(seed, 15, series)))
    wave = np.cos((np.arange(367) - 20) * (2 * np.pi / 365.25))
    factors: Floats = 1 + strength[:, None] * wave[None, :]
    return factors
