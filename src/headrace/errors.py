"""Every error that headrace raises on purpose, in one tree.

    HeadraceError
    ├── UsageError                  the caller asked for something that does not exist (exit 2)
    │   ├── DeclarationError        a mistake in system.py; names the field
    │   ├── ConfigError             a mistake in config.yaml, --set or the environment; names the path
    │   └── NotFoundError           no such system, prediction, model version or table
    ├── SourceError                 records could not be read (exit 1)
    ├── ContractBroken              too many rows broke the contract (exit 3)
    ├── StoreError                  a table could not be read or written (exit 1)
    │   ├── CorruptTableError       a file of the table is missing or damaged
    │   ├── StoreTooNewError        a newer headrace wrote this store
    │   ├── WriteConflictError      other writers kept winning the race for a table
    │   └── OnlineUnavailableError  the database of the online side is away, or locked for too long
    ├── LedgerError                 the ledger did not do as asked (exit 1)
    │   ├── KeyConflictError        a key came again with another row
    │   ├── LateEventError          an event came too late for its series
    │   ├── LedgerUnavailableError  the ledger's database is away, or locked for too long
    │   └── LedgerFullError         more is waiting to be written than there is room for
    ├── FeatureError                a feature could not be computed (exit 1)
    ├── ModelError                  fitting, loading or predicting failed (exit 1)
    │   ├── NotEnoughDataError      too little history to fit
    │   └── ArtefactError           a model's files are missing or differ from their digest
    ├── RegistryError               the tracking server or registry did not do as asked (exit 1)
    ├── ReplayError                 a prediction could not be recomputed from its pins (exit 1)
    │   └── NotExportedError        the event that it answers is in the ledger, and not in the tables yet
    └── StreamError                 the broker did not do as asked, or the stream cannot go on (exit 1)
        ├── BrokerUnavailableError  the cluster is away, or does not answer in time
        └── FencedError             another worker took this one's place

Each carries what happened, where (``where``: a field, path, URI or column) and what to do (``hint``).
"""

from __future__ import annotations


class HeadraceError(Exception):
    """Base of the tree.

    Args:
        message: What happened, in one sentence.
        where: The field, file, URI or column it happened at.
        hint: What the reader can do about it.
    """

    exit_code = 1

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}\n  hint: {self.hint}" if self.hint else text

    def as_dict(self) -> dict[str, str | None]:
        """The error as one JSON object: ``error``, ``message``, ``where``, ``hint``."""
        return {
            "error": type(self).__name__,
            "message": self.message,
            "where": self.where,
            "hint": self.hint,
        }


class UsageError(HeadraceError):
    """The caller asked for something that does not exist or makes no sense."""

    exit_code = 2


class DeclarationError(UsageError):
    """A mistake in a system's declaration."""


class ConfigError(UsageError):
    """A mistake in ``config.yaml``, ``--set`` or the environment."""


class NotFoundError(UsageError):
    """No such system, prediction, model version or table."""


class SourceError(HeadraceError):
    """Records could not be read from a source."""


class ContractBroken(HeadraceError):
    """The share of bad rows is past what the contract allows, or a rule over the batch failed."""

    exit_code = 3


class StoreError(HeadraceError):
    """A table could not be read or written."""


class CorruptTableError(StoreError):
    """A file of a table is missing or damaged."""


class StoreTooNewError(StoreError):
    """The store was written by a newer headrace."""


class WriteConflictError(StoreError):
    """Other writers kept winning the race for a table."""


class OnlineUnavailableError(StoreError):
    """The database of the online side is away, or locked for too long. The same may be tried again."""


class LedgerError(HeadraceError):
    """The ledger did not do as asked."""


class KeyConflictError(LedgerError):
    """A key came again with another row than the one it stands for, or asks for another version than answered it.

    Attributes:
        version: The version that answered the same row; None where the row is another.
    """

    version: int | None = None


class LateEventError(LedgerError):
    """An event came too late for its series."""


class LedgerUnavailableError(LedgerError):
    """The ledger's database is away, or locked for too long. The same may be tried again."""


class LedgerReplacedError(LedgerUnavailableError):
    """The ledger is another one than was opened. The same may be tried again once the right one is back."""


class LedgerFullError(LedgerError):
    """More is waiting to be written than there is room for. The same may be tried again."""


class FeatureError(HeadraceError):
    """A feature could not be computed."""


class ModelError(HeadraceError):
    """A model could not be fitted, saved, loaded or asked."""


class NotEnoughDataError(ModelError):
    """Too little history to fit a model."""


class ArtefactError(ModelError):
    """A model's files are missing or do not match their digest."""


def other_version(where: object, lacking: KeyError) -> ArtefactError:
    """The error for a model's files that lack something: their digest holds, so another headrace wrote them."""
    return ArtefactError(
        f"was made by another version of headrace: it says nothing of {lacking}",
        where=str(where),
        hint="headrace train SYSTEM makes a model of this version; what is stored stays as it is",
    )


class RegistryError(HeadraceError):
    """The tracking server or the registry did not do as asked."""


class ReplayError(HeadraceError):
    """A stored prediction could not be recomputed from its pins."""


class NotExportedError(ReplayError):
    """The event that a prediction answers is in the ledger, and not in the tables yet."""


class StreamError(HeadraceError):
    """The broker did not do as asked, or the stream cannot go on."""


class BrokerUnavailableError(StreamError):
    """The cluster is away, or does not answer in time. The same may be tried again."""


class FencedError(StreamError):
    """Another worker with the same identity took this one's place."""
