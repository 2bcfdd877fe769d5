"""What versions said beside the one that answered, as a table of its own: nowhere among the predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from headrace.contract.apart import inside
from headrace.home import SHADOWS, Home
from headrace.identity import decoded
from headrace.lineage import PINNED, ROLE, SHADOW, SHADOW_OF
from headrace.system import System
from headrace.tasks.conditions import conditions, none_yet
from headrace.tasks.rows.inference import SEQUENCE, answer_columns, schema
from headrace.tasks.rows.outputs.declared import output_of

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
    on_progress: Callable[[str, int, int], None] = lambda stage, count, total: None,
) -> int:
    """Copy what the ledger has of them to their table, each once; returns how many were new.

    The table remembers how far it got with each version, as that of the predictions does.
    """
    if not home.has_ledger:
        return 0
    added, compared = 0, answer_columns(system, home)
    for follower, _ in home.ledger.shadows.followers(system.name):
        number = follower.model_version
        begin = exported_of(system, home, number)
        for shadows in home.ledger.shadows.parts(system.name, follower, after=begin, limit=limit):
            after = shadows[-1][0].of
            frame = logged(system, home, shadows)
            table = home.table(system.name, SHADOWS)
            added += table.append(frame, identity=["id"], compare=compared, window="as_of").added
            on_progress(f"export version {number}", after - begin, follower.position - begin)
    return added


def exported_of(system: System, home: Home, number: int) -> int:
    """The entry in the log up to which a version's are exported; 0 where the log is another one than last time."""
    import polars as pl

    table = home.table(system.name, SHADOWS)
    if not table.exists() or not home.has_ledger:
        return 0
    exported = table.scan().filter(pl.col(SEQUENCE).is_not_null(), pl.col("model_version") == number)
    rows = table.collect(exported.sort(SEQUENCE, "_version").tail(1).select(SEQUENCE, SHADOW_OF)).rows()
    if not rows:
        return 0
    first, name = rows[0]
    entries = home.ledger.shadows.read(system.name, number, after=first - 1, limit=1)
    return int(first) if entries and (entries[0][0].of, entries[0][1].id) == (first, name) else 0


def logged(system: System, home: Home, answers: Sequence[Beside]) -> pl.DataFrame:
    """What the ledger has, as rows of the table."""
    import polars as pl

    from headrace.tasks.rows.inference import ROW_DIGEST

    types, output = {c.name: c.type for c in system.contract.columns}, output_of(system, home)
    pins = {pin: home.ledger.pins(pin) for pin in {shadow.pins for shadow, _ in answers}}
    rows: list[dict[str, Any]] = []
    for shadow, entry in answers:
        inputs = (entry.inputs if shadow.inputs is None else shadow.inputs).decode()
        row, answer = decoded(inputs, types), msgspec.json.decode(shadow.answer)
        rows.append(
            {
                "id": shadow.id,
                **{name: row[name] for name in system.keys},
                **output.stored(answer),
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
    return pl.DataFrame(rows, schema={**schema(system, home), SHADOW_OF: pl.String, ERROR: pl.String}, orient="row")


def read(
    system: System,
    home: Home,
    *,
    columns: Sequence[str] | None = None,
    as_of: datetime | None = None,
    where: Mapping[str, str] | None = None,
) -> pl.DataFrame:
    """All that is stored and logged of a system that scores rows, in the order of what was answered.

    Args:
        system: The declaration.
        home: Where it is.
        columns: Those that are wanted; None: all.
        as_of: Only what was asked for up to then.
        where: Column to text: only rows that have the value that it names; see `conditions`.

    Raises:
        NotFoundError: There is none, or no such column.
        UsageError: A text is no value of its column.
    """
    import polars as pl

    table, parts = home.table(system.name, SHADOWS), list[pl.DataFrame]()
    names = list(columns or [*schema(system, home), SHADOW_OF, ERROR])
    names = [name for name in names if name != "known_at"]
    if table.exists():
        parts.append(table.read(identity=["id"], columns=names, as_of=as_of, order=[]))
    followers = home.ledger.shadows.followers(system.name) if home.has_ledger else []
    for follower, _ in followers:
        after = exported_of(system, home, follower.model_version)
        for shadows in home.ledger.shadows.parts(system.name, follower, after=after):
            parts.append(logged(system, home, shadows).select(names))
    if not parts:
        raise none_yet(system.name, SHADOW, "")
    frame = pl.concat(parts, how="diagonal_relaxed")
    if as_of is not None:
        frame = frame.filter(pl.col("as_of") <= pl.lit(as_of, pl.Datetime("us", "UTC")))
    return frame.filter(*conditions(frame.schema, inside(where, system.keys))) if where else frame
