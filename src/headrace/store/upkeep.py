"""`Upkeep`: when a table is tidied."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from headrace.store import commits


@dataclass(frozen=True)
class Upkeep:
    """When small files are merged and how long what they replace is kept.

    No setting can break a logical version: versions live in the rows.
    Keep times must outlast any read or write under way: with zero, a process that opened the table just
    before a clean-up may find a file gone and raise `StoreError`. It loses nothing; running again is safe.

    Args:
        small_files: An append that leaves this many files since the last one of 16 MB, or 24 MB, merges them.
        keep_files: How long replaced files stay for readers that are under way.
        keep_log: How long commits stay in the log; `Table.versions` knows commit times that far back.
    """

    small_files: int = 64
    keep_files: timedelta = timedelta(days=1)
    keep_log: timedelta = timedelta(days=7)

    def configuration(self) -> dict[str, str | None]:
        """The table's Delta properties."""
        return {
            "delta.checkpointInterval": "10",
            "delta.logRetentionDuration": f"interval {int(self.keep_log.total_seconds())} seconds",
            "delta.deletedFileRetentionDuration": f"interval {int(self.keep_files.total_seconds())} seconds",
            "delta.targetFileSize": str(commits.FILE_SIZE),
        }
