"""A statement that people write: one query, and values that are bound to its names, never written into it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from headrace.errors import UsageError

BEGIN = "headrace_begin"
"""The parameter from which a read begins; people's own parameters have other names."""
Style = Literal["$name", "$1", "@name", "?"]
"""How a database's driver writes parameters."""
_TOKEN = re.compile(
    r"""(?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
    |(?P<comment>--[^\n]*|/\*.*?\*/)
    |(?P<cast>::)
    |(?<![:\w]):(?P<name>[A-Za-z_]\w*)
    |(?P<sign>[();])""",
    re.DOTALL | re.VERBOSE,
)

_READS = re.compile(r"[(]|(?:select|with|values|table|from)\b", re.IGNORECASE)
"""How a query begins that gives rows; DuckDB lets one begin with FROM."""


def one_query(text: str) -> str:
    """A query that may stand in parentheses: without comments, and without a semicolon at its end.

    Raises:
        UsageError: It is empty, more than one statement, begins with a word that reads nothing, or its parentheses do
            not match.

    >>> one_query("SELECT ';' AS a, ')' AS b FROM sales; -- all of it")
    "SELECT ';' AS a, ')' AS b FROM sales"
    """
    where, hint, depth = "source.query", "write one SELECT", 0
    query = _TOKEN.sub(lambda match: " " if match["comment"] else match[0], text).strip().rstrip("; \t\r\n")
    if not query:
        raise UsageError("the query is empty", where=where, hint=hint)
    if not _READS.match(query):
        word = query.split(None, 1)[0]
        raise UsageError(f"the query begins with {word[:40]!r}, and reads nothing by that", where=where, hint=hint)
    for match in _TOKEN.finditer(query):
        if match["sign"] == ";":
            raise UsageError("there are two statements", where=where, hint=hint)
        depth += {"(": 1, ")": -1}.get(match["sign"] or "", 0)
        if depth < 0:
            raise UsageError("a parenthesis closes that was not opened", where=where, hint=hint)
    if depth:
        raise UsageError("a parenthesis is not closed", where=where, hint=hint)
    return query


def names_of(statement: str) -> list[str]:
    """The parameters that a statement names, in their order, each as often as it stands there.

    >>> names_of("SELECT a::text, ':b' FROM t WHERE c = :c -- :d")
    ['c']
    """
    return [match["name"] for match in _TOKEN.finditer(statement) if match["name"]]


def bound(statement: str, parameters: Mapping[str, Any], style: Style) -> tuple[str, dict[str, Any] | list[Any]]:
    """A statement as a driver takes it, and its values: by name, or in the order of the places.

    Args:
        statement: With parameters written ``:name``. What else looks like one stays: only given names are replaced.
        parameters: Their values.
        style: How the driver writes them.

    >>> bound("SELECT * FROM t WHERE a > :low AND b < :high AND c > :low", {"low": 1, "high": 9}, "$1")
    ('SELECT * FROM t WHERE a > $1 AND b < $2 AND c > $1', [1, 9])
    >>> bound("SELECT :a", {"a": 1}, "@name")
    ('SELECT @a', {'a': 1})
    """
    places: dict[str, int] = {}
    order: list[str] = []

    def written(name: str) -> str:
        places.setdefault(name, len(places) + 1)
        order.append(name)
        return {"$name": f"${name}", "@name": f"@{name}", "$1": f"${places[name]}", "?": "?"}[style]

    text = "".join(_parts(statement, parameters, written))
    if style == "?":
        return text, [parameters[name] for name in order]
    values = {name: parameters[name] for name in places}
    return text, list(values.values()) if style == "$1" else values


def _parts(statement: str, parameters: Mapping[str, Any], written: Callable[[str], str]) -> Iterator[str]:
    end = 0
    for match in _TOKEN.finditer(statement):
        name = match["name"]
        if name in parameters:
            yield statement[end : match.start()]
            yield written(name)
            end = match.end()
    yield statement[end:]


def named(name: str, mark: str = '"') -> str:
    """The name of a column as SQL writes it, whatever is in it.

    >>> named('a "b".c')
    '"a ""b"".c"'
    """
    return mark + name.replace(mark, mark * 2) + mark


def quoted(name: str, mark: str = '"') -> str:
    """The name of a table as SQL writes it, with that of its schema.

    >>> quoted("sales"), quoted("public.sales")
    ('"sales"', '"public"."sales"')
    """
    return ".".join(named(part, mark) for part in name.split("."))
