"""Databases that a test may write to, each empty at first."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import ClassVar

from tests.postgres import new_database


class SQLiteDatabase:
    kinds: ClassVar[dict[str, str]] = {
        "text": "TEXT",
        "integer": "INTEGER",
        "float": "REAL",
        "time": "TEXT",
        "bytes": "BLOB",
    }

    def __init__(self, folder: Path) -> None:
        self.path = folder / "shop.db"
        self.uri = f"sqlite:{self.path}"
        self.write("PRAGMA journal_mode = wal")

    def write(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            for statement in statements:
                connection.execute(statement)


class DuckDBDatabase:
    kinds: ClassVar[dict[str, str]] = {
        "text": "VARCHAR",
        "integer": "BIGINT",
        "float": "DOUBLE",
        "decimal": "DECIMAL(9, 2)",
        "date": "DATE",
        "clock": "TIME",
        "time": "TIMESTAMPTZ",
        "boolean": "BOOLEAN",
        "json": "STRUCT(a INTEGER)",
        "list": "INTEGER[]",
        "bytes": "BLOB",
    }

    def __init__(self, folder: Path) -> None:
        self.path = folder / "shop.duckdb"
        self.uri = f"duckdb:{self.path}"
        self.write("SELECT 1")

    def write(self, *statements: str) -> None:
        import duckdb

        with closing(duckdb.connect(self.path)) as connection:
            for statement in statements:
                connection.execute(statement)


class PostgreSQLDatabase:
    kinds: ClassVar[dict[str, str]] = {
        "text": "text",
        "integer": "bigint",
        "float": "double precision",
        "decimal": "numeric(9, 2)",
        "date": "date",
        "clock": "time",
        "time": "timestamptz",
        "boolean": "boolean",
        "json": "jsonb",
        "list": "integer[]",
        "bytes": "bytea",
    }

    def __init__(self, server: str) -> None:
        self.owner = new_database(server)
        login, _, rest = self.owner.rpartition("@")
        user, _, self.password = login.rpartition("//")[2].partition(":")
        self.uri = f"postgresql://{user}@{rest}"

    def write(self, *statements: str) -> None:
        import psycopg

        with psycopg.connect(self.owner, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)
