"""What versions said beside the one that answered, as a table of its own: nowhere among the predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from headrace.errors import NotFoundError
from headrace.home import SHADOWS, Home
from headrace.lineage import PINNED, ROLE, SHADOW_OF
from headrace.pipelines.row_inference import SEQUENCE, schema
from headrace.row_predictor import PROBABILITY, decoded
from headrace.system import System

if TYPE_CHECKING:
    import polars as pl

    from headrace.ledger.shadows import Beside

ERROR = "error"
"""Why a version had nothing to say to a row; null where it had."""


def export(
    system: System,
    home: Home,
    *,
    limit: int = 10_000,
    on_progress: Callable[[str, int, int], None] = lambda what, done, of: None,
) -> int:
    """Copy what the ledger has of them to their table, each once; returns how many were new.

    The table remembers how far it got with each version, as that of the predictions does.
    """
    if not home.has_ledger:
        return 0
    added = 0
    for follower, _ in home.ledger.shadows.followers(system.name):
        number = follower.model_version
        after, begin = (_exported(system, home, number),) * 2
        while said := home.ledger.shadows.read(system.name, number, after=after, limit=limit):
            after = said[-1][0].of
            frame = logged(system, home, said)
            table = home.table(system.name, SHADOWS)
            added += table.append(frame, identity=["id"], compare=[system.target, PROBABILITY], window="as_of").added
            on_progress(f"export version {number}", after - begin, max(follower.position, after) - begin)
    return added


def _exported(system: System, home: Home, number: int) -> int:
    """The entry in the log up to which a version's are exported; 0 where the log is another one than last time."""
    import polars as pl

    table = home.table(system.name, SHADOWS)
    if not table.exists() or not home.has_ledger:
        return 0
    its = table.scan().filter(pl.col(SEQUENCE).is_not_null(), pl.col("model_version") == number)
    found = table.collect(its.sort(SEQUENCE, "_version").tail(1).select(SEQUENCE, "id")).rows()
    if not found:
        return 0
    of, name = found[0]
    there = home.ledger.shadows.read(system.name, number, after=of - 1, limit=1)
    return int(of) if there and (there[0][0].of, there[0][0].id) == (of, name) else 0


def logged(system: System, home: Home, said: Sequence[Beside]) -> pl.DataFrame:
    """What the ledger has, as rows of the table."""
    import polars as pl

    from headrace.pipelines.row_inference import ROW_DIGEST

    types = {c.name: c.type for c in system.contract.columns}
    pins = {each: home.ledger.pins(each) for each in {shadow.pins for shadow, _ in said}}
    rows: list[dict[str, Any]] = []
    for shadow, entry in said:
        inputs = (entry.inputs if shadow.inputs is None else shadow.inputs).decode()
        row, answer = decoded(inputs, types), msgspec.json.decode(shadow.answer)
        rows.append(
            {
                "id": shadow.id,
                **{name: row[name] for name in system.keys},
                system.target: answer.get(system.target),
                PROBABILITY: answer.get(PROBABILITY),
                "inputs": inputs,
                ROW_DIGEST: entry.digest,
                **dict.fromkeys(("as_of", "known_at", "created_at"), entry.created_at),
                "run_id": None,
                "door": "http",
                SEQUENCE: shadow.of,
                **{name: pins[shadow.pins][name] for name in PINNED},
                ROLE: pins[shadow.pins].get(ROLE),
                SHADOW_OF: entry.id,
                ERROR: answer.get(ERROR),
            }
        )
    return pl.DataFrame(rows, schema={**schema(system), SHADOW_OF: pl.String, ERROR: pl.String}, orient="row")


def read(
    system: System, home: Home, *, columns: Sequence[str] | None = None, as_of: datetime | None = None
) -> pl.DataFrame:
    """All that is stored and logged of a system that scores rows, in the order of what was answered.

    Args:
        system: The declaration.
        home: Where it is.
        columns: Those that are wanted; None: all.
        as_of: Only what was asked for up to then.

    Raises:
        NotFoundError: There is none.
    """
    import polars as pl

    table, parts = home.table(system.name, SHADOWS), list[pl.DataFrame]()
    names = list(columns or [*schema(system), SHADOW_OF, ERROR])
    names = [name for name in names if name != "known_at"]
    if table.exists():
        parts.append(table.read(identity=["id"], columns=names, as_of=as_of, order=[]))
    followers = home.ledger.shadows.followers(system.name) if home.has_ledger else []
    for follower, _ in followers:
        after = _exported(system, home, follower.model_version)
        while said := home.ledger.shadows.read(system.name, follower.model_version, after=after):
            after = said[-1][0].of
            parts.append(logged(system, home, said).select(names))
    if not parts:
        hint = f"headrace serve {system.name} --shadow VERSION"
        raise NotFoundError("no version has scored beside yet", where=system.name, hint=hint)
    frame = pl.concat(parts, how="diagonal_relaxed")
    return frame if as_of is None else frame.filter(pl.col("as_of") <= pl.lit(as_of, pl.Datetime("us", "UTC")))
