"""What a model must do. One file per kind of model; each imports its library where it is used."""

from __future__ import annotations

from datetime import timedelta

from headrace.declaration import Declared


class Model(Declared):
    """Base of the declared models: settings only. What was fitted lives in an artefact."""

    def check(self, *, step: timedelta | None, horizon: timedelta | None) -> None:
        """Refuse a system that this model cannot serve. Called when the system is loaded.

        Raises:
            DeclarationError: Names the field.
        """
