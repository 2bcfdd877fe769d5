"""Rows of the quarantine that are checked once more, after the contract or the source was mended.

What is good now becomes a fact that is known from now on: a run as of an earlier time sees what it saw, and so does a
replay. What still breaks the contract stays, with the reasons of today. The facts are written before it is noted that
the rows were released: killed in between and repeated, a row that is there already adds nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from headrace.contract import KNOWN_AT, CheckContext, KnownTimes, check
from headrace.contract.batch import CheckedRows
from headrace.contract.rules import ZScore
from headrace.errors import UsageError
from headrace.features.keyed import joined
from headrace.grid.grid import EPOCH
from headrace.home import RELEASES, Home
from headrace.lineage import iso
from headrace.pipelines.apart import BATCH_ID, ApartChoice, every_apart
from headrace.pipelines.came import is_line, records_of, rows_again
from headrace.pipelines.early import Early
from headrace.pipelines.ingest import FILED, as_declared
from headrace.sources.base import known_rule
from headrace.system import System
from headrace.tasks import shape, task_of
from headrace.tasks.intake import Intake

if TYPE_CHECKING:
    import polars as pl

    from headrace.contract import Validation

_STREAMED = "kafka:"
_LATER = "superseded: another row of the same keys and time was stored since"
_FED = "it is an event of a feature group, which its topic still has"


@dataclass(frozen=True)
class Release:
    """What became of the rows that were to be released: ``read`` is the sum of all others.

    Attributes:
        system: Name of the system.
        as_of: Since when the released rows are known (UTC).
        read: Rows that were looked at.
        released: They are facts now.
        repeated: They are good, and what they say was known already: released too.
        superseded: Another row of the same keys and time was stored since they were set apart. They stay apart.
        pending: They are not known yet at `as_of`. They stay apart.
        kept: They break the contract as it is now. They stay apart.
        reasons: Why, and how many rows each; a row may break several rules.
        version: Logical version of the table of facts afterwards.
    """

    system: str
    as_of: datetime
    read: int = 0
    released: int = 0
    repeated: int = 0
    superseded: int = 0
    pending: int = 0
    kept: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    version: int = 0

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**vars(self), "as_of": iso(self.as_of), "reasons": dict(self.reasons)}


def release(system: System, home: Home, choice: ApartChoice, *, as_of: datetime, now: datetime) -> Release:
    """Check rows of the quarantine with the present contract, and store those that are good, as known from `as_of` on.

    Repeated, it changes nothing: what was released is in the quarantine no more, what broke breaks again.

    Args:
        system: The declaration, with the contract as it is now.
        home: Where the tables are.
        choice: Which rows; all that are apart, where nothing is selected.
        as_of: Since when they are known (UTC).
        now: The clock's time.

    Raises:
        UsageError: The contract has no such column, there is no row with such an id, or rows of this system are events
            that say themselves when they became known: to read these again would store them twice.
        DeclarationError: The home holds facts of another shape.
        StoreError: A table could not be written.
    """
    import polars as pl

    shape.check(system, home)
    apart = every_apart(home, system.name).filter(pl.col("state") == "apart")
    selected = choice.of(apart, system.contract)
    height = selected.height
    selected = selected.filter(pl.col(KNOWN_AT) <= pl.lit(as_of.astimezone(UTC)))
    is_batch = selected["id"].str.contains(BATCH_ID)
    lines = pl.Series([is_line(text) for text in selected["row"]], dtype=pl.Boolean)
    rows, others = selected.filter(is_batch & ~lines), selected.filter(~is_batch | lines)
    tally = _ReleaseTally(system.name, as_of.astimezone(UTC), height)
    tally.pending += height - selected.height
    fed = ~others["id"].str.contains(BATCH_ID)
    reasons = pl.when(fed).then(pl.lit([_FED])).otherwise("reasons").alias("reasons")
    tally.stay(others.select("id", reasons))
    streamed = rows["source"].str.starts_with(_STREAMED).fill_null(False)
    for part, of_stream in ((rows.filter(~streamed), False), (rows.filter(streamed), True)):
        if part.height:
            _release(system, home, part, tally, now=now, streamed=of_stream)
    tally.note(home, selected.select("id", pl.col("time").fill_null(EPOCH).alias(FILED)))
    return tally.release(home.raw(system).version())


class _ReleaseTally:
    """What became of the rows so far; it is noted at the end, when all facts are stored."""

    def __init__(self, system: str, as_of: datetime, read: int) -> None:
        self.system, self.as_of, self.read = system, as_of, read
        self.released = self.repeated = self.superseded = self.pending = self.kept = 0
        self.reasons: Counter[str] = Counter()
        self._notes: list[pl.DataFrame] = []

    def stay(self, rows: pl.DataFrame, reasons: Mapping[str, int] | None = None) -> None:
        """Rows that break the contract: ``id`` and ``reasons``; and how many broke each rule."""
        import polars as pl

        self.kept += rows.height
        self.reasons.update(reasons if reasons is not None else Counter(rows["reasons"].list.first().to_list()))
        self._notes.append(rows.select("id", "reasons", pl.lit(False).alias("released")))

    def supersede(self, ids: pl.Series) -> None:
        """Rows of which the table knows better."""
        import polars as pl

        self.superseded += ids.len()
        if ids.len():
            self.reasons[_LATER] += ids.len()
        reasons = pl.lit([_LATER]).alias("reasons")
        self._notes.append(ids.alias("id").to_frame().select("id", reasons, pl.lit(False).alias("released")))

    def free(self, ids: pl.Series, added: int) -> None:
        """Rows that are good; of `added` the table had nothing."""
        import polars as pl

        self.released, self.repeated = self.released + added, self.repeated + ids.len() - added
        reasons = pl.lit([], pl.List(pl.String)).alias("reasons")
        self._notes.append(ids.alias("id").to_frame().select("id", reasons, pl.lit(True).alias("released")))

    def note(self, home: Home, filed: pl.DataFrame) -> None:
        """Write down what was decided of each row; what was decided before is not written twice.

        Args:
            home: Where.
            filed: ``id`` and the time that a row is filed under, as in the quarantine.
        """
        import polars as pl

        notes = pl.concat(self._notes)
        if notes.height:
            moment = pl.lit(self.as_of, pl.Datetime("us", "UTC")).alias(KNOWN_AT)
            table = home.table(self.system, RELEASES)
            rows = notes.join(filed, "id").with_columns(moment)
            table.append(rows, identity=["id"], compare=["released", "reasons"], window=FILED)

    def release(self, version: int) -> Release:
        """The sum of it."""
        counts = (self.read, self.released, self.repeated, self.superseded, self.pending, self.kept)
        return Release(self.system, self.as_of, *counts, dict(self.reasons.most_common()), version)


def _release(
    system: System, home: Home, apart: pl.DataFrame, tally: _ReleaseTally, *, now: datetime, streamed: bool
) -> None:
    """Check rows, and store those that are good now."""
    import polars as pl

    records = as_declared(
        system, records_of(rows_again(apart["row"].to_list(), system.source), str(apart["source"][0]))
    )
    rule = KnownTimes(lag=system.source.lag) if streamed else known_rule(system.source, records.frame)
    brings, events = rule.column is not None, system.contract.aggregates
    if brings and events:
        hint = "read their source again: with the mended contract they are stored then, known as they say"
        raise UsageError("its rows are events that say when they became known", where=system.name, hint=hint)
    known = {"target": task_of(system).never_ahead, "awaited": bool(system.leads)}
    context: CheckContext = {
        "keys": system.keys,
        "time": system.time,
        "grid": home.settled(system) or system.cadence,
        "as_of": tally.as_of,
        "now": now,
        "known": rule.model_copy(update=known),
    }
    contract = system.contract.naming_begins() if streamed else system.contract
    plain = contract.model_copy(update={"rules": (), "staleness": None, "allow_empty": True})
    frame = _with_columns(plain, records.frame)
    outcome = check(plain, frame, **context)
    assert outcome.places is not None
    tally.pending += outcome.places.pending.len()
    _keep(tally, apart, outcome)
    copies = apart[outcome.places.copies]["id"]
    good = outcome.good.with_columns(
        apart[outcome.places.good].select(
            pl.col("id").alias(":id"), pl.col(KNOWN_AT).alias(":known"), pl.col("data_version").alias(":version")
        )
    )
    early = Early(system, context, contract)
    # A fact is compared with what was known before it; an event with all that there are.
    intake = Intake(system, home, as_of=tally.as_of, own=not events, part=None if not events else early.rest)
    good = _unscored(system, home, contract, good, tally)
    good = _uncontradicted(Intake(system, home, as_of=tally.as_of, own=brings, part=early.rest), good, tally)
    good = good if events else _newest(system, home, good, tally)
    shape.keep(system, home)
    if outcome.grid is not None and good.height:
        home.settle(system, outcome.grid)
    facts = good.drop(":id", ":known", ":version").with_columns(
        pl.lit(tally.as_of, good.schema[KNOWN_AT]).alias(KNOWN_AT)
    )
    added = intake.add(facts).added if good.height else 0
    tally.free(good[":id"], added)
    tally.free(copies, 0)


def _with_columns(contract: Any, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with all declared columns: of one row that lacks a column, others may have it."""
    import polars as pl

    missing = [name for name in contract.names if name not in frame.columns]
    return frame.with_columns(pl.lit(None, pl.String).alias(name) for name in missing)


def _keep(tally: _ReleaseTally, apart: pl.DataFrame, outcome: Validation) -> None:
    assert outcome.places is not None
    bad = apart[outcome.places.bad].select("id").with_columns(outcome.bad["reasons"])
    tally.stay(bad, outcome.reasons)


def _unscored(system: System, home: Home, contract: Any, good: pl.DataFrame, tally: _ReleaseTally) -> pl.DataFrame:
    """The rows without those that lie too far from their series, as it is stored; rules of the whole batch say so."""
    import polars as pl

    rules = [rule for rule in contract.rules if isinstance(rule, ZScore) and rule.severity == "quarantine"]
    if not rules or good.is_empty():
        return good
    table = home.raw(system)
    names = [name for name in good.columns if not name.startswith(":")]
    stored = None
    if table.exists():
        facts = table.collect(table.scan(as_of=tally.as_of))
        stored = (facts if system.contract.aggregates else _last(facts, system)).select(names)
    for rule in rules:
        rows = good.select(names) if stored is None else pl.concat([good.select(names), stored], how="vertical_relaxed")
        batch = CheckedRows(rows, system.keys, system.time, None, tally.as_of)
        beyond = (rule.scores(batch).abs() > rule.limit).fill_null(False).head(good.height)
        reason = f"{rule.column}: is more than {rule.limit:g} standard deviations from its series"
        if beyond.any():
            _stay(tally, good.filter(beyond), reason)
            good = good.filter(~beyond)
    return good


def _uncontradicted(intake: Intake, good: pl.DataFrame, tally: _ReleaseTally) -> pl.DataFrame:
    """The rows without those that contradict what an earlier ingest stored of their step."""

    against = intake.against(good)
    if against is None or not against.any():
        return good
    _stay(tally, good.filter(against), intake.said_against)
    return good.filter(~against)


def _stay(tally: _ReleaseTally, rows: pl.DataFrame, reason: str) -> None:
    import polars as pl

    tally.stay(rows.select(pl.col(":id").alias("id"), pl.lit([reason]).alias("reasons")), {reason: rows.height})


def _newest(system: System, home: Home, good: pl.DataFrame, tally: _ReleaseTally) -> pl.DataFrame:
    """The rows without those whose keys and time have got another fact since they were set apart."""
    import polars as pl

    table = home.raw(system)
    if good.is_empty() or not table.exists():
        return good
    window = system.time or next(key for key in system.keys if not system.contract.column(key).nullable)
    first, last = (pl.lit(bound, good.schema[window]) for bound in (good[window].min(), good[window].max()))
    facts = table.collect(table.scan(where=pl.col(window).is_between(first, last)))
    if system.leads:  # what a row tells before its time is no other row
        facts = facts.filter(pl.col(KNOWN_AT) >= pl.col(system.event_time))
    facts = _last(facts, system)
    values = [name for name in system.contract.names if name not in (*system.identity, KNOWN_AT)]
    stored = facts.select(
        *system.identity,
        *(pl.col(name).alias(f":{name}") for name in values),
        pl.col(KNOWN_AT).alias(":since"),
        pl.col("_version").alias(":at"),
    )
    pairs = joined(good, stored, list(system.identity))
    # Tables of before do not say what was stored when a row was set apart; then known times have to do.
    later = pl.coalesce(pl.col(":at") > pl.col(":version"), pl.col(":since") >= pl.col(":known")).fill_null(False)
    other = pl.any_horizontal(pl.lit(False), *(pl.col(name).ne_missing(pl.col(f":{name}")) for name in values))
    superseded = pairs.select((later & other).alias("superseded")).to_series()
    tally.supersede(good.filter(superseded)[":id"])
    return good.filter(~superseded)


def _last(facts: pl.DataFrame, system: System) -> pl.DataFrame:
    """Of each record the fact that was known last."""
    facts = facts.sort(KNOWN_AT, "_version", maintain_order=True)
    return facts.unique(system.identity, keep="last", maintain_order=True)
