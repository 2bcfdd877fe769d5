"""Every route, from the OpenAPI document of a server with two of the reference systems."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from docs._generated.docstrings import cell

from headrace.api.tools import tools
from headrace.home import Home
from headrace.loading import load_system
from headrace.serving.http.app import Application
from headrace.serving.http.options import Options
from headrace.serving.http.reads.tools import Above
from headrace.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
SYSTEMS = ("titanic", "energy")
"""One that scores rows, and one that forecasts series: between them they have every route."""


def http() -> str:
    """The routes, then what their bodies are."""
    document = openapi()
    rows = ["| route | does | parameters | answers |", "|---|---|---|---|"]
    seen: set[str] = set()
    for path, method, operation in _operations(document):
        route = f"{method.upper()} {path}"
        if route in seen:
            continue
        seen.add(route)
        names = [f"`{each['name']}`" for each in operation.get("parameters", []) if each["in"] != "path"]
        statuses = " ".join(sorted(operation["responses"]))
        text = _general(operation.get("description") or operation.get("summary") or "")
        rows.append(f"| `{route}` | {cell(text.split(chr(10) + chr(10))[0])} | {' '.join(names)} | {statuses} |")
    return "\n".join(rows) + "\n\n## Bodies\n\n" + _bodies(document["components"]["schemas"])


@cache  # its counters can be registered once in a process
def openapi() -> dict[str, Any]:
    """The document as a client gets it."""
    with TemporaryDirectory() as folder:
        home = Home(Settings(home=Path(folder)))
        systems = [load_system(str(ROOT / "systems" / name)) for name in SYSTEMS]
        application = Application(systems, home, Options(), above=Above(tools()))
        document: dict[str, Any] = asyncio.run(_asked(application))
    return document


async def _asked(application: Application) -> Any:
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="http://headrace") as client:
        return (await client.get("/openapi.json")).raise_for_status().json()


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield (
                re.sub(rf"/({'|'.join(SYSTEMS)})(?=/|$)", "/{system}", path).replace("{name}", "{system}"),
                method,
                operation,
            )


def _general(text: str) -> str:
    """A text about one of the systems, as one about any."""
    return re.sub(r"\b(Survived|consumption)\b", "the target", text)


def _bodies(schemas: Mapping[str, Any]) -> str:
    text = []
    for name, schema in sorted(schemas.items()):
        fields = schema.get("properties", {})
        if not fields:
            continue
        rows = ["| field | type | what it is |", "|---|---|---|"]
        required = schema.get("required", ())
        for field, part in fields.items():
            kind = _kind(part) + ("" if field in required else ", may be left out")
            rows.append(f"| `{field}` | {cell(kind)} | {cell(part.get('description', ''))} |")
        text += [f"### {name}", schema.get("description", ""), "\n".join(rows)]
    return "\n\n".join(part for part in text if part)


def _kind(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(_kind(part) for part in schema[key]))
    kind = schema.get("type", "any")
    if isinstance(kind, list):
        return " or ".join(kind)
    if kind == "array":
        return f"array of {_kind(schema.get('items', {}))}"
    return f"{kind} ({schema['format']})" if "format" in schema else kind
