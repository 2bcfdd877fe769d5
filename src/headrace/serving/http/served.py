"""The systems that a server serves: each with its contract, its champion, and what it last read."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from headrace.contract.many import ManyDecoder
from headrace.contract.row import RowDecoder
from headrace.errors import HeadraceError, ModelError
from headrace.home import Home
from headrace.lineage import PINNED, Pins, code_revision
from headrace.lookup import Lookups
from headrace.pipelines import runs
from headrace.row_predictor import RowPredictor
from headrace.serving.http.forecasts import Forecasts
from headrace.system import System

if TYPE_CHECKING:
    from headrace.registry import ModelVersion

_log = logging.getLogger("headrace.serving")


@dataclass(frozen=True)
class Champion:
    """The version that answers, taken up whole: a request sees either the old one or the new one.

    Attributes:
        version: As the registry knows it.
        predictor: What answers rows; None for a system that forecasts.
        pins: What every prediction of it carries, but for its own time.
        pinned: The id of the same in the ledger; empty while nothing is logged.
        lookups: What its features look up online; None where they look up nothing.
    """

    version: ModelVersion
    predictor: RowPredictor | None
    pins: Pins
    pinned: str = ""
    lookups: Lookups | None = None


@dataclass
class Served:
    """One system behind the door. Only `refresh` changes it, by replacing whole attributes."""

    system: System
    home: Home
    logged: bool
    decoder: RowDecoder = field(init=False)
    many: ManyDecoder = field(init=False)
    champion: Champion | None = None
    forecasts: Forecasts | None = None
    trouble: str | None = "is starting"
    away: bool = False

    def __post_init__(self) -> None:
        self.decoder = RowDecoder(self.system.contract, optional=(self.system.target,))
        self.many = ManyDecoder(self.system.contract, self.system.target)
        if self.system.forecasts:
            self.forecasts = Forecasts(self.system, self.home)

    def refresh(self) -> None:
        """Take up a new champion and newer forecasts. What cannot be read leaves what there is, and is told by
        ``/ready``."""
        try:
            self._ping()
            self._champion()
            if self.forecasts is not None:
                self.forecasts.refresh()
        except (HeadraceError, OSError) as error:
            message = error.message if isinstance(error, HeadraceError) else str(error)
            if message != self.trouble:
                _log.warning("%s: %s", self.system.name, error)
            self.trouble = message
            return
        missing = f"there is no model; headrace run {self.system.name}" if self.champion is None else None
        self.trouble = missing

    def _ping(self) -> None:
        if not self.logged or self.system.forecasts:
            return
        self.away = True
        self.home.ledger.ping()
        self.away = False

    @property
    def ready(self) -> bool:
        """Whether it can answer. Rows are answered without the registry and the store, but not without the ledger."""
        return self.champion is not None and not self.away and (self.trouble is None or not self.system.forecasts)

    def _champion(self) -> None:
        now = datetime.now(UTC)
        version = self.home.registry.champion(self.system.name)
        if version is None:
            return
        present = self.champion
        if present is not None and present.version.version == version.version and (present.pinned or not self.logged):
            return
        predictor, lookups = None, None
        if not self.system.forecasts:
            predictor = RowPredictor.load(self.home.registry.fetch(version))
            lookups = Lookups.of(predictor.model.features, self.system, self.home)
            self._refuse_other(predictor, lookups)
            lookups.follow(now)
            predictor.warm()
        pins = Pins(
            as_of=now,
            data_version=int(version.pins["data_version"]),
            feature_version=str(version.pins["feature_version"]),
            model_version=version.version,
            model_digest=version.digest,
            config_digest=str(version.pins["config_digest"]),
            code_revision=code_revision(self.system.folder),
        )
        pinned = ""
        if self.logged and predictor is not None:
            pinned = self.home.ledger.pin({name: getattr(pins, name) for name in PINNED})
        self.champion = Champion(version, predictor, pins, pinned, lookups or None)

    def _refuse_other(self, predictor: RowPredictor, lookups: Lookups) -> None:
        """A declaration or a feature group that has changed since the training may lack what the model reads."""
        model, contract = predictor.model, self.system.contract
        types: dict[str, str] = {column.name: column.type for column in contract.columns} | lookups.types
        other = [name for name, kind in model.types.items() if types.get(name) != kind]
        if other or model.target != self.system.target:
            what = ", ".join(other) or self.system.target
            hint = f"train again: headrace train {self.system.name}"
            raise ModelError(f"the champion was trained with another contract ({what})", where="contract", hint=hint)

    def about(self) -> dict[str, Any]:
        """The system as ``GET /v1/systems/{s}`` tells it. Reads the store: not for an event loop.

        Raises:
            StoreError: It cannot be read.
        """
        from headrace.declaration import format_duration

        system = self.system
        return {
            "name": system.name,
            "kind": "forecast" if system.forecasts else "rows",
            "keys": list(system.keys),
            "target": system.target,
            "horizon": format_duration(system.horizon) if system.horizon is not None else None,
            "step": format_duration(system.step) if system.step is not None else None,
            "contract": request_schema(system),
            "model_version": self.champion.version.version if self.champion else None,
            "last_run": next(iter(runs.newest(self.home, system.name, 1)), None),
            "ready": self.ready,
            "reason": self.trouble,
        }


def request_schema(system: System) -> dict[str, Any]:
    """JSON Schema of an event or row that is posted: a row's target is optional, and it has no other names."""
    schema = system.contract.json_schema()
    if system.forecasts:
        return schema
    required = [name for name in schema["required"] if name != system.target]
    return schema | {"required": required, "additionalProperties": False}
