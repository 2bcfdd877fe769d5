"""The OpenAPI document as one page for people: no script, and nothing from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from headrace.serving.http.openapi_examples import example, value

Node = Mapping[str, Any]

_STYLE = """
:root{color-scheme:light dark;--line:#8883;--get:#0072b2;--post:#00875a;--soft:#8881}
@media(prefers-color-scheme:dark){:root{--get:#56b4e9;--post:#3ecf9f}}
body{font:15px/1.5 system-ui,sans-serif;max-width:58rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.4rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}h3{font-size:.95rem;margin:1rem 0 .2rem}
.sub{opacity:.7}a{color:inherit}code,pre{font:13px/1.5 ui-monospace,monospace}
details{border:1px solid var(--line);border-radius:6px;margin:.4rem 0;padding:.45rem .8rem}
summary{cursor:pointer;overflow-wrap:anywhere}summary .sub{margin-left:.6rem}
.get,.post{display:inline-block;min-width:3rem;font-weight:700;font-size:.8rem}
.get{color:var(--get)}.post{color:var(--post)}
pre{background:var(--soft);border-radius:6px;padding:.6rem .8rem;overflow-x:auto;margin:.4rem 0}
table{border-collapse:collapse;display:block;overflow-x:auto}
td,th{text-align:left;vertical-align:top;padding:.2rem .9rem .2rem 0;border-bottom:1px solid var(--line)}
"""
_WIDE = 2**53
"""Bounds beyond this are those of the number's type, and say nothing."""
_SERVER = "Server"  # no name of a system: those are in lower case
_EXAMPLE_ID = "01a1fdc5-9c79-757a-9748-b671781147e3"


def page(document: Node, base: str) -> str:
    """The page.

    Args:
        document: An OpenAPI document.
        base: Where the server is reached, for the examples: ``http://localhost:8000``.
    """
    title = f"{document['info']['title']} {document['info']['version']}"
    groups: dict[str, list[tuple[str, str, Node]]] = {_SERVER: []}
    for path, item in document["paths"].items():
        parts = path.split("/")
        group = parts[3] if path.startswith("/v1/systems/") and "{" not in path else _SERVER
        groups.setdefault(group, []).extend((method, path, operation) for method, operation in item.items())
    links = ", ".join(f'<a href="#{escape(name)}">{escape(name)}</a>' for name in groups)
    head = "<!doctype html><html lang=en><meta charset=utf-8>"
    head += "<meta name=viewport content='width=device-width,initial-scale=1'><link rel=icon href='data:,'>"
    body = [f"<h1>{escape(title)}</h1><p class=sub>{links}. For programs: <a href=openapi.json>/openapi.json</a></p>"]
    writer = _Writer(document, base, next((name for name in groups if name != _SERVER), "titanic"))
    for name, operations in groups.items():
        body.append(f'<h2 id="{escape(name)}">{escape(name)}</h2>')
        body += [writer.operation(*operation) for operation in operations]
    return f"{head}<title>{escape(title)}</title><style>{_STYLE}</style>\n" + "\n".join(body) + "\n"


class _Writer:
    def __init__(self, document: Node, base: str, system: str) -> None:
        self._parts: Node = document.get("components", {}).get("schemas", {})
        self._base, self._system = base, system

    def operation(self, method: str, path: str, told: Node) -> str:
        text = told.get("description") or told.get("summary", "")
        if "requestBody" in told:
            text = f"{told['summary']}. {text}"
        first, _, rest = text.partition("\n")
        parts = [f"<p>{escape(rest)}</p>" if rest.strip() else ""]
        parameters = [
            [
                parameter["name"],
                parameter["in"],
                _asked(parameter),
                self._kind(parameter["schema"]),
                parameter.get("description", ""),
            ]
            for parameter in told.get("parameters", ())
        ]
        parts.append(_table("Parameters", ["name", "in", "", "is", ""], parameters))
        row = self._row(told)
        if row is not None:
            parts.append(_table("A row", ["name", "", "is"], self._properties(row)))
        parts.append(f"<h3>Example</h3><pre>{escape(self._example(path, told, row))}</pre>")
        statuses = [[code, self._answer(answer), answer["description"]] for code, answer in told["responses"].items()]
        parts.append(_table("Answers", ["status", "is", ""], statuses))
        summary = f"<b class={method}>{method.upper()}</b> <code>{escape(path)}</code>"
        return f"<details><summary>{summary}<span class=sub>{escape(first)}</span></summary>{''.join(parts)}</details>"

    def _row(self, operation: Node) -> Node | None:
        """The object that is posted."""
        if "requestBody" not in operation:
            return None
        schema: Node = operation["requestBody"]["content"]["application/json"]["schema"]
        kinds: Sequence[Node] = schema.get("anyOf", [schema])
        return next(kind for kind in map(self._there, kinds) if kind.get("type") == "object")

    def _there(self, schema: Node) -> Node:
        """A schema in place of a reference to it."""
        schema_part: Node = self._parts[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
        return schema_part

    def _properties(self, schema: Node) -> Iterator[list[str]]:
        for name, property_ in schema["properties"].items():
            yield [name, "required" if name in schema["required"] else "", self._kind(property_)]

    def _answer(self, answer: Node) -> str:
        for media, content in answer.get("content", {}).items():
            return self._kind(content["schema"]) if media.endswith("json") else media
        return ""

    def _kind(self, schema: Node) -> str:
        """A schema in words, one level deep."""
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            return "a problem (RFC 9457)" if name == "Problem" else self._kind(self._parts[name])
        if "anyOf" in schema:
            return " or ".join(dict.fromkeys(self._kind(option) for option in schema["anyOf"]))
        if "const" in schema or "enum" in schema:
            return " | ".join(json.dumps(value) for value in schema.get("enum", [schema.get("const")]))
        of = schema.get("type", "anything")
        kind = " or ".join(of) if isinstance(of, list) else of
        if kind == "object" and schema.get("properties"):
            return f"object {{{', '.join(schema['properties'])}}}"
        if kind == "array":
            return f"array of {self._kind(schema['items'])}" if "items" in schema else kind
        return " ".join([kind, *_limits(schema)])

    def _example(self, path: str, operation: Node, row: Node | None) -> str:
        query = "&".join(
            f"{parameter['name']}={next(iter(parameter.get('examples', {})), value(parameter['schema']))}"
            for parameter in operation.get("parameters", ())
            if parameter["in"] == "query" and parameter.get("required")
        )
        path = path.replace("{prediction_id}", _EXAMPLE_ID).replace("{name}", self._system)
        target = f"{self._base}{path}{'?' if query else ''}{query}"
        if row is None:
            return f"curl '{target}'"
        values = example(row)
        data = json.dumps(values, ensure_ascii=False).replace("'", "'\\''")
        return f"curl '{target}' -H 'content-type: application/json' \\\n  -d '{data}'"


def _asked(parameter: Node) -> str:
    return "required" if parameter.get("required") else ""


def _limits(schema: Node) -> Iterator[str]:
    for name, sign in (("minimum", ">="), ("maximum", "<=")):
        if name in schema and abs(schema[name]) < _WIDE:
            yield f"{sign} {schema[name]}"
    for name in ("format", "pattern"):
        if name in schema:
            yield f"({schema[name]})"
    if "default" in schema:
        yield f"(default {json.dumps(schema['default'])})"


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]] | Iterator[Sequence[str]]) -> str:
    lines = ["".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows]
    if not lines:
        return ""
    heads = "".join(f"<th>{escape(name)}</th>" for name in header)
    return f"<h3>{escape(title)}</h3><table><tr>{heads}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
