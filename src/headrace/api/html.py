"""What notebooks show: small tables of plain HTML, without scripts or styles of their own but the least."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from html import escape
from typing import TYPE_CHECKING, Any

from headrace.console.table import cell
from headrace.declaration import format_duration

if TYPE_CHECKING:
    from headrace.registry import ModelVersion
    from headrace.system import System

_SHOWN = 12
_TITLE = '<div style="font-weight:600;margin:.6em 0 .2em">{}</div>'


def table(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows under a title; the first dozen of them."""
    if not rows:
        return _TITLE.format(escape(title)) + "<div>none</div>"
    names = list(dict.fromkeys(name for row in rows for name in row))
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    lines = "".join(
        "<tr>" + "".join(f"<td>{escape(_text(row.get(name)))}</td>" for name in names) + "</tr>"
        for row in rows[:_SHOWN]
    )
    more = f"<div>and {len(rows) - _SHOWN:,} more</div>" if len(rows) > _SHOWN else ""
    title = _TITLE.format(escape(title))
    return f"{title}<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>{more}"


def facts(title: str, values: Mapping[str, Any]) -> str:
    """Names and values, a line each."""
    lines = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(_text(value))}</td></tr>" for name, value in values.items()
    )
    return f"{_TITLE.format(escape(title))}<table><tbody>{lines}</tbody></table>"


def of_system(declared: System, home: str, champion: ModelVersion | None, last: Mapping[str, Any] | None) -> str:
    """The contract, the features, the champion and the last run."""
    about: dict[str, Any] = {"target": declared.target, "keys": declared.keys}
    about |= {name: value for name in ("time", "step", "horizon") if (value := getattr(declared, name)) is not None}
    columns = [
        {"column": column.name, "type": column.type, "rules": _rules(column.model_dump(exclude_defaults=True))}
        for column in declared.contract.columns
    ]
    features = [
        {"feature": name, "definition": _definition(feature.as_dict())} for name, feature in declared.features.items()
    ]
    version: dict[str, Any] = {"champion": "none yet"}
    if champion is not None:
        version = {"champion": champion.version, "as_of": champion.as_of} | _known(champion.metrics)
    parts = (
        facts(declared.name, {**about, "home": home}),
        table("contract", columns),
        table("features", features),
        facts("model", version),
        facts("last run", {"last run": "none yet"} if last is None else _known(last)),
    )
    return "".join(parts)


def of_run(title: str, document: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]]) -> str:
    """Its steps, what it warns of, what it trained, and the first of its predictions."""
    shown = ("as_of", "ingested", "quarantined", "predictions")
    parts = [facts(title, {name: document[name] for name in shown}), table("steps", document["steps"])]
    if document.get("warnings"):
        parts.append(table("warnings", [{"": text} for text in document["warnings"]]))
    if "model" in document:
        parts.append(facts("trained", {name: document["model"][name] for name in ("version", "promoted", "reason")}))
    if document["metrics"]:
        parts.append(facts("metrics", document["metrics"]))
    if predictions:
        parts.append(table("predictions", predictions))
    return "".join(parts)


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _definition(tree: Any) -> str:
    """An expression as it could be written."""
    if not isinstance(tree, Mapping):
        return repr(tree)
    if "duration" in tree:
        return str(tree["duration"])
    kind = tree.get("op")
    if kind == "col":
        return str(tree["name"])
    if kind == "literal":
        return repr(tree["value"])
    if kind == "arithmetic":
        return f"({_definition(tree['left'])} {tree['sign']} {_definition(tree['right'])})"
    return f"{kind}({', '.join(_definition(value) for name, value in tree.items() if name != 'op')})"


def _rules(dumped: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_text(value)}" for name, value in dumped.items() if name not in ("name", "type"))


def _text(value: Any) -> str:
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
        return ", ".join(map(_text, value)) or "-"
    return cell(value)
