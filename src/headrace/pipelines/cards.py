"""The card of a registered version, with what is known of it only since: number, state, data, cost, learning curve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.errors import NotFoundError
from headrace.home import Home
from headrace.pipelines.learning_curves import stored_curve
from headrace.system import System
from headrace.tasks.card import OF_THE_HOME, ModelCard
from headrace.tasks.sections import ReportSentence, ReportTable

if TYPE_CHECKING:
    from headrace.registry import ModelVersion


def card_of(system: System, home: Home, number: int | None = None) -> ModelCard:
    """The card of a version.

    Args:
        system: The declaration.
        home: Where the models are.
        number: Which version; None: the champion.

    Raises:
        NotFoundError: There is no such version, or no champion.
        ArtefactError: Its files are gone or damaged, or it has no card.
        StoreError: Its learning curve cannot be read.
    """
    version = version_of(home, system.name, number)
    card = ModelCard.load(home.registry.about(version))
    subtitle = f"version {version.version}, {version.state}; {card.subtitle}"
    reasons = [ReportSentence(f"{said}.") for said in (version.reason, version.decision) if said]
    rows = [("digest", version.digest), *_data(version), *_costs(version)]
    table = ReportTable("", ("version", str(version.version)), rows)
    told = ModelCard(card.title, subtitle, card.sections).with_first(*reasons, table)
    return told.with_curve(stored_curve(home, version))


def version_of(home: Home, system: str, number: int | None = None) -> ModelVersion:
    """A version by its number, or the champion.

    Raises:
        NotFoundError: There is no such version, or no champion.
    """
    version = home.registry.champion(system) if number is None else home.registry.get(system, number)
    if version is None:
        raise NotFoundError("there is no model yet", where=system, hint=f"headrace run {system}")
    return version


def _data(version: ModelVersion) -> list[tuple[str, str]]:
    return [(OF_THE_HOME, str(version.pins[OF_THE_HOME]))] if OF_THE_HOME in version.pins else []


def _costs(version: ModelVersion) -> list[tuple[str, str]]:
    called = {
        "train_cpu_s": ("training", "{:,.2f} CPU s"),
        "predict_us": ("one prediction", "{:,.0f} us"),
        "bytes": ("files", "{:,.0f} bytes"),
    }
    return [(name, form.format(version.cost[key])) for key, (name, form) in called.items() if key in version.cost]
