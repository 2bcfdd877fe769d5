"""Which version of a model a request asks for, and what is said where it cannot have it."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qsl

from headrace.errors import HeadraceError, KeyConflictError, ModelError, NotFoundError
from headrace.serving.http.champion import Champion
from headrace.serving.http.form import Form
from headrace.serving.http.problem import Problem, busy
from headrace.serving.http.query import check_query
from headrace.serving.http.served import Served

PARAMETERS = ("version",)
"""Names that the query of a request for predictions may have."""
_DIGITS = 9


def version_of(query: bytes, form: Form | None) -> int | None:
    """The version that the target of a request names; None for the champion.

    Raises:
        Problem: 422: the query has something else; 404: the path has.
    """
    if form is not None and form.version is not None:
        check_query(query, form.parameters)
        if not _is_number(form.version):
            raise Problem(404, f"there is no version {form.version[:40]!r}: versions are numbers")
        return int(form.version)
    if not query:
        return None
    check_query(query, PARAMETERS if form is None else form.parameters)
    text = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))["version"]
    if not _is_number(text):
        errors = [{"loc": ["query", "version"], "msg": "is not the number of a version"}]
        raise Problem(422, "version is not the number of a version", errors=errors)
    return int(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and not text.startswith("0") and len(text) <= _DIGITS


def version_at(served: Served, number: int) -> Champion:
    """A version that is asked for, loaded where it was not. Not for an event loop.

    Raises:
        Problem: 404: there is none, or it cannot answer what is posted now; 503: it cannot be loaded.
    """
    try:
        return served.versions.get(number)
    except NotFoundError as error:
        raise Problem(404, f"{served.system.name} has no version {number}; {error.hint or ''}".rstrip("; ")) from error
    except ModelError as error:
        raise Problem(404, f"version {number} of {served.system.name} cannot answer: {error.message}") from error
    except HeadraceError as error:
        raise busy(f"version {number} of {served.system.name} cannot be loaded: {error.message}", 5) from error


def taken(conflicts: Sequence[tuple[int, KeyConflictError]], rows: int, *, single: bool) -> Problem:
    """409, for a body whose keys stand for other rows, or for answers of another version than it asks for.

    Args:
        conflicts: Places of rows, each with what is wrong.
        rows: Of the body.
        single: Whether it is one row, not an array.
    """
    errors = []
    for at, each in conflicts:
        said = "another row has this key" if each.version is None else f"version {each.version} has answered this key"
        errors.append({"loc": ["body"] if single else ["body", at], "msg": said})
    other = conflicts[0][1].version
    what = "another row" if other is None else f"an answer of version {other}"
    problem = Problem(409, f"the key is taken by {what}", errors=errors)
    problem.rows = rows
    return problem
