"""What a request for predictions asks for beside them, and what is said where it cannot have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import parse_qsl

from headrace.errors import HeadraceError, KeyConflictError, ModelError, NotFoundError
from headrace.serving.http.champion import Champion
from headrace.serving.http.form import Form
from headrace.serving.http.problem import Problem, busy
from headrace.serving.http.query import check_query
from headrace.serving.http.served import ServedSystem
from headrace.tasks.explanation import texts_of_class

PARAMETERS = ("version", "explain", "class", "top")
"""Names that the query of a request for predictions may have."""
MOST_FEATURES, LONGEST_LABEL = 10_000, 200
_DIGITS = 9


class Why(NamedTuple):
    """How predictions are explained with their answer.

    Attributes:
        label: The class; None: of two the second, of several the one that is predicted.
        top: So many features, the others as one; None for all.
    """

    label: str | None
    top: int | None


def asked_by(query: bytes, form: Form | None) -> tuple[int | None, Why | None]:
    """The version that the target of a request names, None for the champion; and whether it asks why.

    Raises:
        Problem: 422: the query has something else; 404: the path has.
    """
    if form is not None and form.version is not None:
        check_query(query, form.parameters)
        if not _is_number(form.version):
            raise Problem(404, f"there is no version {form.version[:40]!r}: versions are numbers")
        return int(form.version), None
    if not query:
        return None, None
    check_query(query, PARAMETERS if form is None else form.parameters)
    given = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    version = given.get("version")
    if version is not None and not _is_number(version):
        raise _wrong("version", "is not the number of a version")
    return None if version is None else int(version), _why(given)


def _why(given: Mapping[str, str]) -> Why | None:
    if given.get("explain", "false") not in ("true", "false"):
        raise _wrong("explain", "is neither true nor false")
    top, label = given.get("top"), given.get("class")
    if top is not None and not (_is_number(top) and int(top) <= MOST_FEATURES):
        raise _wrong("top", f"is not a number from 1 to {MOST_FEATURES:,}")
    if label is not None and len(label) > LONGEST_LABEL:
        raise _wrong("class", f"is longer than {LONGEST_LABEL} characters")
    return None if given.get("explain", "false") == "false" else Why(label, None if top is None else int(top))


def refuse_unknown_class(query: bytes, served: ServedSystem) -> None:
    """Refuse a class that the system does not tell apart, whether it is to be explained or not.

    Raises:
        Problem: 422.
    """
    label = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)).get("class")
    champion = served.champion
    classes = served.task.labels(served.home, None if champion is None else champion.predictor)
    if label is not None and classes and not any(label in texts_of_class(value) for value in classes):
        known = ", ".join(texts_of_class(value)[0] for value in classes)
        raise _wrong("class", f"is unknown: there is no class {label!r}, only {known}")


def _wrong(name: str, message: str) -> Problem:
    return Problem(422, f"{name} {message}", errors=[{"loc": ["query", name], "msg": message}])


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and not text.startswith("0") and len(text) <= _DIGITS


def version_at(served: ServedSystem, number: int) -> Champion:
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
    for position, conflict in conflicts:
        message = (
            "another row has this key"
            if conflict.version is None
            else f"version {conflict.version} has answered this key"
        )
        errors.append({"loc": ["body"] if single else ["body", position], "msg": message})
    other = conflicts[0][1].version
    subject = "another row" if other is None else f"an answer of version {other}"
    problem = Problem(409, f"the key is taken by {subject}", errors=errors)
    problem.rows = rows
    return problem
