"""Line charts as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from html import escape

WIDTH, HEIGHT = 760, 250
LEFT, RIGHT, TOP, BOTTOM = 66, 24, 12, 30
_TICKS = 5
_MOST = 1e300
"""No larger value is drawn: the span of an axis is a number too."""
_SPANS = [timedelta(hours=h) for h in (1, 3, 6, 12, 24, 48, 96, 168, 336, 720, 2160, 8760)]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Line:
    """One line of a chart; gaps where a value is None.

    Attributes:
        name: For the legend.
        y: One value for every x of the chart.
        kind: Class of its style: ``ours``, ``truth``, ``naive0``, ``naive1``.
    """

    name: str
    y: Sequence[float | None]
    kind: str


@dataclass(frozen=True)
class Chart:
    """A chart over times or numbers.

    Attributes:
        title: Also what a screen reader says.
        x: Times (UTC) or numbers, ascending.
        lines: In the order in which they are drawn.
        band: Lower and upper edge of an area, by x.
        share: Whether y are shares, shown in per cent.
        zero: Whether the axis begins at zero.
    """

    title: str
    x: Sequence[datetime] | Sequence[float]
    lines: Sequence[Line]
    band: tuple[Sequence[float | None], Sequence[float | None]] | None = None
    share: bool = False
    zero: bool = False
    name_of_x: str = field(default="")

    def svg(self) -> str:
        """The drawing, with its legend below; a sentence where there is nothing to draw."""
        lines = [replace(line, y=_drawn(line.y)) for line in self.lines]
        band = None if self.band is None else (_drawn(self.band[0]), _drawn(self.band[1]))
        points = [y for line in lines for y in line.y if y is not None]
        points += [y for edge in band or () for y in edge if y is not None]
        if not points or not self.x:
            return f"<p class=sub>{escape(self.title)}: nothing to show yet.</p>"
        low, high = (0.0 if self.zero else min(points)), max(points)
        ticks = _nice(low, high)
        low, high = min(low, ticks[0]), max(high, ticks[-1])
        across, up = self._across(), _scale(low, high if high > low else low + max(1.0, abs(low)), HEIGHT - BOTTOM, TOP)
        parts = [f"<figure><figcaption>{escape(self.title)}</figcaption>"]
        label = escape(f"{self.title}: {', '.join(line.name for line in self.lines)}", quote=True)
        parts.append(f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">')
        for tick in ticks:
            parts.append(
                f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up(tick):.1f}" y2="{up(tick):.1f}"/>'
            )
            parts.append(f'<text class="end" x="{LEFT - 8}" y="{up(tick) + 4:.1f}">{_number(tick, self.share)}</text>')
        for place, text in self._marks(across):
            parts.append(f'<text class="mid" x="{place:.1f}" y="{HEIGHT - 10}">{escape(text)}</text>')
        xs = [across(x) for x in self._numbers()]
        if band is not None:
            parts += [f'<polygon class="band" points="{area}"/>' for area in _areas(xs, *band, up)]
        for line in lines:
            parts += [f'<polyline class="{line.kind}" points="{run}"/>' for run in _runs(xs, line.y, up)]
        parts.append("</svg><p class=legend>")
        parts += [f'<span class="key {line.kind}"></span>{escape(line.name)} ' for line in self.lines]
        return "".join(parts) + "</p></figure>"

    def _numbers(self) -> list[float]:
        return [(x - _EPOCH).total_seconds() if isinstance(x, datetime) else float(x) for x in self.x]

    def _across(self) -> _Scale:
        numbers = self._numbers()
        return _scale(numbers[0], numbers[-1] if len(numbers) > 1 else numbers[0] + 1, LEFT + 6, WIDTH - RIGHT - 6)

    def _marks(self, across: _Scale) -> list[tuple[float, str]]:
        first, last = self.x[0], self.x[-1]
        if isinstance(first, datetime) and isinstance(last, datetime):
            span = next((s for s in _SPANS if (last - first) / s <= 8), _SPANS[-1])
            tick, form = first + (_EPOCH - first) % span, "%d %b %H:%M" if span < timedelta(days=1) else "%d %b"
            marks = []
            while tick <= last:
                marks.append((across((tick - _EPOCH).total_seconds()), tick.strftime(form)))
                tick += span
            return [mark for mark in marks if LEFT + 30 < mark[0] < WIDTH - 30] if span < timedelta(days=1) else marks
        return [(across(x), f"{x:g}{self.name_of_x}") for x in _nice(*(self._numbers()[i] for i in (0, -1)))]


class _Scale:
    def __init__(self, low: float, high: float, begin: float, end: float) -> None:
        self._low, self._span, self._begin, self._length = low, high - low, begin, end - begin

    def __call__(self, value: float) -> float:
        return self._begin + (value - self._low) / self._span * self._length


def _scale(low: float, high: float, begin: float, end: float) -> _Scale:
    return _Scale(low, high, begin, end)


def _nice(low: float, high: float) -> list[float]:
    """About `_TICKS` round numbers between two."""
    if high <= low:
        return [low]
    rough = (high - low) / _TICKS
    if rough < 1 / _MOST:
        return [low]
    size = 10.0 ** math.floor(math.log10(rough))
    step = next((size * m for m in (1, 2, 2.5, 5) if size * m >= rough), size * 10)
    first = math.ceil(low / step - 1e-9)
    return [float(f"{i * step:.12g}") for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _drawn(ys: Sequence[float | None]) -> list[float | None]:
    """Values for which there is a place on an axis: none for NaN, and no larger ones than `_MOST`."""
    return [None if y is None or math.isnan(y) else min(max(y, -_MOST), _MOST) for y in ys]


def _number(value: float, share: bool) -> str:
    if share:
        return f"{value * 100:g}%"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _runs(xs: Sequence[float], ys: Sequence[float | None], up: _Scale) -> list[str]:
    """Points of every stretch without a gap; a lone point becomes a short line."""
    runs: list[list[str]] = [[]]
    for x, y in zip(xs, ys, strict=True):
        if y is None:
            runs.append([])
        else:
            runs[-1].append(f"{x:.1f},{up(y):.1f}")
    return [" ".join(run if len(run) > 1 else [run[0], run[0]]) for run in runs if run]


def _areas(xs: Sequence[float], low: Sequence[float | None], high: Sequence[float | None], up: _Scale) -> list[str]:
    areas: list[list[tuple[float, float, float]]] = [[]]
    for x, a, b in zip(xs, low, high, strict=True):
        if a is None or b is None:
            areas.append([])
        else:
            areas[-1].append((x, up(a), up(b)))
    forth = [[f"{x:.1f},{a:.1f}" for x, a, _ in area] for area in areas]
    backward = [[f"{x:.1f},{b:.1f}" for x, _, b in reversed(area)] for area in areas]
    return [" ".join([*f, *b]) for f, b in zip(forth, backward, strict=True) if f]
