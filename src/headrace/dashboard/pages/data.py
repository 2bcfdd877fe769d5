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
    rules = (validation or {}).get("rules", [])
    return {
        **frame,
        "validation": validation,
        "rules": sorted(rules, key=lambda rule: (rule["passed"], rule["column"] or "")),
        "apart": apart,
        "chosen": chosen,
        "schema": _schema(frame["declared"]),
        "may_release": view.may(name, "write"),
    }


def _schema(declared: dict[str, Any]) -> list[list[str]]:
    """Rows of the schema: column, type, what is allowed, whether it must be there, what it means."""
    contract = declared["contract"]
    needed = set(contract.get("required") or ())
    return [
        [name, *_type(about), "yes" if name in needed else "no", str(about.get("description", ""))]
        for name, about in (contract.get("properties") or {}).items()
    ]


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
