"""The tables of the ledger, the same on every database."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.types import TypeEngine

from headrace.errors import LedgerDamagedError
from headrace.ledger.records import DAMAGED_HINT, utc_text

FORMAT = 1  # raised when a table changes in a way that an older headrace would misread

metadata = MetaData()


class Instant(TypeDecorator[datetime]):
    """A time in UTC: ``timestamptz`` in PostgreSQL; ISO 8601 text, which sorts, where there is no such type."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[datetime] | TypeEngine[str]:
        """The database's own type."""
        return dialect.type_descriptor(Text()) if dialect.name == "sqlite" else dialect.type_descriptor(self.impl)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | str | None:
        """To the database."""
        return utc_text(value) if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | str | None, dialect: Dialect) -> datetime | None:
        """From the database."""
        if value is None:
            return None
        try:
            return (datetime.fromisoformat(value) if isinstance(value, str) else value).astimezone(UTC)
        except ValueError as error:
            raise LedgerDamagedError(f"a time in it is not what was written: {error}", hint=DAMAGED_HINT) from error


version = Table("ledger_format", metadata, Column("version", Integer, nullable=False))

identity = Table(
    "ledger_identity",
    metadata,
    # Made up when the ledger is made: what tells it from every other one.
    Column("id", Text, nullable=False),
    # How often it was tried whether the ledger can be written.
    Column("probes", BigInteger, nullable=False),
)

pins = Table(
    "pins",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("record", JSON, nullable=False),
)

predictions = Table(
    "predictions",
    metadata,
    # SQLite counts rows of its own only in a column of exactly this type.
    Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("system", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("id", Text, nullable=False, unique=True),
    Column("digest", Text, nullable=False),
    Column("inputs", LargeBinary, nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Column("pins", ForeignKey(pins.c.digest), nullable=False),
    Column("model_version", BigInteger, nullable=False),
    Column("created_at", Instant, nullable=False),
    # Checksum of the columns before it, but the sequence; null in rows of a headrace that wrote none.
    Column("seal", BigInteger),
    UniqueConstraint("system", "key"),
    Index("predictions_system_sequence", "system", "sequence"),
    sqlite_autoincrement=True,  # a number is never given twice, even if rows at the end are deleted
)

events = Table(
    "events",
    metadata,
    # Which entries are answers to events of which series.
    Column("sequence", ForeignKey(predictions.c.sequence), primary_key=True, autoincrement=False),
    Column("system", Text, nullable=False),
    Column("series", Text, nullable=False),
    Index("events_series", "system", "series", "sequence"),
)

traces = Table(
    "traces",
    metadata,
    # Of the requests that told of a trace: which predictions they asked for.
    Column("prediction", Text, primary_key=True),
    Column("trace", Text, nullable=False),
)

followers = Table(
    "followers",
    metadata,
    # Versions that score what was answered, beside, and how far each has come in the log.
    Column("system", Text, primary_key=True),
    Column("model_version", BigInteger, primary_key=True, autoincrement=False),
    Column("since", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("scored", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("own", BigInteger, nullable=False),
)

shadows = Table(
    "shadows",
    metadata,
    # What such a version said: in a table apart, so that it is nowhere taken for a prediction.
    Column("system", Text, primary_key=True),
    Column("model_version", BigInteger, primary_key=True, autoincrement=False),
    Column("of", ForeignKey(predictions.c.sequence), primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False, unique=True),
    # None: those of the prediction.
    Column("inputs", LargeBinary),
    Column("answer", LargeBinary, nullable=False),
    Column("pins", ForeignKey(pins.c.digest), nullable=False),
)

notices = Table(
    "notices",
    metadata,
    # What people are to be told, on which channel: names of alerts and channels, never addresses.
    Column("system", Text, primary_key=True),
    Column("alert", Text, primary_key=True),
    Column("event", Text, primary_key=True),
    Column("channel", Text, primary_key=True),
    Column("time", Instant, nullable=False),
    Column("text", Text, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("reason", Text),
    Column("due", Instant),
    Column("claimed_until", Instant),
    Column("sent_at", Instant),
    # By the clock: nobody sends it any more, as its channel was taken out.
    Column("given_up_at", Instant),
)

audit = Table(
    "audit",
    metadata,
    # What people changed over HTTP: who, what, when. Rows are only ever added; they go along where a system is renamed.
    Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("time", Instant, nullable=False),
    Column("by", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("system", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("details", JSON, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("request", Text, nullable=False),
    Index("audit_system", "system", "sequence"),
    sqlite_autoincrement=True,
)

latencies = Table(
    "latencies",
    metadata,
    # How many answers of a serving process took how long, in a window of time.
    Column("system", Text, primary_key=True),
    Column("begin", Instant, primary_key=True),
    Column("server", Text, primary_key=True),
    Column("counts", Text, nullable=False),
)

simulations = Table(
    "simulations",
    metadata,
    # What people wanted to try on the past, over HTTP: the queue of it, what is being done, and what came of it.
    Column("id", Text, primary_key=True),
    Column("system", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("request", JSON, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("started_at", Instant),
    Column("ended_at", Instant),
    # When whoever does it last said that it is alive.
    Column("beat_at", Instant),
    Column("stage", Text, nullable=False),
    Column("count", Integer, nullable=False),
    Column("total", Integer, nullable=False),
    Column("reason", Text),
    # JSON, compressed.
    Column("result", LargeBinary),
    Index("simulations_system", "system", "created_at"),
)

COLUMNS = tuple(column.name for column in predictions.columns if column.name != "sequence")
