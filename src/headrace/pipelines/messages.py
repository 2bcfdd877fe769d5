"""How a system's messages are opened, with what this installation knows: where the schema registry is."""

from __future__ import annotations

from headrace.home import Home
from headrace.sources.messages.formats import Place, decoder
from headrace.sources.messages.opening import Opener
from headrace.sources.patience import Patience
from headrace.system import System


def opener(system: System, home: Home, patience: Patience | None = None) -> Opener:
    """Opens the messages of a system.

    Args:
        system: The declaration.
        home: Knows the schema registry.
        patience: How long a registry that does not answer is waited for.

    Raises:
        ConfigError: The format needs a registry, and none is set.
        DeclarationError: The schema file cannot be read.
        StreamError: The libraries of the format are not installed.
    """
    place = Place(home.schema_registry, system.folder, patience or Patience())
    return Opener(system.stream, system.contract, decoder(system.stream, place))
