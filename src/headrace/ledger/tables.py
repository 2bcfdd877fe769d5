"""The tables of the ledger, the same on every database."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
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
        return (datetime.fromisoformat(value) if isinstance(value, str) else value).astimezone(UTC)


@lru_cache(256)
def utc_text(time: datetime) -> str:
    """ISO 8601 in UTC with six decimals: always of one length, so texts sort as times do; PostgreSQL reads it too."""
    return (time if time.tzinfo is UTC else time.astimezone(UTC)).isoformat(timespec="microseconds")


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

alerts = Table(
    "alerts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("system", Text, nullable=False),
    Column("severity", Text, CheckConstraint("severity IN ('warning', 'alarm')"), nullable=False),
    Column("name", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("closed_at", Instant),
    Column("details", JSON, nullable=False),
    Index("alerts_system_opened_at", "system", "opened_at"),
)

COLUMNS = tuple(column.name for column in predictions.columns if column.name != "sequence")
