"""Predictions as JSON for the output topic.

An answer is a template filled in: what answers of one time have in common is written once, and all numbers of a
micro-batch are written by one call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headrace.grid import Grid
from headrace.lineage import Pins, id_bytes, iso
from headrace.models.forecast import SERVED, Forecast, served_of
from headrace.serving.engine.plan import Plan
from headrace.serving.engine.positions import source_of
from headrace.serving.engine.rings import Floats, Ints, Keys

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_REMEMBERED = 50_000
USUAL, ANOMALY, UNEXPECTED, UNJUDGED = range(4)
_SILENT = 4
"""Added to these where there is no forecast."""
_EXPECTED = (
    b'"expected":{"value":%b,"lower":%b,"upper":%b},"anomaly":false,"degree":%b',
    b'"expected":{"value":%b,"lower":%b,"upper":%b},"anomaly":true,"degree":%b',
    b'"expected":null%.0b%.0b%.0b,"anomaly":null,"degree":null%.0b',
    b'"expected":{"value":%b,"lower":%b,"upper":%b},"anomaly":null,"degree":null%.0b',
)
"""Every template takes the same values; what it does not say it writes with no letter (`%.0b`)."""


_SERVED = [name.encode() for name in SERVED]


class ExpectedValues(NamedTuple):
    """What the prediction before had for the values of events; NaN where there was none."""

    value: Floats
    lower: Floats
    upper: Floats


class Verdicts(NamedTuple):
    """How values were judged.

    Attributes:
        degree: How unusual each is; NaN where nothing was expected.
        anomaly: Whether it is an anomaly.
    """

    degree: Floats
    anomaly: NDArray[np.bool_]


@dataclass(frozen=True)
class EventForecasts:
    """What is predicted for the events of a plan, and what was expected of them; arrays in the plan's order.

    Attributes:
        forecast: Shape (events, horizon).
        observed: The target's values.
        expected: What the prediction before had for them.
        verdicts: How far they lie from it.
    """

    forecast: Forecast
    observed: Floats
    expected: ExpectedValues
    verdicts: Verdicts

    @property
    def surprise(self) -> Ints:
        """What each observation is: `USUAL`, an `ANOMALY`, `UNEXPECTED` or `UNJUDGED`."""
        missing = np.isnan(self.expected.lower) | np.isnan(self.expected.upper)
        judged = np.where(self.verdicts.anomaly, ANOMALY, USUAL)
        judged = np.where(np.isnan(self.verdicts.degree), UNJUDGED, judged)
        return np.where(missing, UNEXPECTED, judged)


class PredictionEncoder:
    """Writes the answers of one system.

    Args:
        system: Its name.
        topic: Name of the input topic, for ids of events.
        keys: Its key columns.
        grid: When steps begin.
        role: What the version is to these answers; None: it answers.

    Attributes:
        logs: Of each partition, which of the logs of its topic's name its events are of, where it is not the first.
    """

    def __init__(self, system: str, topic: str, keys: tuple[str, ...], grid: Grid, role: str | None = None) -> None:
        import msgspec

        self._system, self._keys, self._topic = system, keys, topic
        self._grid = grid
        self._role = b"" if role is None else b',"role":"%b"' % role.encode()
        self._json = msgspec.json.Encoder().encode
        self._texts: dict[int, bytes] = {}
        self._heads: dict[Keys, bytes] = {}
        self._templates: dict[tuple[int, int, int, int], bytes] = {}
        self._of: tuple[Pins, int, int] | None = None
        self.logs: dict[int, int] = {}

    def follow(self, partition: int, log: int) -> None:
        """Name the events of a partition as those of this log of its topic."""
        if self.logs.get(partition, 1) != log:
            self._templates.clear()
        self.logs[partition] = log

    def encode(
        self, done: Plan, series: Sequence[Keys], causes: tuple[Ints, Ints], said: EventForecasts, pins: Pins
    ) -> list[bytes]:
        """One JSON document per event of the plan, in its order.

        Args:
            done: The events.
            series: The keys of each series of the plan, in its order.
            causes: Partitions and offsets of the events.
            said: What is predicted.
            pins: Of the model; `as_of` is each event's own.
        """
        forecast = said.forecast
        self._for(pins, forecast.value.shape[1], forecast.needed)
        fine = np.isfinite(forecast.value).all(axis=1) & (forecast.known >= forecast.needed)
        kinds = said.surprise + np.where(fine, 0, _SILENT)
        series_index = np.cumsum(np.r_[0, done.row[1:] != done.row[:-1]])
        heads = [self._head(keys) for keys in series]
        of_time = zip(done.origin.tolist(), done.slot.tolist(), causes[0].tolist(), kinds.tolist(), strict=True)
        values = zip(
            *([heads[i] for i in series_index.tolist()], self._ids(done, series, series_index, pins)),
            *(self._list(causes[1]), self._times(done.known), *self._numbers(said), self._list(forecast.known)),
            strict=True,
        )
        templates = self._templates
        return [
            (templates.get(common) or self._template(*common)) % row
            for common, row in zip(of_time, values, strict=True)
        ]

    def _for(self, pins: Pins, horizon: int, needed: int) -> None:
        """Templates are of one model."""
        if self._of != (pins, horizon, needed):
            self._of = pins, horizon, needed
            self._templates.clear()

    def _numbers(self, forecasts: EventForecasts) -> list[list[bytes]]:
        """All numbers by their places in the templates, null where there is none."""
        f = forecasts.forecast
        first = [*forecasts.expected, forecasts.verdicts.degree, forecasts.observed]
        steps = np.stack([f.value, f.lower, f.upper], axis=2).reshape(len(first[0]), -1)
        written = self._list(np.column_stack([*first, steps]).ravel())
        width = len(first) + steps.shape[1]
        columns = [written[place::width] for place in range(width)]
        share = f.share.mean(axis=1)
        served = map(_SERVED.__getitem__, served_of(share).tolist())
        # The first step's value is the answer's as well.
        value = len(first)
        return [*columns[: value + 1], list(served), self._list(share), *columns[value:]]

    def _list(self, values: NDArray[Any]) -> list[bytes]:
        return self._json(values.tolist())[1:-1].split(b",")

    def _template(self, origin: int, slot: int, partition: int, kind: int) -> bytes:
        """What answers of one time, partition and kind have in common, with places for the rest."""
        assert self._of is not None
        pins, horizon, needed = self._of
        if len(self._templates) >= _REMEMBERED // 10:
            self._templates.clear()
        times = [self._time(origin + ahead) for ahead in range(horizon + 1)]
        silent, surprise = divmod(kind, _SILENT)
        source = source_of(self._topic, self.logs.get(partition, 1))
        if silent:
            template = b'null%.0b,"served":null%.0b,"model_share":null%.0b,"predictions":[]' + b"%.0b%.0b%.0b" * horizon
        else:
            steps = [b'{"time":"%b","value":%%b,"lower":%%b,"upper":%%b}' % time for time in times[1:]]
            template = b'%%b,"served":"%%b","model_share":%%b,"predictions":[%b]' % b",".join(steps)
        known = b',"reason":"%%b values are known, %d are needed"' % needed if silent else b"%.0b"
        made = self._templates[origin, slot, partition, kind] = b"".join(
            (
                b'%b"prediction_id":"%b",',
                b'"event_id":"%b-%d-%%b",' % (source.encode(), partition),
                b'"as_of":"%%b","origin":"%b","event_time":"%b",' % (times[0], self._time(slot)),
                _EXPECTED[surprise],
                b',"observed":%b,"value":',
                template,
                b",",
                b'"model_version":%d,"pins":%b' % (pins.model_version, self._json(short(pins)).replace(b"%", b"%%")),
                known,
                self._role,
                b"}",
            )
        )
        return made

    def _head(self, keys: Keys) -> bytes:
        head = self._heads.get(keys)
        if head is None:
            if len(self._heads) >= _REMEMBERED:
                self._heads.clear()
            head = self._heads[keys] = self._json(dict(zip(self._keys, keys, strict=True)))[:-1] + (
                b"," if keys else b""
            )
        return head

    def _ids(self, plan: Plan, series: Sequence[Keys], series_index: Ints, pins: Pins) -> list[bytes]:
        texts = ["\x1f".join(["" if v is None else str(v) for v in keys]) for keys in series]
        ones = np.ones(series_index.size, dtype=np.int64)
        return id_bytes(self._system, pins, texts, series_index, plan.known, ones, np.zeros_like(ones))

    def _times(self, micros: Ints) -> list[bytes]:
        """Texts of times (microseconds since 1970); series of one system share most of them."""
        texts = self._texts
        if len(texts) >= _REMEMBERED:
            texts.clear()
        return [texts.get(micro) or texts.setdefault(micro, _text(micro)) for micro in micros.tolist()]

    def _time(self, slot: int) -> bytes:
        return _text(self._grid.time_at(slot))


def _text(micros: int) -> bytes:
    return iso(_EPOCH + micros * _MICROSECOND).encode()


def short(pins: Pins) -> dict[str, str]:
    """Versions as short digests."""
    return {
        "model": pins.model_digest.removeprefix("sha256:")[:12],
        "features": pins.feature_version[:12],
        "config": pins.config_digest[:12],
        "code": pins.code_revision,
    }
