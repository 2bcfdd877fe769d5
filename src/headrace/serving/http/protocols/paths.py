"""Which paths are another protocol's."""

from __future__ import annotations

from collections.abc import Collection

from headrace.serving.http.form import Form
from headrace.serving.http.problem import Problem
from headrace.serving.http.protocols import inference, invocations

_MLFLOW = frozenset((invocations.PATH, "/ping", "/version"))


def posted(path: str, systems: Collection[str]) -> tuple[str, Form] | None:
    """The system and the form of a request for predictions; None where the path is not for that.

    Args:
        path: As it is asked for.
        systems: Those that are served. Without a name, the only one is meant; of several none is.
    """
    if path.startswith(inference.PREFIX):
        return inference.asked(path)
    name = invocations.asked(path)
    if name is None:
        return None
    only = next(iter(systems)) if len(systems) == 1 else ""
    return name or only, invocations.Invocation()


def refused_at(path: str, problem: Problem) -> bytes:
    """The body of a refusal in the words of the protocol that has the path."""
    if path == inference.PREFIX or path.startswith(inference.PREFIX + "/"):
        return inference.refused(problem)[0]
    if path in _MLFLOW:
        return invocations.refused(problem)[0]
    return problem.body()
