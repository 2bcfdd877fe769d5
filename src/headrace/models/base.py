"""What a model must do. One file per kind of model; each imports its library where it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.declaration import Declared

if TYPE_CHECKING:
    from headrace.system import System


class Model(Declared):
    """Base of the declared models: settings only. What was fitted lives in an artefact."""

    def check(self, system: System) -> None:
        """Refuse a system that this model cannot serve. Called when the system is loaded.

        Raises:
            DeclarationError: Names the field.
        """
