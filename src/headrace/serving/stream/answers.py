"""Predictions as JSON for the output topic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from headrace.lineage import Pins, iso, prediction_ids
from headrace.models.forecast import Forecast
from headrace.serving.stream.plan import Plan
from headrace.serving.stream.rings import Floats, Ints, Keys

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_REMEMBERED = 50_000


class Answers:
    """Writes the answers of one system.

    Args:
        system: Its name.
        keys: Its key columns.
        step: Time between two values.
    """

    def __init__(self, system: str, keys: tuple[str, ...], step: timedelta) -> None:
        import msgspec

        self._system, self._keys = system, keys
        self._step = step // _MICROSECOND
        self._encode = msgspec.json.Encoder().encode
        self._answer, self._ahead, self._raw = _answer_type(keys), _step_type(), msgspec.Raw
        self._texts: dict[int, str] = {}
        self._after: dict[tuple[int, int], list[str]] = {}

    def encode(self, done: Plan, series: Sequence[Keys], causes: Sequence[str], said: Said, pins: Pins) -> list[bytes]:
        """One JSON document per event of the plan, in its order.

        Args:
            done: The events.
            series: The keys of each.
            causes: The id of each event: topic-partition-offset.
            said: What is predicted.
            pins: Of the model; `as_of` is each event's own.
        """
        made, forecast, step, answers = self._answer, said.forecast, self._step, []
        self._remember(done.known, done.origin * step, done.slot * step)
        texts = self._texts
        digests, none = self._raw(self._encode(_digests(pins))), self._raw(b"null")
        version, needed = pins.model_version, forecast.needed
        for keys, id_, cause, known, origin, slot, fine, value, lower, upper, observed, low, high, count in zip(
            *(series, self._ids(done, series, pins), causes, done.known.tolist(), done.origin.tolist()),
            *(done.slot.tolist(), (np.isfinite(forecast.value).all(axis=1) & (forecast.known >= needed)).tolist()),
            *(forecast.value.tolist(), forecast.lower.tolist(), forecast.upper.tolist()),
            *(said.observed.tolist(), said.expected_lower.tolist(), said.expected_upper.tolist()),
            forecast.known.tolist(),
            strict=True,
        ):
            expects = low == low and high == high
            answer = made(
                *keys,
                *(id_, cause, texts[known], texts[origin * step], texts[slot * step], observed),
                not low <= observed <= high if expects else None,
                {"lower": low, "upper": high} if expects else none,
                value[0] if fine else None,
                self._steps(origin, value, lower, upper) if fine else [],
                version,
                digests,
            )
            if not fine:
                answer.reason = f"{count} values are known, {needed} are needed"
            answers.append(self._encode(answer))
        return answers

    def _steps(self, origin: int, value: list[float], lower: list[float], upper: list[float]) -> list[Any]:
        times, made = self._times_after(origin, len(value)), self._ahead
        return [
            made(time, v, a if a == a else None, b if b == b else None)  # NaN: there is no interval
            for time, v, a, b in zip(times, value, lower, upper, strict=True)
        ]

    def _times_after(self, origin: int, steps: int) -> list[str]:
        found = self._after.get((origin, steps))
        if found is None:
            if len(self._after) >= _REMEMBERED // 10:
                self._after.clear()
            at = [(origin + ahead) * self._step for ahead in range(1, steps + 1)]
            found = self._after[origin, steps] = [iso(_EPOCH + micros * _MICROSECOND) for micros in at]
        return found

    def _ids(self, done: Plan, series: Sequence[Keys], pins: Pins) -> list[str]:
        number: dict[Keys, int] = {}
        of = np.array([number.setdefault(keys, len(number)) for keys in series], dtype=np.int64)
        texts = ["\x1f".join(["" if v is None else str(v) for v in keys]) for keys in number]
        ones = np.ones(of.size, dtype=np.int64)
        return prediction_ids(self._system, pins, texts, of, done.known, ones, np.zeros_like(ones)) if texts else []

    def _remember(self, *times: Ints) -> None:
        """Have the texts of times (microseconds since 1970) at hand; series of one system share most of them."""
        if len(self._texts) >= _REMEMBERED:
            self._texts.clear()
        for micros in np.unique(np.concatenate(times)).tolist():
            if micros not in self._texts:
                self._texts[micros] = iso(_EPOCH + micros * _MICROSECOND)


@dataclass(frozen=True)
class Said:
    """What is predicted for the events of a plan, and what was expected of them; arrays in the plan's order.

    Attributes:
        forecast: Shape (events, horizon).
        observed: The target's values.
        expected_lower, expected_upper: The interval that the prediction before had for the event; NaN without one.
    """

    forecast: Forecast
    observed: Floats
    expected_lower: Floats
    expected_upper: Floats


def _answer_type(keys: tuple[str, ...]) -> Any:
    """The document that an answer is, with the key columns first."""
    import msgspec

    names = {f"key_{i}": name for i, name in enumerate(keys)}
    fixed = ("prediction_id", "event_id", "as_of", "origin", "event_time", "observed", "anomaly", "expected", "value")
    fields = [(name, Any) for name in (*names, *fixed, "predictions", "model_version", "pins")]
    reason: Any = ("reason", Any, msgspec.UNSET)
    return msgspec.defstruct("Answer", [*fields, reason], rename=names, gc=False)


def _step_type() -> Any:
    import msgspec

    return msgspec.defstruct("Step", [(name, Any) for name in ("time", "value", "lower", "upper")], gc=False)


def _digests(pins: Pins) -> dict[str, str]:
    """Versions as short digests."""
    return {
        "model": pins.model_digest.removeprefix("sha256:")[:12],
        "features": pins.feature_version[:12],
        "config": pins.config_digest[:12],
        "code": pins.code_revision,
    }
