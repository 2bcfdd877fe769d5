"""The newest predictions of a system: those in its tables, and those that are only in the ledger so far."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from headrace.home import PREDICTIONS, Home
from headrace.lineage import iso
from headrace.serving.http.reads.paging import cursor_of, key_of

if TYPE_CHECKING:
    from headrace.ledger import Entry
    from headrace.system import System

_HIDDEN = ("_version", "revision", "inputs", "row_digest", "known_at", "run_id")
_PINS = ("model_digest", "feature_version", "data_version", "config_digest", "code_revision")


def newest_answers(
    home: Home, system: System, as_of: datetime | None, limit: int, cursor: str | None
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of predictions, those made last first, and the cursor of the next page.

    Args:
        home: Where they are.
        system: The declaration.
        as_of: None that was made later; None: all.
        limit: How many at most.
        cursor: Of the page before.

    Raises:
        NotFoundError: The cursor is none.
        HeadraceError: They cannot be read.
    """
    before = None if cursor is None else _place(key_of(cursor))
    rows = {row["id"]: row for row in _logged(home, system.name, as_of, before, limit)}
    rows |= {row["id"]: row for row in _stored(home, system, as_of, before, limit)}  # the tables know more of each
    ordered = sorted(rows.values(), key=lambda row: (row["created_at"], row["id"]), reverse=True)
    part = ordered[:limit]
    more = len(ordered) > limit
    return part, cursor_of([iso(part[-1]["created_at"]), part[-1]["id"]]) if more and part else None


def _place(key: Any) -> tuple[datetime, str]:
    from headrace.errors import NotFoundError

    try:
        time, prediction = key
        if not isinstance(key, list) or not prediction.encode():
            raise ValueError
        return datetime.fromisoformat(time).astimezone(UTC), prediction
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise NotFoundError("is no cursor", where="cursor", hint="take it from `next` of the page before") from error


def _stored(
    home: Home, system: System, as_of: datetime | None, before: tuple[datetime, str] | None, limit: int
) -> list[dict[str, Any]]:
    import polars as pl

    table = home.table(system.name, PREDICTIONS)
    if not table.exists():
        return []
    lazy = table.scan(as_of=as_of)
    if before is not None:
        time = pl.lit(before[0], pl.Datetime("us", "UTC"))
        tied = (pl.col("created_at") == time) & (pl.col("id") < before[1])
        lazy = lazy.filter((pl.col("created_at") < time) | tied)
    frame = table.collect(lazy.sort("created_at", "id", descending=True).head(limit + 1))
    hidden = [name for name in (*_HIDDEN, *_PINS) if name in frame.columns]
    return frame.drop(hidden).to_dicts()


def _logged(
    home: Home, name: str, as_of: datetime | None, before: tuple[datetime, str] | None, limit: int
) -> list[dict[str, Any]]:
    if not home.has_ledger:
        return []
    entries = home.ledger.newest(name, limit=limit + 1, before=before, until=as_of)
    return [_row(entry) for entry in entries]


def _row(entry: Entry) -> dict[str, Any]:
    answer: Mapping[str, Any] = json.loads(entry.answer)
    values = {name: value for name, value in answer.items() if name not in ("id", "key", "pins")}
    return {
        "id": entry.id,
        "key": entry.key,
        **values,
        "as_of": answer.get("as_of", entry.created_at),
        "created_at": entry.created_at,
        "model_version": entry.model_version,
        "door": "http",
    }
