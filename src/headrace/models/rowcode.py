"""Arithmetic over one row, written out as a function: a loop that calls another for every value takes much longer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def function_of(count: int, lines: Sequence[str], result: str, names: Mapping[str, Any]) -> Callable[[Any], Any]:
    """A function of a row.

    Args:
        count: How many values a row has. In the source they are ``v0``, ``v1``, ...
        lines: Statements.
        result: The expression that the function gives.
        names: Constants of the source. Values never enter it as text.
    """
    values = f"[{', '.join(f'v{place}' for place in range(count))}] = row"
    body = "".join(f"    {line}\n" for line in (values, *lines, f"return {result}"))
    namespace = dict(names)
    # The source holds nothing but names made here and by the callers.
    exec(compile(f"def of_row(row):\n{body}", "<row>", "exec"), namespace)  # noqa: S102
    function: Callable[[Any], Any] = namespace["of_row"]
    return function
