"""Data of a system: what the contract said, rows that were set apart and their release, staleness, schema."""

from __future__ import annotations

import asyncio
from typing import Any

from headrace.dashboard.figures import Figure, FigureLine
from headrace.dashboard.forms import PostedForm
from headrace.dashboard.pages.of_system import beside, optional
from headrace.dashboard.parts import WriteOutcome
from headrace.dashboard.view import PageView, system_path

_ROWS, _INGESTS = 50, 200


async def data(view: PageView) -> dict[str, Any]:
    """What stands on the page."""
    name = view.request.path_params["name"]
    chosen = {part: view.asked(part) or None for part in ("reason", "column", "source", "cursor")}
    chosen["released"] = "true" if view.asked("released") == "true" else None
    frame, validation, apart = await asyncio.gather(
        beside(view, "data"),
        optional(view, system_path(name, "validation"), run=view.asked("run") or None, limit=20),
        optional(view, system_path(name, "quarantine"), limit=_ROWS, **chosen),
    )
    rules = [{**rule, "example": _example(rule)} for rule in (validation or {}).get("rules", [])]
    head, schema = _schema(frame["declared"])
    return {
        **frame,
        "validation": validation,
        "rules": sorted(rules, key=lambda rule: (rule["passed"], rule["column"] or "")),
        "apart": apart,
        "columns": _columns((apart or {}).get("rows", [])),
        "chosen": chosen,
        "schema_head": head,
        "schema": schema,
        "may_release": view.may(name, "write"),
    }


def _example(rule: dict[str, Any]) -> Any:
    """A row that broke a rule, or a value of it."""
    example = next(iter(rule.get("examples") or ()), None)
    return example.get("row", example) if isinstance(example, dict) else example


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    """Columns of rows set apart that say something: first why, then the row; ids are for programs."""
    told = [name for name in (rows[0] if rows else ()) if any(row.get(name) is not None for row in rows)]
    first = [name for name in ("reasons", "row") if name in told]
    return [*first, *(name for name in told if name not in (*first, "id"))]


def _schema(declared: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the schema: column, type, what is allowed, whether it must be there, what it means if said."""
    contract = declared["contract"]
    needed = set(contract.get("required") or ())
    rows = [
        [name, *_type(about), "yes" if name in needed else "no", str(about.get("description", ""))]
        for name, about in (contract.get("properties") or {}).items()
    ]
    head = ["column", "type", "allowed", "must be there", "meaning"]
    return (head, rows) if any(row[-1] for row in rows) else (head[:-1], [row[:-1] for row in rows])


def _type(about: dict[str, Any]) -> tuple[str, str]:
    """The type of a column, and its bounds, in words."""
    inner = next((part for part in about.get("anyOf", ()) if part.get("type") != "null"), about)
    kind = inner.get("type", "any")
    kinds = [kind] if isinstance(kind, str) else list(kind)
    bounds = []
    if "enum" in inner:
        bounds.append("one of " + ", ".join(map(str, inner["enum"][:12])) + (" …" if len(inner["enum"]) > 12 else ""))
    if "minimum" in inner:
        bounds.append(f"at least {inner['minimum']:g}")
    if inner.get("maximum", 1e300) < 1e18:
        bounds.append(f"at most {inner['maximum']:g}")
    if "pattern" in inner:
        bounds.append(f"like {inner['pattern']}")
    return " or ".join(kind for kind in kinds if kind != "null"), "; ".join(bounds)


async def ingests(view: PageView, name: str) -> Figure:
    """Rows of every ingest: how many were good, and how many were set apart."""
    answer = await view.api.get(system_path(name, "validation"), {"limit": _INGESTS})
    return Figure(
        title="Rows of each ingest",
        unit="rows",
        x="created_at",
        lines=(
            FigureLine("rows", "read", "truth"),
            FigureLine("bad", "broke the contract", "naive"),
            FigureLine("good", "good", "hidden"),
            FigureLine("pending", "pending", "hidden"),
            FigureLine("source", "source", "hidden"),
        ),
        rows=sorted(answer["history"], key=lambda row: row["created_at"]),
        zero=True,
    )


async def release(view: PageView, form: PostedForm) -> WriteOutcome:
    """Check rows that were set apart again, and take in those that are good now."""
    name = view.request.path_params["name"]
    body: dict[str, Any] = {part: [form.first(part)] for part in ("reason", "column") if form.first(part)}
    if form.first("source"):
        body["source"] = form.first("source")
    if form.all("id"):
        body["ids"] = form.all("id")
    if form.first("why").strip():
        body["why"] = form.first("why").strip()
    done = await view.api.post(system_path(name, "quarantine", "release"), body)
    parts = [f"{done.get(part, 0):,} {part}" for part in ("released", "repeated", "superseded", "pending", "kept")]
    return WriteOutcome(f"Of {done.get('read', 0):,} rows: {', '.join(parts)}.", view.path("systems", name, "data"))
