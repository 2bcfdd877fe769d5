"""Rows of a system that answers them: a form that posts and explains, the newest answers, how they met the truth."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from headrace.dashboard.figures import Figure, FigureLine
from headrace.dashboard.forms import PostedForm
from headrace.dashboard.pages.of_system import beside
from headrace.dashboard.parts import WriteOutcome
from headrace.dashboard.reading import ApiRefusal
from headrace.dashboard.view import PageView, system_path

_ANSWERS, _MET, _BINS, _CLASSES = 25, 1000, 10, 12


async def rows(view: PageView) -> dict[str, Any]:
    """What stands on the page."""
    return await _with(view, {}, None, [], "")


async def _with(
    view: PageView, values: Mapping[str, str], answer: Any, errors: Sequence[Mapping[str, Any]], trouble: str
) -> dict[str, Any]:
    name = view.request.path_params["name"]
    frame, newest = await asyncio.gather(
        beside(view, "rows"),
        view.api.get(system_path(name, "answers"), {"limit": _MET, "truth": "true"}),
    )
    rows_shown = newest["rows"]
    if answer is not None and answer["id"] not in {row["id"] for row in rows_shown}:
        rows_shown = [_logged(answer, view), *rows_shown]  # reads are some seconds old
    target, answers = frame["declared"]["target"], [_keyed(row, frame["declared"]) for row in rows_shown]
    met = [row for row in answers if row.get("actual") is not None]
    said = {str(error["loc"][-1]): str(error["msg"]) for error in errors if error.get("loc")}
    contributions = ((answer or {}).get("explanation") or {}).get("contributions") or []
    largest = max((abs(part["contribution"]) for part in contributions), default=0) or 1
    return {
        **frame,
        "fields": fields_of(frame["declared"]),
        "values": values,
        "errors": said,
        "trouble": trouble,
        "answer": answer,
        "contributions": [
            {**part, "part": abs(part["contribution"]) / largest}
            for part in sorted(contributions, key=lambda part: -abs(part["contribution"]))[:20]
        ],
        "newest": answers[:_ANSWERS],
        "keys_shown": frame["declared"].get("keys") or [],
        "columns": _columns(answers[:_ANSWERS]),
        "met": len(met),
        "confusion": confusion(met, target),
        "calibrates": any(isinstance(row.get("probability"), int | float) for row in met),
        "may_predict": view.may(name, "predict"),
    }


def _logged(answer: Mapping[str, Any], view: PageView) -> dict[str, Any]:
    """What was answered this moment, as it stands in the log."""
    values = {name: value for name, value in answer.items() if not isinstance(value, dict | list) or name == "key"}
    return {**values, "created_at": view.now.isoformat(), "door": "http"}


def _keyed(row: Mapping[str, Any], declared: Mapping[str, Any]) -> dict[str, Any]:
    """An answer with its key columns by their names, where it has the key alone."""
    keys, values = declared.get("keys") or [], row.get("key")
    if isinstance(values, str):
        try:
            values = json.loads(values)
        except ValueError:
            values = [values]
    values = values if isinstance(values, list) else [values]
    named = dict(zip(keys, values, strict=True)) if row.get("key") is not None and len(values) == len(keys) else {}
    return {**named, **{name: _parsed(value) for name, value in row.items() if name not in ("key", "members")}}


def _parsed(value: Any) -> Any:
    """Lists and objects are texts in tables."""
    if not (isinstance(value, str) and value[:1] in ("[", "{")):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _columns(rows_shown: Sequence[Mapping[str, Any]]) -> list[str]:
    names = list(dict.fromkeys(name for row in rows_shown for name, value in row.items() if value is not None))
    first = [name for name in ("created_at",) if name in names]
    return [*first, *(name for name in names if name not in (*first, "id", "as_of", "door", "logged", "role"))][:9]


def fields_of(declared: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The fields of a form for one row, as the contract has its columns; the target is left out."""
    contract = declared["contract"]
    needed = set(contract.get("required") or ())
    found = []
    for name, about in (contract.get("properties") or {}).items():
        if name == declared["target"]:
            continue
        inner = next((part for part in about.get("anyOf", ()) if part.get("type") != "null"), about)
        kinds = inner.get("type", "string")
        kind = kinds if isinstance(kinds, str) else next(iter(kind for kind in kinds if kind != "null"), "string")
        found.append(
            {
                "name": name,
                "kind": kind,
                "needed": name in needed,
                "choices": [choice for choice in inner.get("enum") or () if choice is not None],
                "minimum": inner.get("minimum"),
                "maximum": inner.get("maximum") if abs(inner.get("maximum") or 1e300) < 1e15 else None,
                "hint": str(about.get("description", "")),
            }
        )
    return found


def row_of(fields: Sequence[Mapping[str, Any]], values: Mapping[str, str]) -> dict[str, Any]:
    """A row as JSON: what was left empty is left out, what is no number stays a text, which the contract refuses.

    >>> row_of([{"name": "age", "kind": "number"}, {"name": "n", "kind": "integer"}], {"age": "2.5", "n": "x"})
    {'age': 2.5, 'n': 'x'}
    """
    row: dict[str, Any] = {}
    for field in fields:
        text = values.get(field["name"], "")
        if text == "":
            continue
        row[field["name"]] = _value(text, field["kind"])
    return row


def _value(text: str, kind: str) -> Any:
    try:
        if kind == "integer":
            return int(text)
        if kind == "number":
            return float(text)
    except ValueError:
        return text
    return {"true": True, "false": False}.get(text, text) if kind == "boolean" else text


async def predict(view: PageView, form: PostedForm) -> WriteOutcome:
    """Post one row, and show what was answered and why; or what is wrong with which field."""
    name = view.request.path_params["name"]
    declared = await view.api.get(system_path(name))
    fields = fields_of(declared)
    values = {field["name"]: form.first(f"row.{field['name']}") for field in fields}
    answer, errors, trouble = None, list[dict[str, Any]](), ""
    try:
        answer = await view.api.post(system_path(name, "predict"), row_of(fields, values), {"explain": "true"})
    except ApiRefusal as refused:
        if refused.status not in (409, 422):
            raise
        errors, trouble = refused.errors, refused.detail
    return WriteOutcome(template="rows.html", context=await _with(view, values, answer, errors, trouble))


def confusion(met: Sequence[Mapping[str, Any]], target: str) -> dict[str, Any] | None:
    """How often each class was answered for each that came; None where there are too many, or no classes.

    >>> confusion([{"y": 1, "actual": 1}, {"y": 0, "actual": 1}], "y")["rows"]
    [('1', [1, 1])]
    """
    pairs = Counter((str(row["actual"]), str(row.get(target))) for row in met if row.get(target) is not None)
    actual, answered = sorted({pair[0] for pair in pairs}), sorted({pair[1] for pair in pairs})
    if not pairs or len(actual) > _CLASSES or len(answered) > _CLASSES:
        return None
    return {
        "answered": answered,
        "rows": [(truth, [pairs[truth, value] for value in answered]) for truth in actual],
        "right": sum(count for (truth, value), count in pairs.items() if truth == value) / sum(pairs.values()),
    }


async def calibration(view: PageView, name: str) -> Figure:
    """How often what was said with some probability came true, of the newest answers whose truth is known."""
    declared, newest = await asyncio.gather(
        view.api.get(system_path(name)),
        view.api.get(system_path(name, "answers"), {"limit": _MET, "truth": "true"}),
    )
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(_BINS)]
    for row in newest["rows"]:
        share, answered = row.get("probability"), row.get(declared["target"])
        if isinstance(share, int | float) and row.get("actual") is not None and answered is not None:
            came = (
                str(row["actual"]) == "1"
                if set(map(str, (answered, row["actual"]))) <= {"0", "1"}
                else str(row["actual"]) == str(answered)
            )
            bins[min(int(share * _BINS), _BINS - 1)].append((float(share), came))
    points = [
        {
            "probability": sum(share for share, _ in part) / len(part),
            "came_true": sum(came for _, came in part) / len(part),
            "perfect": sum(share for share, _ in part) / len(part),
            "n": len(part),
        }
        for part in bins
        if part
    ]
    return Figure(
        title="Calibration",
        unit="share that came true",
        x="probability",
        lines=(
            FigureLine("perfect", "perfect", "naive"),
            FigureLine("came_true", "came true", "ours"),
            FigureLine("n", "answers", "hidden"),
        ),
        rows=points,
        over="number",
        span=(0.0, 1.0),
        share=True,
        zero=True,
    )
