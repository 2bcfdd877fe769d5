"""The batch door of a system that scores rows: predictions for rows whose target is not known yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from headrace.contract.apart import inside
from headrace.errors import NotFoundError, ReplayError
from headrace.home import PREDICTIONS, RAW, Home
from headrace.identity import decoded, digest_of_row, features_of, inputs_of, key_text
from headrace.lineage import ANSWERED, PINNED, ROLE, SHADOW, Pins, row_cause, row_prediction_ids
from headrace.store.portions import read_portions
from headrace.system import System
from headrace.tasks import shape
from headrace.tasks.base import Predicted
from headrace.tasks.conditions import conditions, none_yet, refuse_unknown
from headrace.tasks.rows import logged_features
from headrace.tasks.rows.lookups import VERSIONS, Lookups
from headrace.tasks.rows.outputs.declared import output_of
from headrace.tasks.rows.predictor import RowPredictor

if TYPE_CHECKING:
    import polars as pl

    from headrace.ledger import Entry

ROW_DIGEST, SEQUENCE = "row_digest", "logged"


def predict(system: System, home: Home, pins: Pins, run_id: str, now: datetime) -> Predicted:
    """Predict every row whose target is missing as of the pins' time, and store what is new.

    A row that was predicted from the same values by the same model keeps the prediction that is stored, and its id.
    Many rows are predicted and stored in portions: killed and repeated, it goes on where it was. What is returned then
    has no inputs, and nothing that is the same for all.

    Raises:
        ArtefactError: The model's files differ from their digest.
    """
    import polars as pl

    predictor = RowPredictor.load(home.registry.fetch(home.registry.get(system.name, pins.model_version)))
    lookups, done = Lookups.of(predictor.model.features, system, home), list[Predicted]()
    for rows in read_portions(
        home.table(system.name, RAW),
        identity=system.identity,
        columns=system.contract.names,
        version=pins.data_version,
        as_of=pins.as_of,
        where=pl.col(system.target).is_null(),
    ):
        joined, stored = lookups.join(rows, pins.as_of)
        portion = store(system, home, _predicted(system, predictor, joined, pins, run_id, now, stored))
        if done:
            done = [_brief(system, home, one) for one in done]
            portion = _brief(system, home, portion)
        done.append(portion)
    return Predicted(pl.concat([one.frame for one in done]), sum(one.stored for one in done))


def _brief(system: System, home: Home, predicted: Predicted) -> Predicted:
    """Predictions without what is large or the same for all."""
    columns = ["id", *system.keys, *answer_columns(system, home)]
    return Predicted(predicted.frame.select(columns), predicted.stored)


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
    cause, keys = row_cause(system.name, pins), [key_text(system.keys, row) for row in data]
    digests = [digest_of_row(text) for text in inputs]
    ids = row_prediction_ids(cause, digests, keys, pins.as_of)
    utc = pl.Datetime("us", "UTC")
    return pl.DataFrame(
        [
            pl.Series("id", ids, dtype=pl.String),
            *(rows[name] for name in system.keys),
            *predictor.model.output.frame(predictor.predict(rows), rows.schema[system.target]),
            pl.Series("inputs", [text.decode() for text in told_inputs], dtype=pl.String),
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


def store(system: System, home: Home, frame: pl.DataFrame) -> Predicted:
    """Store the predictions that are not there yet, by what they were made from; returns all as they are stored."""
    import polars as pl

    table = home.table(system.name, PREDICTIONS)
    cause = [*system.keys, ROW_DIGEST, "model_digest", "feature_version", "config_digest", "door"]
    new, old = frame, frame.clear()
    if frame.height and table.exists():
        key = frame[system.keys[0]]
        least, most = (pl.lit(bound, key.dtype) for bound in (key.min(), key.max()))
        where = [] if key.has_nulls() else [pl.col(key.name).is_between(least, most)]
        stored = table.read(identity=["id"], columns=["id", *cause], where=where, fixed=system.keys, order=[])
        new = frame.join(stored, on=cause, how="anti", nulls_equal=True, maintain_order="left")
        again = frame.select(cause).join(stored, on=cause, nulls_equal=True)
        if again.height:
            columns = [name for name in frame.columns if name in table.schema()]
            old = table.read(identity=["id"], columns=columns, where=pl.col("id").is_in(again["id"].to_list()))
            old = old.unique(cause, keep="first", maintain_order=True)
    added = 0
    if new.height:
        added = table.append(new, identity=["id"], compare=answer_columns(system, home), window="as_of").added
    if old.is_empty():
        return Predicted(frame, added)
    both = pl.concat([new, old], how="diagonal_relaxed")
    both = frame.select(cause).join(both, on=cause, nulls_equal=True, maintain_order="left")
    return Predicted(both.select(frame.columns), added)


def export(
    system: System,
    home: Home,
    *,
    limit: int = 10_000,
    after: int | None = None,
    on_progress: Callable[[str, int, int], None] = lambda stage, count, total: None,
) -> int:
    """Copy what the ledger logged since the last export to the predictions table, each entry once.

    The table remembers how far it got: each row carries its place in the log. Killed at any moment and repeated, it
    copies nothing twice, because an id is stored once. So many entries as `limit` says are in memory at once. What is
    logged while it runs is left to the next export.

    Returns:
        How many rows were added.
    """
    shape.check(system, home)
    if not home.has_ledger:
        return 0
    added, begin = 0, _exported(system, home) if after is None else after
    last = home.ledger.last(system.name)
    on_progress("export", 0, last - begin)
    for entries in home.ledger.parts(system.name, after=begin, limit=limit):
        number = entries[-1][0]
        frame = logged(system, home, entries)
        # First, so that what says how far the export got never says more than is there.
        logged_features.store(system, home, frame)
        table = home.table(system.name, PREDICTIONS)
        added += table.append(frame, identity=["id"], compare=answer_columns(system, home), window="as_of").added
        on_progress("export", number - begin, max(number, last) - begin)
    return added


def _exported(system: System, home: Home) -> int:
    """The number in the log up to which it is exported; 0 where the log is another one than last time."""
    import polars as pl

    table = home.table(system.name, PREDICTIONS)
    if not table.exists() or not home.has_ledger:
        return 0
    newest = table.scan().filter(pl.col(SEQUENCE).is_not_null()).sort(SEQUENCE, "_version").tail(1)
    rows = table.collect(newest.select(SEQUENCE, "id")).rows()
    if not rows:
        return 0
    number, name = rows[0]
    first = home.ledger.read(system.name, after=number - 1, limit=1)
    return int(number) if first and (first[0][0], first[0][1].id) == (number, name) else 0


def logged(system: System, home: Home, entries: list[tuple[int, Entry]]) -> pl.DataFrame:
    """Entries of the ledger as rows of the predictions table."""
    import polars as pl

    types, output = {c.name: c.type for c in system.contract.columns}, output_of(system, home)
    pins = {pin: home.ledger.pins(pin) for pin in {entry.pins for _, entry in entries}}
    rows = []
    for sequence, entry in entries:
        row, answer = decoded(entry.inputs.decode(), types), msgspec.json.decode(entry.answer)
        rows.append(
            {
                "id": entry.id,
                **{name: row[name] for name in system.keys},
                **output.stored(answer),
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
    return pl.DataFrame(rows, schema=schema(system, home), orient="row")


def answer_columns(system: System, home: Home) -> list[str]:
    """The columns of a prediction that say what was predicted: the target, and what its output puts beside it."""
    return [system.target, *output_of(system, home).columns_beside]


def schema(system: System, home: Home) -> dict[str, Any]:
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
        **output_of(system, home).types(),
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
    system: System,
    home: Home,
    *,
    as_of: datetime | None = None,
    where: Mapping[str, str] | None = None,
    role: str | None = None,
) -> pl.DataFrame:
    """Predictions of rows, stored and logged, in the order in which they were made.

    Args:
        system: The declaration.
        home: Where they are.
        as_of: Only those made up to then.
        where: Column to text: only rows that have the value that it names; see `conditions`.
        role: `ANSWERED`: those that no canary answered; `CANARY`: those that one did; None: all.

    Raises:
        NotFoundError: There is none yet, no such column, or no such row.
        UsageError: A text is no value of its column.
    """
    import polars as pl

    shape.check(system, home)
    where = inside(where or {}, system.keys)
    table, parts = home.table(system.name, PREDICTIONS), []
    if table.exists():
        types = schema(system, home)
        columns = [name for name in types if name in table.schema()]  # some were declared after the last was stored
        stored = table.read(identity=["id"], columns=[*columns, "_version"], as_of=as_of, order=[])
        further = [pl.lit(None, types[name]).alias(name) for name in types if name not in (*columns, ROLE)]
        parts.append(
            stored.with_columns(further).select(
                *(name for name in types if name != ROLE or name in columns), "_version"
            )
        )
    if home.has_ledger:
        logs = home.ledger.parts(system.name, after=_exported(system, home))
        parts += [logged(system, home, entries) for entries in logs]
    if not parts:
        raise NotFoundError("no predictions yet", where=system.name, hint=first_steps(system, home))
    frame = pl.concat(parts, how="diagonal_relaxed")
    order = [name for name in ("_version", SEQUENCE) if name in frame.columns]  # what is logged only was made last
    frame = frame.sort(*order, *system.keys, "id", nulls_last=True)
    if as_of is not None:
        frame = frame.filter(pl.col("as_of") <= pl.lit(as_of, pl.Datetime("us", "UTC")))
    if role is not None:
        told = pl.col(ROLE) if ROLE in frame.columns else pl.lit(None, pl.String)
        frame = frame.filter(told.fill_null(ANSWERED) == role)
        if frame.is_empty():
            raise none_yet(system.name, role, first_steps(system, home))
    frame = frame.drop("known_at", SEQUENCE, "_version", strict=False)
    if where:
        frame = frame.filter(*conditions(frame.schema, where))
        if frame.is_empty():
            refuse_unknown(system, home, where)
    return frame


def first_steps(system: System, home: Home) -> str:
    """What leads to a first prediction, from where the home stands."""
    if not home.raw(system).exists():
        return f"headrace run {system.name}"
    post = f"post them to `headrace serve {system.name}`"
    return f"every row that was read has its {system.target}: rows without it are scored, by a run or when you {post}"


def replay(home: Home, system: str, prediction_id: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """Compute a stored prediction again, from its own inputs by the model that it pins.

    Raises:
        ReplayError: There never was one: its features could not be computed.
        ArtefactError: The model's files are gone or differ from their digest.
    """
    predictor = RowPredictor.load(home.registry.fetch(home.registry.get(system, row["model_version"])))
    model = predictor.model
    inputs = decoded(row["inputs"], model.types)
    if row.get("error"):
        raise ReplayError(f"it could not be made: {row['error']}", where=prediction_id)
    replayed = predictor.answer(inputs)
    stored, number = model.output.told(row), model.output.number
    # A shadow has the inputs of the prediction that it stands beside, whose features are those of another model.
    logged = None if row.get(ROLE) == SHADOW else features_of(row["inputs"])
    again = None if logged is None else predictor.features({name: [value] for name, value in inputs.items()})[0]
    features_told = {} if logged is None else {"features": {"stored": logged, "replayed": again}}
    return {
        "id": prediction_id,
        "stored": stored[number],
        "replayed": replayed[number],
        "identical": stored == replayed and logged == again,
        **features_told,
        **{name: {"stored": stored[name], "replayed": value} for name, value in replayed.items() if name != number},
    }
