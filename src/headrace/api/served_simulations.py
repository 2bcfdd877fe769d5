"""Simulations that people ask a server for: what may be asked for, and how it is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from headrace.errors import UsageError
from headrace.lineage import iso
from headrace.serving.http.reads.reader import ReadHome

if TYPE_CHECKING:
    from headrace.flow.simulate import Policy
    from headrace.grid.date_range import DateRange

MOST_RUNS = 10_000
"""Runs of one simulation, of all its policies: more than a year of hourly ones."""
PARTS = ("schedule", "monitoring")
"""What a policy that comes over HTTP may say: nothing that names files, addresses or code."""


def simulation(place: ReadHome, name: str, *, request: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked for, in full: ``start end every policies beside names runs``.

    Raises:
        UsageError: A time, a calendar or a part of a policy is none, there are too many runs, or the system has none.
        ConfigError: A policy has a mistake; says which.
    """
    from headrace.flow.simulate import refuse_policies

    for policy, values in (request.get("policies") or {}).items():
        strange = sorted(set(values) - set(PARTS))
        if strange:
            hint = f"a policy says {' and '.join(PARTS)}; headrace simulate --compare takes all that config.yaml has"
            raise UsageError(f"{policy} has {', '.join(strange)[:200]}", where="policies", hint=hint)
    dates, policies = _meant(place, name, request)
    refuse_policies(policies)
    return {
        "start": iso(dates.start),
        "end": iso(dates.end),
        "every": str(request["every"]).strip(),
        "policies": request.get("policies") or {},
        "beside": list(request.get("beside") or ()),
        "names": [policy.name for policy in policies],
        "runs": len(dates.times()),
    }


def simulate(
    place: ReadHome, name: str, *, request: Mapping[str, Any], on_progress: Callable[[str, int, int], None]
) -> list[dict[str, Any]]:
    """Try the policies, in this process: a document for each, as ``headrace simulate --compare --json`` has them.

    Raises:
        HeadraceError: As `headrace.flow.simulate.simulate`.
    """
    from headrace.api.simulations import Simulations
    from headrace.flow.simulate import SimulateRequest
    from headrace.flow.simulate import simulate as try_policies

    dates, policies = _meant(place, name, request)
    simulate_request = SimulateRequest(dates, datetime.now(UTC), policies, on_progress=on_progress)
    return Simulations(name, try_policies(place.home, simulate_request)).as_dict()


def _meant(place: ReadHome, name: str, request: Mapping[str, Any]) -> tuple[DateRange, list[Policy]]:
    """The runs and the policies."""
    from headrace.api.simulations import policies_of
    from headrace.api.times import date_range_of
    from headrace.pipelines.configured import Reference

    system = place.system(name)
    dates = date_range_of(request["start"], request["end"], request["every"], system.dates)
    count = max(len(request.get("policies") or {}), 1) + len(request.get("beside") or ())
    if dates.every > timedelta() and (dates.end - dates.start) / dates.every * count > MOST_RUNS:
        message = f"the runs of {count} policies are more than {MOST_RUNS:,}"
        raise UsageError(message, where="every", hint="a shorter range, longer steps or fewer policies")
    policies = policies_of(
        Reference(system),
        place.home,
        dates.times()[0],
        compare=request.get("policies") or {},
        beside=request.get("beside") or (),
    )
    return dates, policies
