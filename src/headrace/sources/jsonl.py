"""JSON Lines as text columns: every number exactly as it was written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from headrace.contract.malformed import Malformed
from headrace.errors import SourceError
from headrace.sources.kinds import ByteStream, refuse_zeros, utf8
from headrace.sources.messages.base import Ignored, Unreadable
from headrace.sources.messages.natural import Unfit

if TYPE_CHECKING:
    import polars as pl

    from headrace.sources.messages.opening import Opener


def read_jsonl(
    data: bytes, path: Path, skip: int = 0, opener: Opener | None = None, known_at: str = ""
) -> pl.DataFrame:
    """One row per line; a field that a line lacks is null, a nested value is its JSON text.

    Lines that are no JSON object stand in the column that `Malformed` makes. `skip` is for delimited text alone. With
    an `opener` a line is an event in its envelope; what is no event is left out. `known_at` is a column that is kept
    then, though no contract has it.

    Raises:
        SourceError: No line is a JSON object in UTF-8, or the text is none; the message has the first line's number.
    """
    return JsonLines(path, opener, known_at).whole(utf8(data, str(path)))


@dataclass(frozen=True)
class JsonLines:
    """Reads lines of JSON objects.

    Attributes:
        path: For messages.
        opener: Opens the events that lines are; None where they have the columns at the top.
        known_at: A column that is kept then, though no contract has it.
    """

    path: Path
    opener: Opener | None = None
    known_at: str = ""

    def whole(self, text: bytes) -> pl.DataFrame:
        """The rows of a text.

        Raises:
            SourceError: No line is a JSON object.
        """
        rows, malformed = self._rows(text, 1)
        if len(malformed.places) == len(rows) and (rows or self.opener is None):
            self._refuse(malformed.lines[0]["why"] if rows else "the file has no line")
        names = dict.fromkeys(name for row in rows for name in row)
        return _frame(rows, malformed, names)

    def pieces(self, first: ByteStream, again: ByteStream, size: int) -> Iterator[pl.DataFrame]:
        """The rows of a text that is too large to be read at once, in frames of about `size` bytes of it: together what
        `whole` gives. It is read twice, since any line may name a column, which all frames have.

        Args:
            first: The text.
            again: The same, from its beginning.
            size: Bytes that are read at once.

        Raises:
            SourceError: No line is a JSON object, or the text is none.
        """
        names, line, reason, objects, count = dict[str, None](), 1, "the file has no line", 0, 0
        for text in self._texts(first, size):
            rows, malformed = self._rows(text, line)
            names.update(dict.fromkeys(name for row in rows for name in row))
            if malformed.lines and len(malformed.lines) == len(rows) and not count:
                reason = malformed.lines[0]["why"]
            count, objects = count + len(rows), objects + len(rows) - len(malformed.lines)
            line += text.count(b"\n")
        if not objects and (count or self.opener is None):
            self._refuse(reason)
        line, given = 1, False
        for text in self._texts(again, size):
            rows, malformed = self._rows(text, line)
            line += text.count(b"\n")
            if rows or not given:
                yield _frame(rows, malformed, names)
                given = True

    def _texts(self, stream: ByteStream, size: int) -> Iterator[bytes]:
        """Parts that end where a line does."""
        rest = utf8(stream.read(size), str(self.path))
        while chunk := stream.read(size):
            refuse_zeros(chunk, str(self.path))
            rest += chunk
            end = rest.rfind(b"\n") + 1
            if end:
                yield rest[:end]
                rest = rest[end:]
        yield rest

    def _rows(self, text: bytes, first: int) -> tuple[list[dict[str, str | None]], Malformed]:
        """The rows of lines of which the first has this number; one that is no object is an empty row."""
        rows, malformed = list[dict[str, str | None]](), Malformed()
        # Only \n ends a line: text may hold U+2028 and its like.
        for number, line in enumerate(text.split(b"\n"), first):
            if not line.strip():
                continue
            try:
                row = _row(line, self.opener, self.known_at)
            except Ignored:
                continue
            except _NoObject as error:
                malformed.add(len(rows), error.label, f"line {number} is {error}", line.decode(errors="replace"))
                row = {}
            rows.append(row)
        return rows, malformed

    def _refuse(self, reason: str) -> NoReturn:
        raise SourceError(reason, where=str(self.path), hint="one JSON object a line; is the file cut off?")


def _frame(rows: list[dict[str, str | None]], malformed: Malformed, names: Iterable[str]) -> pl.DataFrame:
    import polars as pl

    frame = pl.DataFrame({name: pl.Series([row.get(name) for row in rows], dtype=pl.String) for name in names})
    return malformed.beside(frame)


class _NoObject(Exception):
    """A line is no JSON object; `label` says it without particulars."""

    def __init__(self, label: str, more: str = "") -> None:
        super().__init__(f"{label}{more}")
        self.label = label


class _Number(str):
    """A number as it was written: 1.10 stays 1.10, and no digit of a long one is lost."""

    __slots__ = ()


def _row(line: bytes, opener: Opener | None, known_at: str) -> dict[str, str | None]:
    try:
        document = json.loads(line, parse_float=_Number, parse_int=_Number, parse_constant=str)
        if b"\\u" in line:
            json.dumps(document, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise _NoObject("not JSON", f": {error}") from error
    if not isinstance(document, dict):
        raise _NoObject("not a JSON object")
    if opener is not None:
        try:
            document = opener.written(document, (), (known_at,))
        except (Unreadable, Unfit) as error:
            raise _NoObject("no event", f": {error}") from error
    return {name: _field(value) for name, value in document.items()}


def _field(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return None if value is None else str(value)
    return json.dumps(_plain(value), ensure_ascii=False)


def _plain(value: Any) -> Any:
    """A nested value with its numbers as numbers again."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return json.loads(value) if isinstance(value, _Number) else value
