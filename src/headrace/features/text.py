"""Primitives of texts: replacing, cutting, counting, and free text for models that read it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.errors import FeatureError
from headrace.features.expression import (
    BOOLEAN,
    FLOAT,
    INTEGER,
    TEXT,
    CodeWriter,
    CompileTarget,
    Expression,
    NoRowForm,
    Value,
)

if TYPE_CHECKING:
    import polars as pl

_SPACE = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
"""Unicode's White_Space, which Rust strips; Python's own `str.strip` takes four more characters."""
_SPACES = "".join(re.findall(f"[{_SPACE}]", "".join(map(chr, range(0x3001)))))
_WORD = re.compile(f"[^{_SPACE}]+")


@dataclass(frozen=True, eq=False)
class Map(Expression):
    """Texts to texts: through `values`, or kept, or `default`; missing stays missing."""

    op = "map"
    of: Expression
    values: tuple[tuple[str, str], ...]
    keep: tuple[str, ...] = ()
    default: str | None = "other"

    @property
    def known(self) -> dict[str, str]:
        """Every text that has an image of its own."""
        return {name: name for name in self.keep} | dict(self.values)

    def polars(self, table: CompileTarget) -> pl.Expr:
        import polars as pl

        x = self.of.compile(table).cast(pl.String)
        mapped = x.replace_strict(self.known, default=pl.lit(self.default, dtype=pl.String), return_dtype=pl.String)
        return pl.when(x.is_not_null()).then(mapped)

    def emit(self, code: CodeWriter) -> Value:
        x, known, default = code.text(self.of), code.constant(self.known.get), code.constant(self.default)
        return code.set_if([x], f"{known}({x}, {default})", TEXT)


@dataclass(frozen=True, eq=False)
class Text(Expression):
    """One operation on a text: ``lower strip length words count capitals contains extract split slice``."""

    op = "text_operation"
    name: str
    of: Expression
    arguments: tuple[str | int, ...] = ()

    def polars(self, table: CompileTarget) -> pl.Expr:
        import polars as pl

        x = self.of.compile(table).cast(pl.String).str
        a = self.arguments
        match self.name:
            case "lower":
                return x.to_lowercase()
            case "strip":
                return x.strip_chars()
            case "length":
                return x.len_chars().cast(pl.Int64)
            case "words":
                return x.count_matches(r"\S+").cast(pl.Int64)
            case "count":
                return x.count_matches(_class(str(a[0]))).cast(pl.Int64)
            case "capitals":
                letters = x.count_matches("[A-Za-z]")
                return pl.when(letters > 0).then(x.count_matches("[A-Z]") / letters)
            case "contains":
                return x.contains(str(a[0]), literal=True)
            case "extract":
                return x.extract(str(a[0]), 1)
            case "split":
                return x.split(str(a[0])).list.get(int(a[1]), null_on_oob=True)
            case "slice":
                return x.slice(int(a[0]), int(a[1]))
        raise FeatureError(f"unknown text operation {self.name!r}")

    def emit(self, code: CodeWriter) -> Value:
        x = code.text(self.of)
        source, kind = self._python(x, code.constant)
        return code.set_if([x], source, kind)

    def _python(self, x: str, constant: Callable[[Any], str]) -> tuple[str, str]:
        a = self.arguments
        match self.name:
            case "lower":
                return f"{x}.lower()", TEXT
            case "strip":
                return f"{x}.strip({constant(_SPACES)})", TEXT
            case "length":
                return f"len({x})", INTEGER
            case "words":
                return f"len({constant(_WORD.findall)}({x}))", INTEGER
            case "count":
                return f"len({constant(re.compile(_class(str(a[0]))).findall)}({x}))", INTEGER
            case "capitals":
                return f"{constant(_capitals)}({x})", FLOAT
            case "contains":
                return f"{constant(a[0])} in {x}", BOOLEAN
            case "extract":
                return f"found[1] if (found := {constant(_search(str(a[0])))}({x})) else None", TEXT
            case "split" if a[0]:
                return f"{constant(_part(str(a[0]), int(a[1])))}({x})", TEXT
            case "slice" if int(a[0]) >= 0:
                return f"{x}[{constant(a[0])}:{constant(int(a[0]) + int(a[1]))}]", TEXT
        raise NoRowForm


@dataclass(frozen=True, eq=False)
class TextColumn(Expression):
    """A column of free text, handed as it is to a model that reads text."""

    op = "text"
    name: str

    def columns(self) -> frozenset[str]:
        return frozenset((self.name,))

    def polars(self, table: CompileTarget) -> pl.Expr:
        import polars as pl

        return pl.col(self.name).cast(pl.String)

    def emit(self, code: CodeWriter) -> Value:
        return code.column(self.name)


@dataclass(frozen=True, eq=False)
class Join(Expression):
    """Values as one text; missing where one of them is."""

    op = "join"
    parts: tuple[Expression, ...]
    separator: str = "|"

    def polars(self, table: CompileTarget) -> pl.Expr:
        import polars as pl

        return pl.concat_str([part.compile(table).cast(pl.String) for part in self.parts], separator=self.separator)

    def emit(self, code: CodeWriter) -> Value:
        names = [code.text(part) for part in self.parts]
        join = code.constant(self.separator.join)
        return code.set_if(names, f"{join}(({', '.join(names)},))", TEXT)


def join(*parts: Expression, separator: str = "|") -> Join:
    """Texts, whole numbers and truths as one text, such as the key of a group."""
    return Join(parts, separator)


def text(name: str) -> TextColumn:
    """The free text of a column, for a model that reads text."""
    return TextColumn(name)


def _part(separator: str, place: int) -> Callable[[str], str | None]:
    def part(x: str) -> str | None:
        parts = x.split(separator)
        return parts[place] if -len(parts) <= place < len(parts) else None

    return part


def _search(pattern: str) -> Callable[[str], re.Match[str] | None]:
    if not _means_the_same(pattern):
        raise NoRowForm
    return re.compile(pattern).search


def _class(characters: str) -> str:
    """Any of these characters, for Rust's regular expressions and Python's alike."""
    return f"[{''.join(map(_escaped, characters))}]"


def _escaped(character: str) -> str:
    return "\\" + character if character in "\\]^[-&~" else character


def _capitals(x: str) -> float | None:
    letters = len(_LETTER.findall(x))
    return len(_CAPITAL.findall(x)) / letters if letters else None


_LETTER, _CAPITAL = re.compile("[A-Za-z]"), re.compile("[A-Z]")
_PLAIN = re.compile(
    r"""(?x) (?: \\[.\-+*?()\[\]{}|^\\/]     # an escaped sign
            | \[ \^? (?: [^\[\]\\&~^-] | [a-z]-[a-z] | [A-Z]-[A-Z] | [0-9]-[0-9] | \\[.\-+*?()\[\]{}|^\\/] )+ \]
            | \( (?! \? ) | \)              # plain groups
            | [^\\\[\](){}*+?$|]           # a sign for itself, a dot, the start
            | [*+?](?![*+?])                # greedy repeats
            | \| )+
    """
)


def _means_the_same(pattern: str) -> bool:
    """Whether Rust's and Python's regular expressions agree on it: no named classes, flags or lazy repeats.

    They do differ: what ``\\w``, ``\\d`` and ``\\s`` take, and where ``$`` stands.
    """
    if not _PLAIN.fullmatch(pattern):
        return False
    try:
        return re.compile(pattern).groups >= 1
    except re.error:
        return False
