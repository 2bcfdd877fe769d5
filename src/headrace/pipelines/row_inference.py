"""The batch door of a system that scores rows: predictions for rows whose target is not known yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from headrace.contract.apart import inside
from headrace.errors import NotFoundError
from headrace.home import PREDICTIONS, RAW, Home
from headrace.lineage import PINNED, ROLE, Pins, row_prediction_ids
from headrace.lookup import VERSIONS, Lookups
from headrace.pipelines import logged_features, shape
from headrace.pipelines.conditions import conditions, refuse_unknown
from headrace.row_predictor import PROBABILITY, RowPredictor, decoded, digest_of_row, inputs_of
from headrace.system import System

if TYPE_CHECKING:
    import polars as pl

    from headrace.ledger import Entry

ROW_DIGEST, SEQUENCE = "row_digest", "logged"


def row_cause(system: str, pins: Pins) -> str:
    """What shapes a system's predictions of rows, as the first part of `row_prediction_id`."""
    return f"{system}|{pins.model_digest}|{pins.feature_version}|{pins.config_digest}"


def key_text(system: System, row: dict[str, Any]) -> str:
    """The key of a row as a text: a JSON array of its key columns."""
    return msgspec.json.encode([row[name] for name in system.keys]).decode()


def predict(system: System, home: Home, pins: Pins, run_id: str, now: datetime) -> tuple[pl.DataFrame, int]:
    """Predict every row whose target is missing as of the pins' time, and store what is new.

    A row that was predicted from the same values by the same model is not predicted again.

    Returns:
        The predictions of this run, and how many of them were new.

    Raises:
        ArtefactError: The model's files differ from their digest.
    """
    import polars as pl

    predictor = RowPredictor.load(home.registry.fetch(home.registry.get(system.name, pins.model_version)))
    rows = home.table(system.name, RAW).read(
        identity=system.identity,
        columns=system.contract.names,
        version=pins.data_version,
        as_of=pins.as_of,
        where=pl.col(system.target).is_null(),
    )
    rows, stored = Lookups.of(predictor.model.features, system, home).join(rows, pins.as_of)
    frame = _predicted(system, predictor, rows, pins, run_id, now, stored)
    return frame, store(system, home, frame)


def _predicted(
    system: System,
    predictor: RowPredictor,
    rows: pl.DataFrame,
    pins: Pins,
    run_id: str,
    now: datetime,
    stored: Mapping[str, int],
) -> pl.DataFrame:
    import polars as pl

    data = list(rows.iter_rows(named=True))
    inputs = [inputs_of(row, system.target) for row in data]
    # Values alone say whether a row was predicted from the same before; where they were read is told beside them.
    told_inputs = [inputs_of(row | {VERSIONS: stored}, system.target) for row in data] if stored else inputs
    cause, keys = row_cause(system.name, pins), [key_text(system, row) for row in data]
    digests = [digest_of_row(each) for each in inputs]
    ids = row_prediction_ids(cause, digests, keys, pins.as_of)
    told = predictor.predict(rows)
    utc = pl.Datetime("us", "UTC")
    return pl.DataFrame(
        [
            pl.Series("id", ids, dtype=pl.String),
            *(rows[name] for name in system.keys),
            told[system.target].cast(rows.schema[system.target]),
            told[PROBABILITY].cast(pl.Float64),
            pl.Series("inputs", [each.decode() for each in told_inputs], dtype=pl.String),
            pl.Series(ROW_DIGEST, digests, dtype=pl.String),
        ]
    ).with_columns(
        pl.lit(pins.as_of, utc).alias("as_of"),
        pl.lit(pins.as_of, utc).alias("known_at"),
        pl.lit(now, utc).alias("created_at"),
        pl.lit(run_id).alias("run_id"),
        pl.lit("batch").alias("door"),
        pl.lit(None, pl.Int64).alias(SEQUENCE),
        *(_literal(name, getattr(pins, name)) for name in PINNED),
    )


def _literal(name: str, value: Any) -> pl.Expr:
    import polars as pl

    return pl.lit(value, pl.Int64 if isinstance(value, int) else pl.String).alias(name)


def store(system: System, home: Home, frame: pl.DataFrame) -> int:
    """Store the predictions that are not there yet, by what they were made from; returns how many."""
    table = home.table(system.name, PREDICTIONS)
    cause = [*system.keys, ROW_DIGEST, "model_digest", "feature_version", "config_digest", "door"]
    if frame.height and table.exists():
        stored = table.read(identity=["id"], columns=cause, order=[])
        frame = frame.join(stored, on=cause, how="anti", nulls_equal=True, maintain_order="left")
    if frame.is_empty():
        return 0
    return table.append(frame, identity=["id"], compare=[system.target, PROBABILITY], window="as_of").added


def export(
    system: System,
    home: Home,
    *,
    limit: int = 10_000,
    after: int | None = None,
    on_progress: Callable[[str, int, int], None] = lambda what, done, of: None,
) -> int:
    """Copy what the ledger logged since the last export to the predictions table, each entry once.

    The table remembers how far it got: each row carries its place in the log. Killed at any moment and repeated, it
    copies nothing twice, because an id is stored once. So many entries as `limit` says are in memory at once.

    Returns:
        How many rows were added.
    """
    shape.check(system, home)
    if not home.has_ledger:
        return 0
    added, after = 0, _exported(system, home) if after is None else after
    begin, last = after, home.ledger.last(system.name)
    on_progress("export", 0, last - begin)
    while entries := home.ledger.read(system.name, after=after, limit=limit):
        after = entries[-1][0]
        frame = logged(system, home, entries)
        # First, so that what says how far the export got never says more than is there.
        logged_features.store(system, home, frame)
        table = home.table(system.name, PREDICTIONS)
        added += table.append(frame, identity=["id"], compare=[system.target, PROBABILITY], window="as_of").added
        on_progress("export", after - begin, max(after, last) - begin)
    return added


def _exported(system: System, home: Home) -> int:
    """The number in the log up to which it is exported; 0 where the log is another one than last time."""
    import polars as pl

    table = home.table(system.name, PREDICTIONS)
    if not table.exists() or not home.has_ledger:
        return 0
    newest = table.scan().filter(pl.col(SEQUENCE).is_not_null()).sort(SEQUENCE, "_version").tail(1)
    found = table.collect(newest.select(SEQUENCE, "id")).rows()
    if not found:
        return 0
    number, name = found[0]
    there = home.ledger.read(system.name, after=number - 1, limit=1)
    return int(number) if there and (there[0][0], there[0][1].id) == (number, name) else 0


def logged(system: System, home: Home, entries: list[tuple[int, Entry]]) -> pl.DataFrame:
    """Entries of the ledger as rows of the predictions table."""
    import polars as pl

    types = {c.name: c.type for c in system.contract.columns}
    pins = {each: home.ledger.pins(each) for each in {entry.pins for _, entry in entries}}
    rows = []
    for sequence, entry in entries:
        row, answer = decoded(entry.inputs.decode(), types), msgspec.json.decode(entry.answer)
        rows.append(
            {
                "id": entry.id,
                **{name: row[name] for name in system.keys},
                system.target: answer[system.target],
                PROBABILITY: answer[PROBABILITY],
                "inputs": entry.inputs.decode(),
                ROW_DIGEST: entry.digest,
                **dict.fromkeys(("as_of", "known_at", "created_at"), entry.created_at),
                "run_id": None,
                "door": "http",
                SEQUENCE: sequence,
                **{name: pins[entry.pins][name] for name in PINNED},
                ROLE: pins[entry.pins].get(ROLE),
            }
        )
    return pl.DataFrame(rows, schema=schema(system), orient="row")


def schema(system: System) -> dict[str, Any]:
    """Columns of the predictions table, and their types."""
    import polars as pl

    from headrace.features.compiled import dtype_of

    utc = pl.Datetime("us", "UTC")
    pinned = {
        name: pl.Int64 if name.endswith("_version") and name != "feature_version" else pl.String for name in PINNED
    }
    return {
        "id": pl.String,
        **{name: dtype_of(system.contract.column(name).type) for name in system.keys},
        system.target: dtype_of(system.contract.column(system.target).type),
        PROBABILITY: pl.Float64,
        "inputs": pl.String,
        ROW_DIGEST: pl.String,
        **dict.fromkeys(("as_of", "known_at", "created_at"), utc),
        "run_id": pl.String,
        "door": pl.String,
        SEQUENCE: pl.Int64,
        **pinned,
        ROLE: pl.String,
    }


def read(
    system: System, home: Home, *, as_of: datetime | None = None, where: Mapping[str, str] | None = None
) -> pl.DataFrame:
    """Predictions of rows, stored and logged, in the order in which they were made.

    Args:
        system: The declaration.
        home: Where they are.
        as_of: Only those made up to then.
        where: Column to text: only rows that have the value that it names; see `conditions`.

    Raises:
        NotFoundError: There is none yet, no such column, or no such row.
        UsageError: A text is no value of its column.
    """
    import polars as pl

    shape.check(system, home)
    where = inside(where or {}, system.keys)
    table, parts = home.table(system.name, PREDICTIONS), []
    if table.exists():
        columns = [name for name in schema(system) if name != ROLE or name in table.schema()]
        parts.append(table.read(identity=["id"], columns=[*columns, "_version"], as_of=as_of, order=[]))
    after = _exported(system, home)
    while home.has_ledger and (entries := home.ledger.read(system.name, after=after)):
        after = entries[-1][0]
        parts.append(logged(system, home, entries))
    if not parts:
        raise NotFoundError("no predictions yet", where=system.name, hint=_first_steps(system, home))
    frame = pl.concat(parts, how="diagonal_relaxed")
    made = [name for name in ("_version", SEQUENCE) if name in frame.columns]  # what is logged only was made last
    frame = frame.sort(*made, *system.keys, "id", nulls_last=True)
    if as_of is not None:
        frame = frame.filter(pl.col("as_of") <= pl.lit(as_of, pl.Datetime("us", "UTC")))
    frame = frame.drop("known_at", SEQUENCE, "_version", strict=False)
    if where:
        frame = frame.filter(*conditions(frame.schema, where))
        if frame.is_empty():
            refuse_unknown(system, home, where)
    return frame


def _first_steps(system: System, home: Home) -> str:
    """What leads to a first prediction, from where the home stands."""
    if not home.raw(system).exists():
        return f"headrace run {system.name}"
    post = f"post them to `headrace serve {system.name}`"
    return f"every row that was read has its {system.target}: rows without it are scored, by a run or when you {post}"
