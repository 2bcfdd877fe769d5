"""The declaration of a system that scores the rows of a file: one of some classes, or a number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.contract.column import Column
from headrace.errors import UsageError
from headrace.scaffold.reading import is_skewed, read_features
from headrace.scaffold.wording import column_lines, names, quoted, within

if TYPE_CHECKING:
    from headrace.scaffold.outline import Outline

_MOST_CLASSES = 20
_MOST_CODES = 10
"""More whole numbers than these count something; fewer may be codes of classes."""
_EACH = 5
"""Rows of a class on average, at least."""
_NONE = 0.01
"""Up to this share of amounts are 0 by mistake, where others are far apart."""
_TEXT = '''"""{name}: `{target}` from {file}, as a look at it has it: read it, and mend it."""

from headrace import {nouns}
from headrace.features import {functions}

system = System(
    name="{name}",
    source=Source(uri={uri}{parts}),
    contract=Contract(
        columns=(
{columns}
        ),
        max_invalid_fraction=0.05,
    ),
    keys={keys},{time}
    target={quoted},
    features={{
{features}
    }},
    model={model}({options}),
    schedule=Schedule(predict="never", train="never"),
)
'''


def rows_text(name: str, outline: Outline) -> str:
    """The text of a `system.py`; what was seen is added to the table's observations.

    Raises:
        UsageError: The target is neither a number nor one of a few classes, or nothing is left to learn from.
    """
    target = outline.column(outline.target)
    values = outline.values[outline.target].drop_nulls()
    classes = values.n_unique()
    several = 2 <= classes <= min(_MOST_CLASSES, values.len() // _EACH)
    counted = target.type == "integer" and (classes > _MOST_CODES or not several)
    number = target.type == "float" or counted
    if classes < 2 or not (number or several):
        hint = f"a number is predicted, or one of 2 to {_MOST_CLASSES} classes of {_EACH} rows or more each"
        raise UsageError(f"{outline.target!r} has {classes} different values", where="--target", hint=hint)
    target, options = _amount(outline) if number else (Column(target.name, target.type, nullable=True), [])
    answer = "a number" if number else f"{classes} classes"
    kind = "Regressor" if number else "Classifier"
    outline.say("kind", kind, f"rows are scored: {answer}" + _of(options))
    reading = read_features(outline, classes=0 if number else classes)
    learnt, nouns = reading.model(kind, classes=0 if number else classes)
    used = {*reading.used, target.name, *outline.keys, outline.time}
    columns = [target if column.name == target.name else column for column in outline.columns if column.name in used]
    if outline.time:
        outline.say("judged", "on later rows", f"by {outline.time}: a model learns from what came before")
    return _TEXT.format(
        nouns=", ".join(sorted({"Column", "Contract", "Schedule", "Source", "System", kind, *nouns})),
        functions=", ".join(sorted(reading.functions)),
        time=f"\n    time={quoted(outline.time)}," if outline.time else "",
        parts=f", columns={{{quoted(outline.time)}: {names(outline.parts)}}}" if outline.parts else "",
        name=name,
        target=within(outline.target),
        file=within(outline.path.name),
        model=kind,
        uri=quoted(f"file:{outline.path.absolute()}"),
        columns=column_lines(columns, outline.notes),
        keys=names(outline.keys),
        quoted=quoted(outline.target),
        features="\n".join(f"        {quoted(feature)}: {text}," for feature, text in reading.lines.items()),
        options=_arguments([*learnt, *options]),
    )


def _of(options: list[str]) -> str:
    return ", learnt by its ratios: a few are far larger than the others" if 'scale="log"' in options else ""


def _arguments(options: list[str]) -> str:
    """Arguments on a line, or on one each where they are several."""
    if len(options) <= 1:
        return "".join(options)
    return "".join(f"\n        {option}," for option in options) + "\n    "


def _amount(outline: Outline) -> tuple[Column, list[str]]:
    """The target's column, and what the model is told: amounts that are far apart are learnt by their ratios, and a few
    of 0 among them are set apart."""
    values = outline.values[outline.target].drop_nulls()
    column = outline.column(outline.target)
    least = values.min()
    assert isinstance(least, int | float)
    if least < 0:
        return column.model_copy(update={"nullable": True}), []
    column = column.model_copy(update={"nullable": True, "minimum": 0})
    if not is_skewed(values):
        return column, []
    none, name = int((values == 0).sum()), outline.target
    if not 0 < none <= _NONE * values.len():
        return column, ['scale="log"']
    outline.say("set apart", f"{none:,} rows", f"{name} is 0 there, of all others it is more: is it known of them?")
    return column, ['scale="log"', f"learn_from=col({quoted(name)}) > 0"]
