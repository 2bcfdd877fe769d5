"""Why stored forecasts have their values: each computed again from its pins, with all that it is made of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from headrace.errors import ExplainError, NotEnoughDataError, NotExportedError, ReplayError, UsageError
from headrace.home import Home
from headrace.models.explaining import EXACT
from headrace.models.forecast import ForecastModel
from headrace.models.forecast_parts import LIMITS, ROUNDING, ForecastParts, forecast_parts
from headrace.tasks.explanation import BASELINE, STEP, Contribution, Explanation, by_size
from headrace.tasks.forecast.inference import predictor_of

Row = Mapping[str, Any]
_LAST = (LIMITS, ROUNDING)
_PINNED = ("model_version", "model_digest", "data_version", "as_of")


def explain_stored(
    home: Home, system: str, rows: Sequence[Row], *, label: Any = None, words: bool = False, threads: int = 1
) -> list[Explanation]:
    """Why stored forecasts have their values, in their order. Steps of one forecast are computed together.

    Raises:
        UsageError: A class is asked for, or words.
        ExplainError: The model is a forecaster over frames, or learns with another library's regressor.
        ReplayError: What one was made from is not there any more, or gives another number.
        NotExportedError: One answers a posted event that was not exported.
        ArtefactError: The model's files are gone or differ from their digest.
    """
    if label is not None:
        raise UsageError("forecasts are numbers, they have no classes", where="label", hint="leave it out")
    if words:
        raise UsageError("forecasts read no free text", where="words", hint="leave it out")
    parts: dict[tuple[Any, ...], ForecastParts] = {}
    explanations = []
    for row in rows:
        if "event_id" in row:
            hint = f"headrace export {system}"
            raise NotExportedError("the event that it answers is not in the tables yet", where=row["id"], hint=hint)
        predictor = predictor_of(home, system, row["model_version"], row["model_digest"])
        model, series = predictor.model, predictor.schema.series
        if not isinstance(model, ForecastModel):
            hint = "a Forecaster can be explained"
            raise ExplainError(f"a {type(model).__name__} gives forecasts alone", where=row["id"], hint=hint)
        only = {name: row[name] for name in series.keys}
        group = (*(row[name] for name in _PINNED), *only.values())
        if group not in parts:
            try:
                snapshots = predictor.snapshots(
                    home.table(system, series.table), [row["as_of"]], row["data_version"], only=only
                )
            except NotEnoughDataError as error:
                raise ReplayError("the pinned data has no such series", where=row["id"]) from error
            parts[group] = forecast_parts(model, snapshots.history, *snapshots.windows(), threads=threads)
        keys = only | {series.time: row[series.time], "ahead": row["ahead"]}
        explanations.append(_explanation(model, parts[group], row, keys))
    return explanations


def _explanation(model: ForecastModel, parts: ForecastParts, row: Row, keys: dict[str, Any]) -> Explanation:
    place = 0, row["ahead"] - 1
    value = float(parts.forecast.value[place])
    if value != row["value"]:
        raise ReplayError(f"it was {row['value']!r} and would be {value!r} now", where=row["id"])
    features = [
        Contribution(name, _finite(parts.values[name][place]), float(added[place]))
        for name, added in parts.features.items()
    ]
    later = {name: float(added[place]) for name, added in parts.steps.items()}
    baselines = [Contribution(name, None, added, BASELINE) for name, added in later.items() if name not in _LAST]
    steps = [Contribution(name, None, later[name], STEP) for name in _LAST if abs(later.get(name, 0.0)) > 0]
    sized = by_size([part for part in (*features, *baselines) if part.contribution])
    base = float(parts.base[place])
    contributions = (*sized, *steps)
    return Explanation(
        id=row["id"],
        keys=keys,
        target=model.frame.target,
        value=value,
        label=None,
        scale=model.frame.target,
        mapping="value = total",
        base=base,
        base_means="the series' level, and what the model adds to it on average",
        total=base + math.fsum(part.contribution for part in contributions),
        contributions=contributions,
        method=EXACT,
        model_version=row["model_version"],
        answer={name: row[name] for name in ("value", "lower", "upper", "served", "model_share") if name in row},
    )


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
