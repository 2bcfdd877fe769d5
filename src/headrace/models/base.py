"""What a model must do. One file per kind of model; each imports its library where it is used."""

from __future__ import annotations

from datetime import timedelta

from headrace.declaration import Declared
from headrace.features.view import Features


class Model(Declared):
    """Base of the declared models: settings only. What was fitted lives in an artefact."""

    def check(self, *, step: timedelta | None, horizon: timedelta | None) -> None:
        """Refuse a system that this model cannot serve. Called when the system is loaded.

        Raises:
            DeclarationError: Names the field.
        """

    def lookback(self, features: Features, step: timedelta, horizon: timedelta) -> timedelta:
        """How far before a forecast's origin a model of this kind looks, so that one reading serves all who look."""
        return features.lookback
