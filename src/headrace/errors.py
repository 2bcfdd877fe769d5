"""Every error that headrace raises on purpose, in one tree.

    HeadraceError
    ├── UsageError                  the caller asked for something that does not exist (exit 2)
    │   ├── DeclarationError        a mistake in system.py; names the field
    │   ├── ConfigError             a mistake in config.yaml, --set or the environment; names the path
    │   ├── PluginError             what an installed package adds cannot be loaded; names the entry point
    │   └── NotFoundError           no such system, prediction, model version or table
    ├── SourceError                 records could not be read (exit 1)
    │   └── PrepareError            a source's own function `prepare` failed; names it and the line
    ├── ContractBroken              too many rows broke the contract (exit 3)
    ├── StoreError                  a table could not be read or written (exit 1)
    │   ├── CorruptTableError       a file of the table is missing or damaged
    │   ├── StoreTooNewError        a newer headrace wrote this store
    │   ├── WriteConflictError      other writers kept winning the race for a table
    │   └── OnlineUnavailableError  the database of the online side is away, or locked for too long
    ├── LedgerError                 the ledger did not do as asked (exit 1)
    │   ├── KeyConflictError        a key came again with another row
    │   ├── LateEventError          an event came too late for its series
    │   ├── LedgerDamagedError      a row of the ledger is not what was written
    │   ├── LedgerUnavailableError  the ledger's database is away, or locked for too long
    │   └── LedgerFullError         more is waiting to be written than there is room for
    ├── FeatureError                a feature could not be computed (exit 1)
    ├── ModelError                  fitting, loading or predicting failed (exit 1)
    │   ├── NotEnoughDataError      too little history to fit
    │   ├── ExplainError            a model cannot say what a prediction is made of
    │   └── ArtefactError           a model's files are missing or differ from their digest
    ├── RegistryError               the tracking server or registry did not do as asked (exit 1)
    ├── TuningError                 a search for better settings cannot go on (exit 1)
    ├── ReplayError                 a prediction could not be recomputed from its pins (exit 1)
    │   └── NotExportedError        the event that it answers is in the ledger, and not in the tables yet
    ├── StreamError                 the broker did not do as asked, or the stream cannot go on (exit 1)
    │   ├── BrokerUnavailableError  the cluster is away, or does not answer in time
    │   └── FencedError             another worker took this one's place
    ├── HookError                   a hook failed, and HEADRACE_HOOKS asks for errors (exit 1)
    ├── ServiceError                a server that a client asks did not do as asked (exit 1)
    │   ├── AccessDeniedError       the token is not known, or does not allow this
    │   ├── RefusedRequestError     the request is not as it should be; says where
    │   ├── ConflictError           what is asked for does not fit what there is
    │   ├── ThrottledError          too many requests
    │   └── ServiceUnavailableError the server cannot be reached, is not ready, or too busy
    └── SinkError                   a target of predictions refuses, or does not fit (exit 1)
        ├── SinkUnavailableError    the target is away, or does not answer in time
        └── SinkMovedError          another process passed on to it meanwhile

Each carries what happened, where (``where``: a field, path, URI or column) and what to do (``hint``).
"""

from __future__ import annotations

from typing import Any, ClassVar


class HeadraceError(Exception):
    """Base of the tree.

    Args:
        message: What happened, in one sentence.
        where: The field, file, URI or column it happened at.
        hint: What the reader can do about it.

    Attributes:
        exit_code: Exit status of a command that fails with it.
        http_status: Status of a request that fails with it; of an error that a client raises, the one it was answered.
    """

    exit_code: ClassVar[int] = 1
    http_status: int = 503

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
    """The caller asked for something that does not exist or makes no sense.

    Raised when:
        What you asked for does not exist or makes no sense.

    What to do:
        Read the message: it names the argument. `headrace COMMAND --help` lists what there is.
    """

    exit_code = 2


class DeclarationError(UsageError):
    """A mistake in a system's declaration.

    Raised when:
        A field of your declaration has a value that cannot be meant. It is raised when the system is loaded, before
        anything is read or written.

    What to do:
        Change the field that `where` names, such as `contract.columns[2].minimum`.
    """


class ConfigError(UsageError):
    """A mistake in ``config.yaml``, ``--set`` or the environment.

    Raised when:
        `config.yaml`, `--set` or a variable `HEADRACE_*` has an unknown path, or a value that does not fit.

    What to do:
        Correct the path or the value. The hint has the nearest name that exists.
    """


class PluginError(UsageError):
    """What an installed package adds cannot be loaded, or does not do what is asked of its kind.

    Raised when:
        An entry point names a module or attribute that cannot be imported, or one that is not of its kind.

    What to do:
        Install a version of the package that fits, or remove it. `headrace doctor` lists what is installed.
    """


class NotFoundError(UsageError):
    """No such system, prediction, model version or table.

    Raised when:
        A system, prediction, model version or table of that name does not exist in this home.

    What to do:
        Check the name and `--home`. `headrace models SYSTEM` and `headrace runs SYSTEM` list what there is.
    """

    http_status = 404


class SourceError(HeadraceError):
    """Records could not be read from a source.

    Raised when:
        A file, service, topic or simulation could not be read. Nothing was stored.

    What to do:
        Mend the source and run again: a repeated run changes nothing that is stored already.
    """


class PrepareError(SourceError):
    """A source's function `prepare` failed, or returned no frame. Nothing was stored.

    Raised when:
        Your function `Source(prepare=)` raised an exception, or returned something that is not a polars frame.

    What to do:
        Correct the function: the message has its exception. Then run again, nothing was stored.
    """


class ContractBroken(HeadraceError):
    """The share of bad rows is past what the contract allows, or a rule over the batch failed.

    Raised when:
        More rows are bad than `max_invalid_fraction` allows, or a rule over the whole batch failed. Only the
        quarantine was written.

    What to do:
        Look at `reports/SYSTEM/validation.html` in the home. Correct the rows, or the contract if it is too strict.
    """

    exit_code = 3


class StoreError(HeadraceError):
    """A table could not be read or written.

    Raised when:
        A table could not be read or written, such as on a full or read-only disk.

    What to do:
        Free space, correct the rights or the address of the store, and run again.
    """


class CorruptTableError(StoreError):
    """A file of a table is missing or damaged.

    Raised when:
        A file of a table is missing, cut or changed.

    What to do:
        Run `headrace verify SYSTEM --deep`, then `--repair`. Facts themselves come back from a backup alone.
    """


class StoreTooNewError(StoreError):
    """The store was written by a newer headrace.

    Raised when:
        A newer version of headrace wrote this store.

    What to do:
        Install that version or a later one.
    """


class WriteConflictError(StoreError):
    """Other writers kept winning the race for a table.

    Raised when:
        Other processes kept committing to the same table first.

    What to do:
        Run again: nothing was written twice. Run fewer writers at once if it comes back.
    """


class OnlineUnavailableError(StoreError):
    """The database of the online side is away, or locked for too long. The same may be tried again.

    Raised when:
        The database of online features does not answer, or is locked for longer than `HEADRACE_ONLINE_TIMEOUT`.

    What to do:
        Bring the database back and try again. Requests are answered 503 until then.
    """


class LedgerError(HeadraceError):
    """The ledger did not do as asked.

    Raised when:
        The ledger refused a row, or could not do what was asked.

    What to do:
        Read the message; the types below say more.
    """


class KeyConflictError(LedgerError):
    """A key came again with another row than the one it stands for, or asks for another version than answered it.

    Raised when:
        A key came again with another row than it stands for, or for another version than answered it.

    What to do:
        Use a new key for a new row. For another version of the same row, send an `Idempotency-Key` of its own.

    Attributes:
        version: The version that answered the same row; None where the row is another.
    """

    http_status = 409
    version: int | None = None


class LateEventError(LedgerError):
    """An event came too late for its series.

    Raised when:
        An event is older than the newest one of its series by more than the stream allows.

    What to do:
        Nothing, if the event may be dropped. Otherwise ingest it in batch, as a later correction.
    """

    http_status = 409


class LedgerDamagedError(LedgerError):
    """A row of the ledger is not what was written.

    Raised when:
        A row of the ledger differs from its checksum: it was changed outside of headrace.

    What to do:
        Run `headrace verify --deep` to list such rows, and restore the ledger from a backup.
    """


class LedgerUnavailableError(LedgerError):
    """The ledger's database is away, or locked for too long. The same may be tried again.

    Raised when:
        The ledger's database does not answer, or is locked for longer than `HEADRACE_LEDGER_TIMEOUT`.

    What to do:
        Bring the database back and try again. No acknowledged row is lost.
    """


class LedgerReplacedError(LedgerUnavailableError):
    """The ledger is another one than was opened. The same may be tried again once the right one is back.

    Raised when:
        The ledger in this place is not the one that was opened: it is gone, or was begun anew.

    What to do:
        Put the right ledger back. Remove `ledger.json` beside it to go on without the old one.
    """


class LedgerFullError(LedgerError):
    """More is waiting to be written than there is room for. The same may be tried again.

    Raised when:
        More predictions wait to be written than `capacity` allows.

    What to do:
        Try again shortly. Raise `--capacity`, or write to a faster disk, if it comes back.
    """


class FeatureError(HeadraceError):
    """A feature could not be computed.

    Raised when:
        A feature could not be computed over the rows at hand.

    What to do:
        Correct the expression that `where` names.
    """


class ModelError(HeadraceError):
    """A model could not be fitted, saved, loaded or asked.

    Raised when:
        A model could not be fitted, saved, loaded or asked.

    What to do:
        Read the message. `headrace train SYSTEM` makes a new version.
    """


class NotEnoughDataError(ModelError):
    """Too little history to fit a model.

    Raised when:
        There is too little history to fit the model.

    What to do:
        Ingest more history, or shorten seasons and windows.
    """


class ExplainError(ModelError):
    """A model cannot say what its prediction is made of.

    Raised when:
        You ask why a prediction has its value, and its model gives no contributions: a forecaster over frames of
        series, or a model of rows that was trained before typical rows were kept.

    What to do:
        Train again where the message says so. Otherwise use a model that can tell: every model of rows, and a
        `Forecaster` with its own learner.
    """

    http_status = 422


class ArtefactError(ModelError):
    """A model's files are missing or do not match their digest.

    Raised when:
        A file of a model version is missing, or differs from the digest that it was registered with.

    What to do:
        Restore the files from a backup, or train a new version.
    """


def other_version(where: object, lacking: KeyError) -> ArtefactError:
    """The error for a model's files that lack something: their digest holds, so another headrace wrote them."""
    return ArtefactError(
        f"was made by another version of headrace: it says nothing of {lacking}",
        where=str(where),
        hint="headrace train SYSTEM makes a model of this version; what is stored stays as it is",
    )


class RegistryError(HeadraceError):
    """The tracking server or the registry did not do as asked.

    Raised when:
        The tracking server or the model registry did not do as asked.

    What to do:
        Check `HEADRACE_TRACKING_URI` and whether the server answers, then run again.
    """


class TuningError(HeadraceError):
    """A search for better settings cannot go on.

    Raised when:
        Trials fail one after the other, none was completed, or the database of the trials cannot be used.

    What to do:
        Read the message: it has the last trial's error. Change `tuning.space` so that every value in it fits.
    """


class ReplayError(HeadraceError):
    """A stored prediction could not be recomputed from its pins.

    Raised when:
        A stored prediction could not be computed again from its pins.

    What to do:
        Read the message: it names what is missing, such as a model version that was deleted.
    """


class NotExportedError(ReplayError):
    """The event that a prediction answers is in the ledger, and not in the tables yet.

    Raised when:
        The event behind the prediction is still in the ledger, not in the tables.

    What to do:
        Run `headrace export SYSTEM`, then replay again.
    """


class StreamError(HeadraceError):
    """The broker did not do as asked, or the stream cannot go on.

    Raised when:
        The broker refused something, or the stream cannot go on without a decision of yours.

    What to do:
        Read the message: it names the topic, the partition and the command that helps.
    """


class BrokerUnavailableError(StreamError):
    """The cluster is away, or does not answer in time. The same may be tried again.

    Raised when:
        The cluster did not answer within `HEADRACE_STREAM_PATIENCE`.

    What to do:
        Check the address and the cluster, then start again: the stream goes on where it was.
    """


class FencedError(StreamError):
    """Another worker with the same identity took this one's place.

    Raised when:
        Another worker with the same identity took this one's place.

    What to do:
        Give every replica its own `HEADRACE_REPLICA`.
    """


class HookError(HeadraceError):
    """A hook raised an exception, and hooks are strict (``HEADRACE_HOOKS=raise``). What it was told is done.

    Raised when:
        A function of `System(hooks=)` raised an exception and `HEADRACE_HOOKS=raise` is set. What it was called about
        is stored already.

    What to do:
        Correct the hook. With `HEADRACE_HOOKS=warn`, the default, an exception is a warning and the run goes on.
    """


class SinkError(HeadraceError):
    """A target of predictions refuses, or does not fit.

    Raised when:
        A target of predictions refuses what comes, or a table does not fit.

    What to do:
        Change the target as the message says, column by column for a table.
    """


class SinkUnavailableError(SinkError):
    """The target is away, or does not answer in time. The same may be tried again.

    Raised when:
        The target did not answer within `--patience`.

    What to do:
        Start again when it is back: the sink goes on where it was.

    Attributes:
        after: Seconds after which it asks to be tried again; None: it does not say.
    """

    after: float | None = None


class SinkMovedError(SinkError):
    """Another process passed on to the target meanwhile. What it did counts.

    Raised when:
        Another process passed predictions on to the same target meanwhile.

    What to do:
        Run one sink per target. What the other one passed on counts.
    """


class ServiceError(HeadraceError):
    """A server that a client asked did not do as asked.

    Raised when:
        `headrace.client` gets an answer that it cannot understand, or one of the errors below.

    What to do:
        Read the message: it has what the server says. The server's log has more, by `request_id`.

    Attributes:
        status: Of the response; 0 where there was none.
        faults: What is wrong where: ``{"loc": [...], "msg": ...}``.
        request_id: By which the server's log tells of it.
    """

    status: int = 0
    faults: tuple[dict[str, Any], ...] = ()
    request_id: str | None = None


class AccessDeniedError(ServiceError):
    """The token is not known to the server, or does not allow this.

    Raised when:
        The server answers 401 or 403.

    What to do:
        Set `HEADRACE_TOKEN` to a token that has the scope which the message names.
    """


class RefusedRequestError(ServiceError):
    """The request is not as it should be.

    Raised when:
        The server answers 400, 413, 415, 422 or the like, such as for a row that breaks the contract.

    What to do:
        Correct what `faults` lists: each has a path into the body or the query.
    """


class ConflictError(ServiceError):
    """What is asked for does not fit what there is.

    Raised when:
        The server answers 409, such as for a key that belongs to another row.

    What to do:
        Use a new key for a new row. Otherwise look at what there is now.
    """


class ThrottledError(ServiceError):
    """The token makes too many requests.

    Raised when:
        The server answers 429 to all tries.

    What to do:
        Ask less often, or have the token's limits raised.
    """


class ServiceUnavailableError(ServiceError):
    """The server cannot be reached, is not ready, or is too busy. The same may be tried again.

    Raised when:
        There is no connection, no answer in time, or the server answers 5xx to all tries.

    What to do:
        Check `HEADRACE_URL`. `GET /ready` says what a server waits for.
    """
