"""Where a prediction comes from: pins, prediction ids, run ids and digests."""

from __future__ import annotations

import hashlib
import json
import subprocess
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from headrace._version import __version__
from headrace.errors import NotFoundError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_TURN, _STEP, _LOW = 0x9E3779B97F4A7C15, 1_000_003, (1 << 62) - 1
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


PINNED = ("model_version", "model_digest", "feature_version", "data_version", "config_digest", "code_revision")
"""The pins that every stored prediction carries beside its `as_of`."""
SHADOW_OF = "shadow_of"
"""Beside what a shadow said: the id of the prediction that was answered."""
ROLE, ANSWERED, CANARY, SHADOW = "role", "answered", "canary", "shadow"
"""What a version was to a prediction: it answered as the champion or because it was asked for, it answered as the
canary, or it was asked beside the one that answered. The first is meant where none is told."""
FEATURES = "_features"
"""Among the inputs of a prediction: the features that were computed for it, where they are logged."""
INPUTS, DIGEST = "inputs", "row_digest"
"""Headers of an answer to a row on a topic: what it was made from as JSON, with what was looked up; and the digest of
the row."""


class Versioned(Protocol):
    """What pins take of a model version."""

    @property
    def version(self) -> int:
        """Its number in the registry."""

    @property
    def digest(self) -> str:
        """Of its files."""

    @property
    def pins(self) -> Mapping[str, Any]:
        """What it was made from."""


@dataclass(frozen=True)
class Pins:
    """Every version that a run uses, resolved once and handed to all its steps.

    Attributes:
        as_of: What was known at this time, UTC, is what the run sees.
        data_version: Logical version of the raw table.
        feature_version: Digest of the features' definition.
        model_version: Number of the model version in the registry.
        model_digest: Digest of the model's files.
        config_digest: Digest of the whole declaration with its configuration.
        code_revision: Version of headrace, and the revision of the system's repository where there is one.
    """

    as_of: datetime
    data_version: int
    feature_version: str
    model_version: int
    model_digest: str
    config_digest: str
    code_revision: str

    @classmethod
    def of(cls, model: Versioned, as_of: datetime, folder: Path, data_version: int | None = None) -> Self:
        """What a prediction by this version carries.

        Args:
            model: The version.
            as_of: What was known at this time, UTC, is what the prediction is made from.
            folder: Of the system, whose code it is.
            data_version: Logical version of the raw table; None: the one that the model learnt from.
        """
        return cls(
            as_of=as_of,
            data_version=int(model.pins["data_version"]) if data_version is None else data_version,
            feature_version=str(model.pins["feature_version"]),
            model_version=model.version,
            model_digest=model.digest,
            config_digest=str(model.pins["config_digest"]),
            code_revision=code_revision(folder),
        )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """What `as_dict` gave."""
        return cls(**{**data, "as_of": datetime.fromisoformat(data["as_of"])})

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; times as ISO 8601 in UTC."""
        return vars(self) | {"as_of": iso(self.as_of)}


def digest_of(data: Any, length: int = 12) -> str:
    """Hex digest of JSON-ready data: equal data, equal digest."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def iso(time: datetime) -> str:
    """ISO 8601 in UTC with a Z."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def run_id(system: str, as_of: datetime, now: datetime) -> str:
    """A new run's id: sorts by the time it was started."""
    seed = f"{system}|{iso(as_of)}|{iso(now)}"
    return str(_time_ordered(now, int.from_bytes(hashlib.sha256(seed.encode()).digest()[:10])))


def id_bytes(
    system: str, pins: Pins, keys: list[str], series: Ints, as_of: Ints, ahead: Ints, revision: Ints
) -> list[bytes]:
    """Ids of predictions, in ASCII: the same cause gives the same id.

    An id is a UUID whose first 48 bits are `as_of` in milliseconds (the layout of UUID version 7), so ids sort by
    time and a look-up by id reads one slice. The other 74 bits are a digest of system, key, steps ahead, the
    pins that shape the number, and the revision.

    Args:
        system: Name of the system.
        pins: Their model, features and configuration; their time is not looked at.
        keys: Texts that identify series.
        series: Per prediction the index of its series in `keys`.
        as_of: Per prediction, in microseconds since 1970.
        ahead: Steps ahead per prediction.
        revision: 0, or how many other numbers were stored before for the same pins.
    """
    import numpy as np

    head = f"{system}|{pins.model_digest}|{pins.feature_version}|{pins.config_digest}"
    digests = b"".join(_digested(head, key) for key in keys)
    words = np.frombuffer(digests, dtype=">u8").astype(np.uint64).reshape(-1, 2)[series]
    # Multiplying by an odd constant modulo 2^62 keeps (step, revision) distinct within a key.
    turn = (ahead * _STEP + revision).astype(np.uint64) * np.uint64(_TURN)
    high = (as_of // 1000).astype(np.uint64) << np.uint64(16) | np.uint64(7 << 12) | words[:, 0] >> np.uint64(52)
    low = (words[:, 1] + turn) & np.uint64((1 << 62) - 1) | np.uint64(2 << 62)
    digits = np.stack([high, low], axis=1).astype(">u8").tobytes().hex().encode()
    written = np.full((series.size, 36), ord("-"), dtype=np.uint8)
    written[:, [i for i in range(36) if i not in (8, 13, 18, 23)]] = np.frombuffer(digits, np.uint8).reshape(-1, 32)
    text = written.tobytes()
    return [text[i : i + 36] for i in range(0, len(text), 36)]


def prediction_ids(
    system: str, pins: Pins, keys: list[str], series: Ints, as_of: Ints, ahead: Ints, revision: Ints
) -> list[str]:
    """Ids of predictions as `id_bytes` makes them."""
    return [id_.decode() for id_ in id_bytes(system, pins, keys, series, as_of, ahead, revision)]


def beside(prediction_id: str, steps: int, revisions: int = 0) -> str:
    """The id of the prediction of the same series and pins so many steps further ahead, and so many revisions later.

    Args:
        prediction_id: As `prediction_ids` made it.
        steps: May be negative, as `revisions` may.

    >>> beside(beside("01700000-0000-7000-8000-000000000000", 2), -2)
    '01700000-0000-7000-8000-000000000000'
    """
    value = uuid.UUID(prediction_id).int
    low = (value + (steps * _STEP + revisions) * _TURN) & _LOW
    return str(uuid.UUID(int=value & ~_LOW | low))


def row_cause(system: str, pins: Pins) -> str:
    """What shapes a system's predictions of rows, as the first part of `row_prediction_id`."""
    return f"{system}|{pins.model_digest}|{pins.feature_version}|{pins.config_digest}"


def row_prediction_id(cause: str, key: str, as_of: datetime) -> str:
    """The id of a prediction of one row, in the layout of `prediction_ids`.

    Args:
        cause: Of the system, the pins that shape the number, and the row: `row_cause` and the row's digest.
        key: The row's key, or the idempotency key it came with.
        as_of: When it was asked for.
    """
    return _row_id(_head(as_of), f"{cause}|{key}")


def row_prediction_ids(cause: str, digests: Iterable[str], keys: Iterable[str], as_of: datetime) -> list[str]:
    """The ids of many rows: what `row_prediction_id` gives for each, with its digest after the `cause`."""
    head = _head(as_of)
    return [_row_id(head, f"{cause}|{digest}|{key}") for digest, key in zip(digests, keys, strict=True)]


def _head(as_of: datetime) -> str:
    time = f"{(as_of - _EPOCH) // _MILLISECOND:012x}"
    return f"{time[:8]}-{time[8:]}-7"


def _row_id(head: str, cause: str) -> str:
    digest = hashlib.sha256(cause.encode()).hexdigest()
    return f"{head}{digest[:3]}-{_VARIANT[digest[3]]}{digest[4:7]}-{digest[7:19]}"


@lru_cache(maxsize=20_000)
def _digested(head: str, text: str) -> bytes:
    return hashlib.sha256((head + text).encode()).digest()[:16]


def as_of_in(prediction_id: str) -> datetime:
    """The `as_of` (to the millisecond, UTC) that a prediction's id carries.

    Raises:
        NotFoundError: It is not an id of a prediction.
    """
    try:
        return _EPOCH + timedelta(milliseconds=uuid.UUID(prediction_id).int >> 80)
    except (ValueError, OverflowError) as error:
        raise NotFoundError(
            f"{prediction_id[:80]!r} is not the id of a prediction",
            hint="ids are listed by `headrace predictions`",
        ) from error


def is_id(text: str) -> bool:
    """Whether a text is the id of a prediction, rather than the name of something.

    >>> is_id("0185cfa3-2c00-7000-8000-000000000000"), is_id("energy")
    (True, False)
    """
    try:
        as_of_in(text)
    except NotFoundError:
        return False
    return True


def _time_ordered(time: datetime, bits: int) -> uuid.UUID:
    milliseconds = (time - _EPOCH) // timedelta(milliseconds=1)
    value = (milliseconds << 80) | (bits & ((1 << 80) - 1))
    value = (value & ~(0xF << 76)) | (7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return uuid.UUID(int=value)


@cache
def code_revision(folder: Path) -> str:
    """Version of headrace, and the git revision of the system's folder, with ``+changed`` for uncommitted changes."""
    version = f"headrace {__version__}"
    try:
        head = _git(folder, "rev-parse", "--short=12", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--", str(folder))
    except (OSError, subprocess.SubprocessError):
        return version  # no git, or no repository: the config digest still tells declarations apart
    return f"{version} git {head}" + ("+changed" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    process = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
    )
    return process.stdout.strip()
