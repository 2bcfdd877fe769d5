"""Model versions: in order of how good they are, one with all that is known of it, two on what both answered."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.errors import ArtefactError
from headrace.pipelines.cards import card_of
from headrace.pipelines.comparison import compare
from headrace.serving.http.reads.reader import ReadHome
from headrace.tasks.importance import importance_of
from headrace.tasks.paired import PairRequest

if TYPE_CHECKING:
    from headrace.home import Home
    from headrace.registry import ModelVersion

_PREFERRED = ("wape", "rmsse", "log_loss", "rmse", "mape")
"""By which versions are ranked: the first of these that their trainings measured; less is better."""


def told(version: ModelVersion) -> dict[str, Any]:
    """What is told of a version."""
    return {
        "version": version.version,
        "state": version.state,
        "as_of": version.as_of,
        "created_at": version.created_at,
        "metrics": dict(version.metrics),
        "cost": dict(version.cost),
        "because": version.because,
        "reason": version.reason,
        "decided_by": version.decided_by,
        "decided_at": version.decided_at,
        "decision": version.decision,
    }


def models(place: ReadHome, name: str, *, importance: bool) -> dict[str, Any]:
    """All versions, and their numbers in order of the error that their trainings measured."""
    versions = place.home.registry.versions(name)
    measure = next((metric for metric in _PREFERRED if any(metric in v.metrics for v in versions)), None)
    ranking = _ranked(versions, measure)
    ranks = {number: rank for rank, number in enumerate(ranking, 1)}
    rows = [told(version) | {"rank": ranks.get(version.version)} for version in versions]
    if importance:
        for row, version in zip(rows, versions, strict=True):
            row["importance"] = _importance(place.home, version)
    return {"models": rows, "measure": measure, "ranking": ranking}


def _ranked(versions: list[ModelVersion], measure: str | None) -> list[int]:
    if measure is None:
        return []
    values = {v.version: v.metrics.get(measure) for v in versions}
    known = [(value, number) for number, value in values.items() if value is not None]
    return [number for _, number in sorted(known)]


def _importance(home: Home, version: ModelVersion) -> dict[str, Any] | None:
    """How much each feature matters to a version; None where that is not there any more, or never was."""
    try:
        return importance_of(home, version).as_dict()
    except ArtefactError:
        return None


def model(place: ReadHome, name: str, version: int) -> dict[str, Any]:
    """One version, with what it was made from, its parameters, and what it was decided on."""
    record = place.home.registry.get(name, version)
    facts = [fact for fact in place.home.registry.timeline(name).facts if fact.version == version]
    history = [
        {"at": fact.as_of, "event": fact.event, "by": fact.by, "reason": fact.reason}
        for fact in sorted(facts, key=lambda fact: (fact.as_of, fact.order))
    ]
    return {
        **told(record),
        "digest": record.digest,
        "pins": dict(record.pins),
        "params": dict(record.params),
        "evidence": record.evidence,
        "history": history,
        "importance": _importance(place.home, record),
    }


def card(place: ReadHome, name: str, version: int, form: str) -> dict[str, Any]:
    """The card of a version: as data, or as one text."""
    record = card_of(place.system(name), place.home, version)
    if form == "html":
        return {"text": record.html()}
    if form == "markdown":
        return {"text": record.markdown()}
    return {
        "version": version,
        "title": record.title,
        "subtitle": record.subtitle,
        "markdown": record.markdown(),
        "learning_curve": record.as_dict()["learning_curve"],
    }


def comparison(
    place: ReadHome, name: str, first: int, second: int, *, since: str | None, until: str | None, as_of: str | None
) -> dict[str, Any]:
    """Two versions on what both answered."""
    begin, end, known_by = (None if text is None else datetime.fromisoformat(text) for text in (since, until, as_of))
    request = PairRequest(first, second, since=begin, until=end, as_of=known_by)
    return compare(place.system(name), place.home, request).as_dict()
