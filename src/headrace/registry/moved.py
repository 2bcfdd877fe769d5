"""A home that was copied: MLflow's embedded database names its files by their full path, which is the old one."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

_PLACES = (
    ("runs", "artifact_uri", "run_uuid"),
    ("model_versions", "source", "run_id"),
    ("model_versions", "storage_location", "run_id"),
)


def follow(database: Path, experiment: str, old: str, new: str, run_ids: frozenset[str]) -> None:
    """Let an experiment keep its files in another folder, with those of its runs that are there already.

    Without it a copy of a home would write the files of its new models into the home that it is a copy of.

    Args:
        database: MLflow's SQLite file.
        experiment: The experiment's id.
        old: The URI of its folder, as the database has it.
        new: The URI of its folder in this home.
        run_ids: Runs whose files are in the new folder.

    Raises:
        sqlite3.Error: The database cannot be written.
    """
    with contextlib.closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        connection.execute(
            "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", [new, int(experiment)]
        )
        for run_id in sorted(run_ids):
            for table, column, key in _PLACES:
                update = f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608 - names from _PLACES
                where = f"WHERE {key} = ? AND substr({column}, 1, ?) = ?"
                connection.execute(update + where, [f"{new}/", len(old) + 2, run_id, len(old) + 1, f"{old}/"])
