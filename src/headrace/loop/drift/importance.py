"""How much each feature matters to a version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.errors import ArtefactError
from headrace.tasks.card import ModelCard
from headrace.tasks.importance import Importance
from headrace.tasks.sections import ReportTable

if TYPE_CHECKING:
    from headrace.home import Home
    from headrace.registry import ModelVersion

_TITLE, _SHARE = "What it looks at", "share"


def importance_of(home: Home, version: ModelVersion) -> dict[str, float]:
    """The share of each feature in what a version's predictions rest on, empty where nothing says it.

    Of a version of before importance was kept, as its card says.

    Raises:
        ArtefactError: The version's files are gone, or differ from their digest.
    """
    folder = home.registry.about(version)
    if version.about is not None:
        return Importance.load(folder).shares
    try:
        sections = ModelCard.load(folder).sections
    except ArtefactError:  # of a version of before there were cards
        return {}
    for section in sections:
        if isinstance(section, ReportTable) and section.title == _TITLE and _SHARE in section.header:
            place = list(section.header).index(_SHARE)
            return {str(row[0]): float(row[place]) for row in section.rows}
    return {}
