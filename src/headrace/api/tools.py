"""What a server is handed of the rooms above it: what `doctor`, `verify`, `simulate` and those of streams say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headrace.api.served_simulations import simulate, simulation
from headrace.errors import NotFoundError, StreamError
from headrace.serving.http.problem import outward
from headrace.serving.http.reads.paging import page
from headrace.serving.http.reads.reader import ReadHome
from headrace.serving.http.reads.tools import Tools

if TYPE_CHECKING:
    from headrace.sources.broker import Broker
    from headrace.sources.topics import Topics
    from headrace.system import System

_KAFKA = "kafka://"


def tools() -> Tools:
    """All of them, as `headrace.serving.http.server.serve` takes them."""
    return Tools(doctor, verify, stream, letters, resend, simulation, simulate)


def doctor(place: ReadHome) -> dict[str, Any]:
    """What is installed, reachable or misconfigured: ``ok findings[{what status said}]``."""
    from headrace.doctor import examine

    findings = [finding | {"said": outward(finding["said"])} for finding in examine(place.home)]
    return {"ok": all(finding["status"] != "failed" for finding in findings), "findings": findings}


def verify(place: ReadHome, name: str, *, deep: bool) -> dict[str, Any]:
    """Tables of a system against the records of their commits: ``tables[{system name rows ok problems}] ok``."""
    from headrace.flow.verify import verify as compared

    return compared(place.home, place.system(name).name, deep=deep)


def stream(place: ReadHome, name: str) -> dict[str, Any]:
    """How the stream of a system is: ``reachable says findings lag partitions``."""
    from headrace.serving.stream.examination import examine, partitions_of

    system = place.system(name)
    broker = _broker(place, system)
    findings = [
        {"what": finding.what, "status": finding.status, "said": outward(finding.said)}
        for finding in examine([system], broker)
    ]
    reachable = not findings or findings[0]["status"] != "failed"
    partitions = partitions_of(system, broker) if reachable else []
    says = "; ".join(finding["said"] for finding in findings if finding["status"] != "ok")
    lag = sum(partition["lag"] for partition in partitions)
    return {
        "reachable": reachable,
        "says": says or f"{lag:,} events wait",
        "lag": lag,
        "partitions": partitions,
        "findings": findings,
    }


def letters(
    place: ReadHome, name: str, *, late: bool, everything: bool, reason: str | None, limit: int, cursor: str | None
) -> dict[str, Any]:
    """Events that a stream set apart: ``rows kinds next``."""
    from headrace.serving.stream.dead_letters import Choice, dead_letters, described, kinds

    system = place.system(name)
    broker, topics = _broker(place, system), _topics(system)
    choice = Choice(reason)
    messages = dead_letters(broker, topics, late=late, everything=everything)
    rows = [described(message) for message in messages if choice.takes(message)]
    part, following = page(rows, limit, cursor, lambda row: [row["partition"], row["offset"]])
    return {"rows": part, "kinds": kinds(rows), "next": following}


def resend(
    place: ReadHome,
    name: str,
    *,
    places: Sequence[Sequence[int]] | None,
    reason: str | None,
    late: bool,
    values: Mapping[str, Any],
) -> dict[str, Any]:
    """Send events that were set apart again, each once: ``resent expired kept``."""
    from headrace.serving.stream.dead_letters import Choice, Mended, settle

    system = place.system(name)
    chosen = None if places is None else frozenset((partition, offset) for partition, offset in places)
    choice, change = Choice(reason, None, None, chosen), Mended(dict(values)) if values else None
    return vars(settle(_broker(place, system), _topics(system), choice, change, late=late))


def _topics(system: System) -> Topics:
    return system.topics


def _broker(place: ReadHome, system: System) -> Broker:
    """The cluster of a system: that of the settings, or of its source.

    Raises:
        NotFoundError: None is known.
        StreamError: Its client is not installed.
    """
    from importlib.util import find_spec

    from headrace.sources.broker import Broker
    from headrace.sources.patience import Patience

    uri = system.source.uri or ""
    known = place.home.kafka.get("bootstrap.servers")
    if known is None and uri.startswith(_KAFKA):
        known = uri.removeprefix(_KAFKA).partition("/")[0]
    if known is None:
        hint = 'set HEADRACE_KAFKA={"bootstrap.servers": "HOST:PORT"} where the server runs'
        raise NotFoundError(f"{system.name} has no Kafka cluster here", hint=hint)
    if find_spec("confluent_kafka") is None:
        raise StreamError("Kafka's client is not installed", where=system.name, hint="headrace[kafka]")
    return Broker(known, place.home.kafka, Patience(5.0), 5.0)
