"""Why predictions have their values: a table with bars for one, a line each for several."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from headrace.console.output import plain, print_json
from headrace.console.table import cell, terminal

if TYPE_CHECKING:
    from headrace.tasks.explanation import Contribution, Explanation

WHOLE = 3
"""So many explanations are shown whole; of more each is a line."""
TOP = 10
"""Features that are shown of one."""
_WIDTH = 80
_NAME, _VALUE, _NUMBER = 26, 18, 10
_LARGEST = 2
_METHODS = {
    "exact": "contributions are exact",
    "permutation": "found by changing features one by one, in several orders",
}


def print_explanations(items: Sequence[Explanation], *, top: int | None, as_json: bool, single: bool) -> None:
    """Explanations; as JSON a list of them, or the only one where a single prediction was asked for."""
    if as_json:
        whole = [item.top(top).as_dict() for item in items]
        print_json(whole[0] if single else whole)
        return
    if len(items) <= WHOLE:
        for place, item in enumerate(items):
            sys.stdout.write("\n" if place else "")
            _print_one(item, TOP if top is None else top)
        return
    _print_many(items)


def _print_one(item: Explanation, top: int) -> None:
    console = terminal()

    def write(text: str, style: str | None = None) -> None:
        console.print(text, soft_wrap=True, style=style)

    write(_headline(item), style="bold")
    parts = item.top(top).contributions
    largest = max((abs(part.contribution) for part in parts), default=0.0)
    write(f"{'base':<{_NAME + _VALUE + 2}}{_number(item.base):>{_NUMBER}}")
    for part in parts:
        name, value = _cut(part.feature, _NAME), _cut(_value(part), _VALUE)
        bar = _factor(item, part) + _bar(part.contribution, largest, item.logarithms)
        write(f"{name:<{_NAME}} {value:<{_VALUE}} {_signed(part.contribution):>{_NUMBER}}  {bar}".rstrip())
    write(f"{'total':<{_NAME + _VALUE + 2}}{_number(item.total):>{_NUMBER}}")
    write(f"base is {item.base_means}", style="dim")
    write(f"in {item.scale}: {item.mapping}", style="dim")
    write(f"{_METHODS[item.method]}; model version {item.model_version}", style="dim")


def _print_many(items: Sequence[Explanation]) -> None:
    import polars as pl

    from headrace.console.table import TableStyle, print_table

    rows = []
    for item in items:
        largest = item.contributions[:_LARGEST]
        added = ", ".join(f"{part.feature} {_signed(part.contribution)}" for part in largest)
        keys = {name: plain(value) if not hasattr(value, "year") else value for name, value in item.keys.items()}
        rows.append(keys | {"value": item.value, "base": item.base, "largest": added, "id": item.id})
    frame = pl.DataFrame(rows, infer_schema_length=None)
    names = list(items[0].keys)
    title = f"why {len(items):,} predictions of {items[0].target} are what they are"
    look = TableStyle(
        title, (*names, "value", "largest", "base", "id"), ("largest",), kept=("largest",), rows=len(rows)
    )
    print_table(frame, look)


def _headline(item: Explanation) -> str:
    keys = ", ".join(f"{name} {cell(value)}" for name, value in item.keys.items())
    subject = item.target if item.label is None else f"probability of {item.target} = {item.label}"
    return f"{keys}: {subject} is {cell(item.value)}" if keys else f"{subject} is {cell(item.value)}"


def _value(part: Contribution) -> str:
    if part.kind != "feature":
        return ""
    return cell(part.value)


def _signed(number: float) -> str:
    return f"{'-' if number < 0 else '+'}{_number(abs(number))}"


def _number(number: float) -> str:
    size = abs(number)
    return f"{number:,.0f}" if size >= 1000 else f"{number:.4g}" if size >= 0.001 or not size else f"{number:.1g}"


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: room - 1]}…"


def _factor(item: Explanation, part: Contribution) -> str:
    """On the scale of logarithms, what 1 + the number is multiplied by."""
    return f"x{math.exp(part.contribution):<6.3g}" if item.logarithms else ""


def _bar(number: float, largest: float, logarithms: bool) -> str:
    """To scale, in what is left of a line."""
    room = _WIDTH - _NAME - _VALUE - _NUMBER - 4 - 7 * logarithms
    length = round(room * abs(number) / largest) if largest and math.isfinite(number / largest) else 0
    return ("+" if number > 0 else "-") * length
