"""A model of rows taken up by a door: loaded, compared with the declaration, and with its look-ups current."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from headrace.errors import ModelError
from headrace.home import Home
from headrace.system import System
from headrace.tasks.rows.lookups import Lookups
from headrace.tasks.rows.predictor import RowPredictor

if TYPE_CHECKING:
    from headrace.registry import ModelVersion


def taken_up(system: System, home: Home, version: ModelVersion, now: datetime) -> tuple[RowPredictor, Lookups]:
    """The predictor of a version, and what its features look up, which may be nothing.

    Args:
        system: The declaration.
        home: Where models and feature groups are.
        version: The model.
        now: Up to when the online side of its groups is brought.

    Raises:
        ModelError: The declaration or a feature group has changed since the training, and lacks what the model reads.
        ArtefactError: The model's files are damaged.
        NotFoundError: A group that is looked up is not online.
        OnlineUnavailableError: The online side is away.
    """
    predictor = RowPredictor.load(home.registry.fetch(version))
    lookups = Lookups.of(predictor.model.features, system, home)
    _refuse_other(system, predictor, lookups)
    lookups.follow(now)
    predictor.warm()
    return predictor, lookups


def _refuse_other(system: System, predictor: RowPredictor, lookups: Lookups) -> None:
    model, contract = predictor.model, system.contract
    types: dict[str, str] = {column.name: column.type for column in contract.columns} | lookups.types
    other = [name for name, kind in model.types.items() if types.get(name) != kind]
    if other or model.target != system.target:
        names = ", ".join(other) or system.target
        hint = f"train again: headrace train {system.name}"
        raise ModelError(f"the model was trained with another contract ({names})", where="contract", hint=hint)
