"""What a model of rows reads of the columns of a file, and which learners read that.

Numbers are read as they are, or by their logarithm where few are far larger than the others. A text that comes again
and again is a category. One of many values is also read by the mean of the target and by how often it comes, since each
has few rows; one that is written as a path, such as ``Men/Shoes``, by the parts above it. Texts of several words are
read by their words, short ones by their spelling too, and by a part that comes again and again, as the title of a name.
An id that several rows share is read by what is known of these.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING

from headrace.errors import UsageError
from headrace.scaffold.alike import by_strength, is_shared, kinds_within, of_key
from headrace.scaffold.wording import names, quoted

if TYPE_CHECKING:
    import polars as pl

    from headrace.contract.column import Column
    from headrace.scaffold.outline import Outline

SKEWED = 4.0
"""Amounts whose 99th percentile is so many times the median are read and learnt by their ratios."""
_WORDS = 2.0
"""Words that a text has on average; fewer are a name or an id."""
_SHORT = 12.0
"""Words up to which a text is a title, whose spelling says something."""
_MANY = 50
"""Values of a category from which each has few rows."""
_KINDS = 10
"""Whole numbers up to which they may be kinds."""
_PRIOR = 10
"""Rows that the mean of all counts for, beside those of a value."""
_SEPARATORS = ("/", " > ", "|", "::", ">")
_PARTED = 0.9
"""Share of values that have a separator, where they are paths."""
_LEVELS = 2
"""Parts of a path that are read beside the whole."""
_FEWER = 3
"""So many times fewer different parts than values make a part worth reading."""
_NEAR = 1e-6


@dataclass
class RowReading:
    """Features of rows, and the learners that they want.

    Attributes:
        lines: Each feature's name and text.
        used: The columns that they read.
        levels: Features from the broadest category to the narrowest, for a baseline of rules.
        by: A feature of few values that parts each of these.
        text: Whether n-grams are read.
    """

    lines: dict[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    levels: list[str] = field(default_factory=list)
    by: list[str] = field(default_factory=list)
    text: bool = False

    @property
    def functions(self) -> set[str]:
        """What is to be imported from ``headrace.features``."""
        known = ("col", "frequency", "hour", "join", "ngrams", "target_mean", "weekday")
        return {name for name in known for line in self.lines.values() if re.search(rf"\b{name}\(", line)}

    def model(self, kind: str, *, classes: int) -> tuple[list[str], set[str]]:
        """Arguments of the model, and the nouns that they are made of.

        Args:
            kind: ``Regressor`` or ``Classifier``.
            classes: How many there are; 0 for a number.
        """
        options, nouns = [], set[str]()
        if self.text:
            members = ["Linear(C=0.8)", "Boosting(components=40)"] + ["Factorisation()"] * (classes <= 2)
            options += [f"members=({', '.join(members)})", "repeats=1"]
            nouns |= {member.partition("(")[0] for member in members}
        if kind == "Regressor" and self.levels:
            by = f", by={names(self.by)}" if self.by else ""
            options.append(f"baselines=(Rules(levels={names(self.levels)}{by}),)")
            nouns.add("Rules")
        return options, nouns


def read_features(outline: Outline, *, classes: int) -> RowReading:
    """Features of the columns that may be read; what is left out is said.

    Args:
        outline: The file.
        classes: Of the target; 0 for a number.

    Raises:
        UsageError: Nothing is left to learn from.
    """
    reading = RowReading()
    ids, dates, shared = list[str](), list[str](), list[str]()
    leaks, titles, texts = _leaks(outline), list[str](), list[str]()
    for column in outline.columns:
        name, values = column.name, outline.values[column.name]
        mentioned = (*outline.keys, outline.target, outline.time, *leaks)
        if name in mentioned or values.drop_nulls().n_unique() < 2:
            continue
        if name in outline.dates or column.type == "time":
            dates += [name] * (name not in outline.parts)
        elif column.type in ("integer", "float"):
            reading.lines[name] = f"col({quoted(name)})" + ".log1p()" * is_skewed(values)
            reading.used.add(name)
            if column.type == "integer" and values.n_unique() <= _KINDS:
                reading.by = reading.by or [name]
        elif column.type == "boolean":
            reading.lines[name] = f"col({quoted(name)})"
            reading.used.add(name)
        elif column.type == "category":
            _category(reading, column, values, means=classes <= 2)
            titles += [name] * (values.n_unique() > _MANY)
        elif (words := _words(values)) > _WORDS:
            (titles if words <= _SHORT else texts).append(name)
            reading.text = True
        else:
            (shared if classes <= 2 and is_shared(values) else ids).append(name)
    if reading.text:
        _texts(reading, outline, titles, texts)
    _shared(reading, outline, shared)
    _say(outline, reading, leaks, dates, ids)
    if not reading.lines and not outline.time:
        hint = "every other column is constant, a time, or an id" + (", or makes the target" if leaks else "")
        raise UsageError("no column is left to learn from", where=str(outline.path), hint=hint)
    for name, text in (_clock(outline) if outline.time else {}).items():
        reading.lines[name] = text
    return reading


def _category(reading: RowReading, column: Column, values: pl.Series, *, means: bool) -> None:
    """A column of values that come again and again."""
    name, text = column.name, f"col({quoted(column.name)})"
    parts = {f"{name}_{level + 1}": part for level, part in enumerate(_paths(values))}
    for level, (feature, part) in enumerate(parts.items()):
        reading.lines[feature] = f"{text}.split({quoted(part)}, {level})"
    reading.lines[name] = text
    reading.used.add(name)
    if not reading.levels or len(parts) >= len(reading.levels):  # the first one, or the first that is a path
        reading.levels = [*parts, name]
    if values.n_unique() > _MANY:
        if means:
            reading.lines[f"of_{name}"] = f"target_mean({text}, prior={_PRIOR})"
        reading.lines[f"{name}_frequency"] = f"frequency({text})"


def _paths(values: pl.Series) -> list[str]:
    """The separator of a category's values, once for every part that is worth reading."""
    import polars as pl

    known = values.drop_nulls().cast(pl.String)
    if not known.len():
        return []
    for separator in _SEPARATORS:
        if (known.str.contains(separator, literal=True).mean() or 0) < _PARTED:  # type: ignore[operator]
            continue
        parts = known.str.split(separator)
        levels = [parts.list.slice(0, level + 1).list.join(separator).n_unique() for level in range(_LEVELS)]
        return [separator for level in levels if 1 < level <= known.n_unique() / _FEWER]
    return []


def _texts(reading: RowReading, outline: Outline, titles: list[str], texts: list[str]) -> None:
    """Words of all texts together, the spelling of the short ones, and how long each is."""
    order = [column.name for column in outline.columns]
    every = sorted((*titles, *texts), key=order.index)
    reading.lines["words"] = f"ngrams({', '.join(map(quoted, every))}, words=(1, 2))"
    if titles:
        short = ", ".join(map(quoted, sorted(titles, key=order.index)))
        reading.lines["spelling"] = f"ngrams({short}, words=None, characters=(2, 5))"
    for name in every:
        column = outline.column(name)
        if column.type == "text":
            filled = '.fill("")' if column.nullable else ""
            reading.lines[f"{name}_length"] = f"col({quoted(name)}){filled}.length().log1p()"
            if name in titles:
                reading.lines |= kinds_within(name, outline.values[name])
    reading.used |= set(every)


def _shared(reading: RowReading, outline: Outline, shared: list[str]) -> None:
    """Ids that several rows have: what is known of these rows, and how many they are."""
    if not shared:
        return
    kinds = {
        name: values
        for name, values in outline.values.items()
        if reading.lines.get(name) == f"col({quoted(name)})" and not values.dtype.is_float()
        if values.drop_nulls().n_unique() <= _KINDS
    }
    strongest = by_strength(kinds, outline.values[outline.target])
    for name in shared:
        reading.lines[f"of_{name}"] = of_key(name, strongest)
        reading.lines[f"{name}_frequency"] = f"frequency(col({quoted(name)}))"
        reading.used.add(name)
    alike = f", those of the same {strongest[0]} by themselves" if strongest else ""
    outline.say("shared", ", ".join(shared), f"several rows have the same: read by their {outline.target}{alike}")


def _say(outline: Outline, reading: RowReading, leaks: list[str], dates: list[str], ids: list[str]) -> None:
    categories = [c.name for c in outline.columns if c.name in reading.used and c.type == "category"]
    if categories:
        sizes = (f"{category} ({outline.values[category].n_unique():,})" for category in categories)
        outline.say("categories", ", ".join(sizes), "texts that come again and again")
    if reading.text:
        read = reading.lines.get("words", "")
        texts = [c.name for c in outline.columns if c.type == "text" and quoted(c.name) in read]
        outline.say("texts", ", ".join(texts), "read by their words, and by their spelling where they are short")
    if leaks:
        outline.say("left out", ", ".join(leaks), f"together they are {outline.target}: nobody knows them before it")
    if dates:
        outline.say("left out", ", ".join(dates), "times: nobody may know them when a row is predicted")
    if ids:
        outline.say("left out", ", ".join(ids), "nearly every row has another one")


def is_skewed(values: pl.Series) -> bool:
    """Whether amounts, none below 0, are so far apart that their ratios say more than their differences."""
    known = values.drop_nulls().drop_nans() if values.dtype.is_float() else values.drop_nulls()
    least, middle, high = known.min(), known.median(), known.quantile(0.99)
    if not isinstance(least, int | float) or not isinstance(middle, int | float) or high is None:
        return False
    return least >= 0 and middle > 0 and high > SKEWED * middle


def _clock(outline: Outline) -> dict[str, str]:
    """Features of when a row is from: the day of the week, and the hour where times have one."""
    zone = quoted(outline.column(outline.time).zone or "UTC")
    values = outline.values[outline.time]
    clock = {f"{outline.time}_weekday": f"weekday({zone})"}
    if (values.dt.truncate("1d") != values).any():
        clock[f"{outline.time}_hour"] = f"hour({zone})"
    return clock


def _words(values: pl.Series) -> float:
    """Words of a text on average."""
    mean = values.drop_nulls().head(2000).str.count_matches(r"\S+").mean()
    return float(mean) if isinstance(mean, int | float) else 0.0


def _leaks(outline: Outline) -> list[str]:
    """Columns that are the target, or make it as a sum of two."""
    import polars as pl

    target = outline.values[outline.target]
    if not target.dtype.is_numeric():
        return []
    numbers = {
        c.name: outline.values[c.name].cast(pl.Float64)
        for c in outline.columns
        if c.type in ("integer", "float") and c.name not in (outline.target, *outline.keys)
    }
    numbers_wanted = target.cast(pl.Float64)
    largest = numbers_wanted.abs().max()
    near = _NEAR * (largest if isinstance(largest, float) else 1.0)
    matching = [name for name, values in numbers.items() if _is(values - numbers_wanted, near)]
    for one, other in combinations(numbers, 2):
        if _is(numbers[one] + numbers[other] - numbers_wanted, near):
            return [*matching, one, other]
    return matching


def _is(rest: pl.Series, near: float) -> bool:
    return rest.null_count() < rest.len() and bool((rest.abs() <= near).all())
