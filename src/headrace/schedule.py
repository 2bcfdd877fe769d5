"""Schedule: how often a system predicts and trains, and what makes a training due before that."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BeforeValidator, SerializeAsAny

from headrace.declaration import Declared, Duration, Every
from headrace.policy.base import RETRAIN_RULES, RetrainRule


class Schedule(Declared):
    """How often things are due.

    Attributes:
        predict: Time between runs.
        train: Time between trainings; ``"never"`` trains once, when there is no model.
        retrain: Rules that make a training due before that, such as ``NewValues("brand")``; see `headrace.policy`.
        cooldown: No rule of `retrain` makes a training due sooner than this after the last one.
        promotion: With ``auto`` a version that wins the gate takes the champion's place. With ``manual`` it waits until
            somebody promotes or rejects it, and the champion goes on; only the first version takes the place at once.
        beat_baselines: Whether a new version takes the place only if it is better than the best baseline, the first
            one too.
    """

    predict: Every = timedelta(hours=1)
    train: Every = timedelta(days=7)
    retrain: tuple[Annotated[SerializeAsAny[RetrainRule], BeforeValidator(RETRAIN_RULES.from_data)], ...] = ()
    cooldown: Duration = timedelta(days=1)
    promotion: Literal["auto", "manual"] = "auto"
    beat_baselines: bool = False
