"""Two versions of a model on the same requests: which is better, by more than noise, and where their answers differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from headrace.errors import NotFoundError, UsageError
from headrace.home import Home
from headrace.lineage import iso
from headrace.system import System
from headrace.tasks import task_of
from headrace.tasks.paired import FEWEST, ComparedPairs, PairRequest, Sums, told_apart


@dataclass(frozen=True)
class Comparison:
    """How two versions stand to one another.

    Attributes:
        system: The system's name.
        request: What was compared.
        pairs: Requests that both answered.
        rows: Of these, how many have their truth; of forecasts, a pair is one step of one forecast.
        metrics: By version, on `rows`.
        baselines: What needs no model, on `rows`, by name.
        measure: The metric that decides; None while nothing is known.
        differences: Per metric the first version's less the second's, and the standard error of that.
        blocks: How many groups of pairs the errors rest on.
        winner: The better version; None where the difference is not told apart from noise.
        answers: How far the answers lie apart: ``differ flips difference{mean p50 p90 p99 max} largest[]``.
        replayed: Of a replay ``answered again failed``, each by version.
        seen: Pairs whose truth a version may have been trained on: ``rows metrics``; no part of `rows`.
        costs: By version what it took to train, takes to ask, and its bytes; see `ModelVersion.cost`.
    """

    system: str
    request: PairRequest
    pairs: int
    rows: int
    metrics: dict[int, dict[str, Any]]
    baselines: dict[str, dict[str, Any]]
    measure: str | None
    differences: dict[str, dict[str, float | None]]
    blocks: int
    winner: int | None
    answers: dict[str, Any]
    replayed: dict[str, dict[int, int]] | None
    seen: dict[str, Any]
    costs: dict[int, Mapping[str, float]]

    def line(self) -> str:
        """What it says, in a sentence."""
        first, second = self.request.versions
        if self.measure is None:
            later = f"; {self.seen['rows']:,} have one that training may have seen" if self.seen["rows"] else ""
            return f"no truth is known yet of {self.pairs:,} common pairs{later}"
        first_value, second_value = (self.metrics[version][self.measure] for version in (first, second))
        figures = f"{self.measure} {first_value:.4g} against {second_value:.4g} on {self.rows:,} pairs"
        difference = self.differences[self.measure]
        if difference["error"] is not None:
            figures += f" (difference {difference['value']:+.2g}, standard error {difference['error']:.2g})"
        if self.winner is None:
            note = f"; they fall into {self.blocks} groups, and {FEWEST} are needed" if self.blocks < FEWEST else ""
            return f"version {first} and version {second} are not told apart: {figures}{note}"
        loser = second if self.winner == first else first
        return f"version {self.winner} is better than version {loser}: version {first} has {figures}"

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: ``rows metrics{V W} winner`` and more."""
        request = self.request
        return {
            "system": self.system,
            "versions": list(request.versions),
            "replay": request.replay,
            **{name: iso(time) if (time := getattr(request, name)) else None for name in ("since", "until", "as_of")},
            "pairs": self.pairs,
            "rows": self.rows,
            "metrics": {str(version): scores for version, scores in self.metrics.items()},
            "baselines": self.baselines,
            "measure": self.measure,
            "differences": self.differences,
            "blocks": self.blocks,
            "winner": self.winner,
            "line": self.line(),
            "answers": self.answers | {"largest": [_plain(answer) for answer in self.answers["largest"]]},
            **({} if self.replayed is None else {"replayed": _by_text(self.replayed)}),
            "seen": self.seen,
            "costs": {str(version): dict(cost) for version, cost in self.costs.items()},
        }


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: iso(value) if isinstance(value, datetime) else value for name, value in row.items()}


def _by_text(counts: Mapping[str, Mapping[int, int]]) -> dict[str, dict[str, int]]:
    return {name: {str(version): count for version, count in numbers.items()} for name, numbers in counts.items()}


def compare(system: System, home: Home, request: PairRequest) -> Comparison:
    """Compare two versions on what both answered: as champions, canaries or shadows, or offline where asked to.

    It reads the tables: what is only logged is exported first (`Task.export`). Of a replay a version's
    own answer is taken where it has one; otherwise it is asked as of the time of the request, look-ups included.

    A truth counts if it became known after both had answered, and after both were trained.

    Args:
        system: The declaration.
        home: Where everything is.
        request: What to compare.

    Raises:
        UsageError: Both are the same version, or the span is empty.
        NotFoundError: There is no such version; or nothing that both answered.
        ModelError: A version predicts another target than the system.
        StoreError: A table cannot be read.
    """
    if request.first == request.second:
        raise UsageError(f"version {request.first} cannot be compared with itself", where=system.name)
    if request.since is not None and request.until is not None and request.since >= request.until:
        raise UsageError("--since is not before --until", where="--since")
    versions = [home.registry.get(system.name, number) for number in request.versions]
    pairs = task_of(system).compared(home, request, versions)
    if not pairs.apart.pairs:
        raise _nothing(system, request)
    return _made(system, request, pairs, {version.version: version.cost for version in versions})


def _nothing(system: System, request: PairRequest) -> NotFoundError:
    first, second = request.versions
    span = " in this span" if request.since or request.until else ""
    if request.replay:
        hint = f"headrace predictions {system.name} lists what was answered"
        return NotFoundError(f"no request was logged{span} that both can answer", where=system.name, hint=hint)
    hint = f"headrace compare {system.name} {first} {second} --replay puts the logged requests to both"
    message = f"version {first} and version {second} have no common pairs{span}"
    return NotFoundError(message, where=system.name, hint=hint)


def _made(
    system: System, request: PairRequest, pairs: ComparedPairs, costs: dict[int, Mapping[str, float]]
) -> Comparison:
    sums, names = pairs.sums, pairs.names
    rows = _rows(sums)
    metrics = _metrics(pairs, sums, request) if rows else {version: {} for version in request.versions}
    differences = sums.differences(names) if rows else {}
    measure = next((name for name in names if name in differences), None)
    winner = None
    if measure is not None and told_apart(differences[measure], sums.blocks):
        ahead = (differences[measure]["value"] or 0.0) < 0
        winner = request.first if ahead != (measure in pairs.better) else request.second
    answers: dict[str, Any] = {"differ": pairs.apart.differ}
    if pairs.flips is not None:
        answers["flips"] = pairs.flips
    answers |= {"difference": pairs.apart.spread.as_dict(), "largest": pairs.apart.largest}
    common: dict[str, Any] = {"rows": _rows(pairs.seen)}
    if common["rows"]:
        common["metrics"] = {str(version): scores for version, scores in _metrics(pairs, pairs.seen, request).items()}
    return Comparison(
        system.name,
        request,
        pairs.apart.pairs,
        rows,
        metrics,
        pairs.baselines(sums.metrics(0)) if rows else {},
        measure,
        differences,
        sums.blocks,
        winner,
        answers,
        _replayed(pairs, request) if request.replay else None,
        common,
        costs,
    )


def _replayed(pairs: ComparedPairs, request: PairRequest) -> dict[str, dict[int, int]]:
    names = ("answered", "again", "failed")
    return {name: {version: getattr(pairs, name)[version] for version in request.versions} for name in names}


def _rows(sums: Sums) -> int:
    return int(sums.metrics(0)["n"]) if sums.totals else 0


def _metrics(pairs: ComparedPairs, sums: Sums, request: PairRequest) -> dict[int, dict[str, Any]]:
    return {
        version: {name: value for name, value in sums.metrics(index).items() if name in (*pairs.names, "coverage")}
        for index, version in enumerate(request.versions)
    }
