"""Rows that were set apart because they broke the contract: which, why, and how many by reason and column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.contract.reason import column_of, labels_of
from headrace.errors import UsageError
from headrace.home import QUARANTINE, RELEASES, Home
from headrace.lineage import iso

if TYPE_CHECKING:
    import polars as pl

    from headrace.contract import Contract

_COLUMNS = ("id", "time", "known_at", "row", "reasons", "source")
BATCH_ID = "^[0-9a-f]{32}$"
"""Rows of a batch are told by a digest; events that a feature group set apart by where they stand in their topic."""


@dataclass(frozen=True)
class ApartChoice:
    """Which rows of the quarantine.

    Attributes:
        reasons: Only rows with a reason that holds one of these texts, whatever its case.
        columns: Only rows with a reason that is about one of these columns.
        ids: Only these rows.
        source: Only rows of sources whose address holds this text.
    """

    reasons: Sequence[str] = ()
    columns: Sequence[str] = ()
    ids: Sequence[str] = ()
    source: str | None = None

    def of(self, rows: pl.DataFrame, contract: Contract) -> pl.DataFrame:
        """The rows among others.

        Raises:
            UsageError: The contract has no such column, or there is no row with such an id.
        """
        import polars as pl

        for name in self.columns:
            if name not in contract.names:
                names = ", ".join(contract.names)
                raise UsageError(f"the contract has no column {name!r}", where="--column", hint=f"it has {names}")
        if missing := sorted(set(self.ids) - set(rows["id"])):
            hint = f"{len(missing):,} of {len(set(self.ids)):,} ids are not in quarantine"
            raise UsageError(f"there is no row {missing[0]}", where="--id", hint=hint)
        element, conditions = pl.element().str, [pl.lit(True)]
        if self.reasons:
            texts = [element.to_lowercase().str.contains(text.lower(), literal=True) for text in self.reasons]
            conditions.append(pl.col("reasons").list.eval(pl.any_horizontal(texts)).list.any())
        if self.columns:
            heads = [element.starts_with(f"{name}: ") for name in self.columns]
            conditions.append(pl.col("reasons").list.eval(pl.any_horizontal(heads)).list.any())
        if self.ids:
            conditions.append(pl.col("id").is_in(list(self.ids)))
        if self.source is not None:
            conditions.append(pl.col("source").str.contains(self.source, literal=True))
        return rows.filter(*conditions)


def quarantined(home: Home, system: str) -> pl.DataFrame:
    """Rows in quarantine, those that were set apart last first; what was released since is not among them.

    Columns: `id`; `time`, the event time (UTC), null where the row tells none; `known_at` (UTC); `row`, as it came, as
    JSON; `reasons`, a list of texts; `source`, where it came from.

    Raises:
        StoreError: The table cannot be read.
    """
    import polars as pl

    return every_apart(home, system).filter(pl.col("state") != "released").select(_COLUMNS)


def every_apart(home: Home, system: str) -> pl.DataFrame:
    """All rows that were ever set apart, released ones too; the columns of `quarantined`, and what became of each.

    `place`: of a row of a file, 1 the first; null where nothing says so. `data_version`: of the table of facts, when it
    was set apart. `state`: ``apart`` or ``released``. `decided_at`: when somebody last tried to release it (UTC); then
    `reasons` are those of that day's contract.

    Raises:
        StoreError: A table cannot be read.
    """
    import polars as pl

    utc = pl.Datetime("us", "UTC")
    types: dict[str, Any] = {
        "id": pl.String,
        "time": utc,
        "known_at": utc,
        "row": pl.String,
        "reasons": pl.List(pl.String),
        "source": pl.String,
    }
    since: dict[str, Any] = {"place": pl.Int64, "data_version": pl.Int64}  # tables of before have neither
    table = home.table(system, QUARANTINE)
    if not table.exists():
        return pl.DataFrame(schema=types | since | {"state": pl.String, "decided_at": utc})
    frame = table.collect(table.scan()).sort("_version", "known_at", "id", descending=[True, True, False])
    frame = frame.with_columns(
        pl.lit(None, kind).alias(name) for name, kind in since.items() if name not in frame.columns
    )
    rows = frame.join(_decisions(home, system), on="id", how="left", maintain_order="left")
    apart_reasons = pl.col("reasons_now").is_not_null() & ~pl.col("released").fill_null(False)
    return rows.select(
        "id",
        "time",
        "known_at",
        "row",
        pl.when(apart_reasons).then("reasons_now").otherwise("reasons").alias("reasons"),
        "source",
        *since,
        pl.when(pl.col("released").fill_null(False)).then(pl.lit("released")).otherwise(pl.lit("apart")).alias("state"),
        "decided_at",
    )


def _decisions(home: Home, system: str) -> pl.DataFrame:
    """What was decided last of each row: ``id released reasons_now decided_at``."""
    import polars as pl

    schema = {"id": pl.String(), "released": pl.Boolean(), "reasons_now": pl.List(pl.String())}
    table = home.table(system, RELEASES)
    if not table.exists():
        return pl.DataFrame(schema=schema | {"decided_at": pl.Datetime("us", "UTC")})
    frame = table.collect(table.scan()).sort("known_at", "_version", maintain_order=True)
    last = frame.unique("id", keep="last", maintain_order=True)
    return last.select("id", "released", pl.col("reasons").alias("reasons_now"), pl.col("known_at").alias("decided_at"))


def counted(rows: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """How many rows broke each rule, most first: ``column reason rows released``; a row may have broken several.

    `column` is null where the reason is about the row as a whole.

    Args:
        rows: From `every_apart`.
        contract: Knows the columns.
    """
    import polars as pl

    reasons = rows.select("id", "state", pl.col("reasons").alias("reason")).explode("reason", empty_as_null=False)
    labelled = reasons.with_columns(labels_of(pl.col("reason")).alias("reason"))
    head = column_of(pl.col("reason"))
    labelled = labelled.with_columns(pl.when(head.is_in(list(contract.names))).then(head).alias("column"))
    rest = pl.col("reason").str.replace(r"(?s)^.*?: ", "")
    labelled = labelled.with_columns(pl.when(pl.col("column").is_null()).then("reason").otherwise(rest).alias("reason"))
    by_rule = labelled.unique(["id", "column", "reason"]).group_by("column", "reason")
    counts = by_rule.agg(rows=pl.len().cast(pl.Int64), released=(pl.col("state") == "released").sum().cast(pl.Int64))
    return counts.sort("rows", "column", "reason", descending=[True, False, False], nulls_last=True)


@dataclass(frozen=True)
class QuarantinedRows:
    """Rows that were set apart, counted.

    Attributes:
        system: Name of the system.
        rows: Those set apart last first; the columns of `every_apart`.
        counts: How many rows broke each rule, from `counted`.
    """

    system: str
    rows: pl.DataFrame
    counts: pl.DataFrame

    @property
    def apart(self) -> int:
        """Rows that are apart."""
        return self.rows.height - self.released

    @property
    def released(self) -> int:
        """Rows that were apart and are facts now."""
        return int((self.rows["state"] == "released").sum())

    def as_dict(self, limit: int | None = None) -> dict[str, Any]:
        """JSON-ready: ``system apart released counts[] rows[]``; of the rows so many of the newest."""
        rows = (self.rows if limit is None else self.rows.head(limit)).drop("data_version").to_dicts()
        texts = [{name: _text(value) for name, value in row.items()} for row in rows]
        counts = {"apart": self.apart, "released": self.released}
        return {"system": self.system, **counts, "counts": self.counts.to_dicts(), "rows": texts}


def _text(value: Any) -> Any:
    return iso(value) if isinstance(value, datetime) else value


def set_apart(
    home: Home, system: str, contract: Contract, choice: ApartChoice, *, released: bool = False
) -> QuarantinedRows:
    """The chosen rows of the quarantine, counted.

    Args:
        home: Where they are.
        system: Name of the system.
        contract: Of the system, as it is now.
        choice: Which rows.
        released: Those too that were released since.

    Raises:
        UsageError: The contract has no such column, or there is no row with such an id.
        StoreError: A table cannot be read.
    """
    import polars as pl

    rows = every_apart(home, system)
    chosen = choice.of(rows if released else rows.filter(pl.col("state") == "apart"), contract)
    return QuarantinedRows(system, chosen, counted(chosen, contract))
