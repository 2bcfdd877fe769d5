"""How a system's messages are opened, with what this installation knows: where the schema registry is."""

from __future__ import annotations

from headrace.home import Home
from headrace.sources.messages.formats import SchemaPlace, decoder
from headrace.sources.messages.opening import Opener, of_json
from headrace.sources.patience import Patience
from headrace.sources.repeats import Once
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
    place = SchemaPlace(home.schema_registry, system.folder, patience or Patience())
    return Opener(system.stream, system.contract, decoder(system.stream, place))


def file_opener(system: System) -> Opener | None:
    """Opens events in lines of JSON; None where those have the columns at the top."""
    return of_json(system.stream, system.contract) if "files" in system.stream.also else None


def once_of(system: System) -> Once | None:
    """How events that producers sent twice are told; None: they are not."""
    event_id = system.stream.event_id
    return None if event_id is None else Once(event_id, system.stream.remembered)
