"""How a declaration is written: columns, names and lines that fit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from textwrap import wrap

from headrace.contract.column import Column
from headrace.legible import LONGEST, legible

_WIDE = 105
"""Letters of a line of notes."""


def column_lines(columns: Sequence[Column], notes: Mapping[str, str]) -> str:
    """The columns of a contract, a line each, and notes above them."""
    lines = []
    for column in columns:
        more = f', zone="{column.zone}"' if column.zone else ""
        more += f', format="{column.format}"' if column.format else ""
        more += f', label="{column.label}"' if column.label != "begin" else ""
        more += f', ambiguous="{column.ambiguous}"' if column.ambiguous != "raise" else ""
        more += f', decimal="{column.decimal}"' if column.decimal != "." else ""
        more += f", minimum={column.minimum}" if column.minimum is not None else ""
        more += f', aggregate="{column.aggregate}", empty="{column.empty}"' if column.aggregate else ""
        more += f", missing={names(list(map(str, column.missing)))}" if column.missing else ""
        more += ", nullable=True" if column.nullable else ""
        note = "many rows in a step: their sum; none: 0" if column.aggregate else notes.get(column.name, "")
        lines += [f"            # {part}" for part in wrap(note, _WIDE)]
        lines.append(f'            Column({quoted(column.name)}, "{column.type}"{more}),')
    return "\n".join(lines)


def quoted(text: str) -> str:
    """A text as Python writes it."""
    return json.dumps(text, ensure_ascii=False)


def within(text: str) -> str:
    """A text of data inside a docstring: nothing of it ends the docstring, or is more than a text.

    >>> within(3 * chr(34) + " a" + chr(92))
    "''' a\\\\\\\\"
    """
    return legible(text, LONGEST).replace("\\", 2 * "\\").replace('"', "'")


def names(texts: Sequence[str]) -> str:
    """A tuple of texts as Python writes it."""
    inner = ", ".join(map(quoted, texts))
    return f"({inner},)" if len(texts) == 1 else f"({inner})"
