"""Where the table of a delimited text begins: its delimiter, its header, and what stands above it."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from headrace.errors import SourceError

_CANDIDATES = (",", ";", "\t", "|")
_SEP = re.compile(rb'^"?sep=(.)"?\s*$', re.IGNORECASE)
_HEAD = 2**20
"""Bytes that are looked at."""
_SAMPLE = 200
_NOTES = 60
"""Records that may stand above the header, for it to be found."""
_MOST, _NEARLY_ALL = 0.5, 0.9
"""Shares of records that fit their header."""
_VALUE = re.compile(r"\s*[-+]?[\d.,]+\s*|\s*\d{1,4}[-/.:]\d.*")


@dataclass(frozen=True)
class TextLayout:
    """How a delimited text is to be read.

    Attributes:
        delimiter: What stands between two fields.
        names: The column names; a column without one is called by its place, those without at the end are left out.
        width: The fields of the header as it stands.
        start: The byte at which the header begins.
        line: The header's line in the file, the first being 1.
        spaced: Whether blanks stand between a delimiter and the quote of a field.
    """

    delimiter: str
    names: tuple[str, ...]
    width: int
    start: int
    line: int
    spaced: bool


@dataclass(frozen=True)
class _TextRecord:
    fields: list[str]
    line: int
    """Its first line, counted from 0."""

    @property
    def named(self) -> list[str]:
        """Its fields without empty ones at the end."""
        return without_empty_end(self.fields)


def without_empty_end(fields: list[str]) -> list[str]:
    """The fields up to the last that is not blank."""
    end = len(fields)
    while end and not fields[end - 1].strip():
        end -= 1
    return fields[:end]


def layout_of(data: bytes, path: Path, skip: int = 0) -> TextLayout:
    """The layout of a text in UTF-8.

    A first line ``sep=;`` tells the delimiter. Lines above the header are those declared (`skip`), blank ones, comments
    that begin with ``#``, and notes: records that are narrower than the table under them.

    Raises:
        SourceError: There is no header, a name is there twice, or more lines are to be skipped than there are.
    """
    where = str(path)
    lines = _lines(data)
    if skip >= len(lines):
        raise SourceError(f"the file has {len(lines)} lines, {skip} are to be skipped", where=where)
    first = skip
    while first < len(lines) - 1 and not lines[first].strip():
        first += 1
    separator = _SEP.match(lines[first]) if len(lines) > first + 1 else None
    candidates: Sequence[str] = _CANDIDATES
    if separator:
        candidates, first = (separator[1].decode("latin-1"),), first + 1
    elif ".tsv" in [suffix.lower() for suffix in path.suffixes]:
        candidates = ("\t",)
    first = _below_comments(lines, first, candidates)
    delimiter, header = _header(lines, first, candidates, searched=not skip)
    names = tuple(name if name.strip() else f"column {place}" for place, name in enumerate(header.named, 1))
    _refuse_names(names, where)
    starts = [0, *accumulate(map(len, lines))]
    spaced = delimiter.encode() + b' "' in lines[header.line]
    return TextLayout(delimiter, names, len(header.fields), starts[header.line], header.line + 1, spaced)


def _lines(data: bytes) -> list[bytes]:
    lines = data[:_HEAD].splitlines(keepends=True)
    return lines[:-1] if len(data) > _HEAD and len(lines) > 1 else lines


def _below_comments(lines: list[bytes], first: int, candidates: Sequence[str]) -> int:
    """The first line after those that begin with ``#``, unless it holds values: then the last of them is the header."""
    below = next((place for place in range(first, len(lines)) if not lines[place].startswith(b"#")), first)
    below = next((place for place in range(below, len(lines)) if lines[place].strip()), below)
    best = max((_records(lines[: below + 1], below, candidate)[0].named for candidate in candidates), key=len)
    return first if any(map(_VALUE.fullmatch, best)) else below


def _header(lines: list[bytes], first: int, candidates: Sequence[str], *, searched: bool) -> tuple[str, _TextRecord]:
    samples = {candidate: _records(lines, first, candidate) for candidate in candidates}
    delimiter = max(candidates, key=lambda candidate: len(samples[candidate][0].fields))
    header, *rest = samples[delimiter]
    if not searched or not rest:
        return delimiter, header
    # What may itself be a header gives way to a table only that is nearly without fault.
    share = _NEARLY_ALL if _may_name(header.named) else _MOST
    tables = {candidate: _below_notes(records, share) for candidate, records in samples.items()}
    widths = {candidate: len(table.named) for candidate, table in tables.items() if table is not None}
    widest = max(widths, key=lambda candidate: widths[candidate], default=delimiter)
    found = tables[widest]
    # Every line is a record of one field, so that a header of one says little: but a pair may be a text with a comma.
    doubtful = len(header.named) == 1 and widths.get(widest, 0) > 2
    if found is not None and (doubtful or _share_that_fits(rest, len(header.named)) < _MOST):
        return widest, found
    return delimiter, header


def _records(lines: list[bytes], first: int, delimiter: str) -> list[_TextRecord]:
    """The first records that are not blank."""
    texts = [line.decode("utf-8", errors="replace") for line in lines[first : first + 4 * _SAMPLE]]
    reader = csv.reader(texts, delimiter=delimiter, skipinitialspace=True)
    records, line = [], first
    try:
        for fields in reader:
            if fields:
                records.append(_TextRecord(fields, line))
            if len(records) == _SAMPLE:
                break
            line = first + reader.line_num
    except csv.Error:
        pass  # what is wrong with the record, and where, is for the reading itself to say
    return records or [_TextRecord([], first)]


def fits(fields: Sequence[str], width: int) -> bool:
    """Whether a record has a field for every column, and beyond them empty ones only."""
    return len(fields) == width or (len(fields) > width and not any(fields[width:]))


def _share_that_fits(records: Iterable[_TextRecord], width: int) -> float:
    fitting = [fits(record.fields, width) for record in records]
    return sum(fitting) / len(fitting)


def _below_notes(records: list[_TextRecord], share: float) -> _TextRecord | None:
    """The first record that heads a table under narrower ones."""
    widest = 0
    for place, record in enumerate(records[:_NOTES]):
        names, rest = record.named, records[place + 1 :]
        if len(names) > widest and rest and _may_name(names) and _share_that_fits(rest, len(names)) >= share:
            return record
        widest = max(widest, len(names))
    return None


def _may_name(names: list[str]) -> bool:
    distinct = len(names) > 1 and len(set(names)) == len(names)
    return distinct and all(map(str.strip, names)) and not any(map(_VALUE.fullmatch, names))


def _refuse_names(names: Sequence[str], where: str) -> None:
    if not names:
        raise SourceError("no column has a name", where=where, hint="the first row must hold the column names")
    for place, name in enumerate(names, 1):
        if name in names[: place - 1]:
            hint = "rename one of them in the file"
            raise SourceError(f"two columns are called {name!r}", where=where, hint=hint)
