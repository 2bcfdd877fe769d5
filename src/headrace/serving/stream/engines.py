"""The engine of a system's stream, of either kind, and what goes with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from headrace.contract.apart import called
from headrace.home import Home
from headrace.pipelines.messages import opener
from headrace.serving.stream.base import Records, StreamEngine
from headrace.serving.stream.changelog import Changelog
from headrace.serving.stream.engine import Champion, Engine
from headrace.serving.stream.homes import Homes
from headrace.serving.stream.learnt import Learnt
from headrace.serving.stream.memory import Memory
from headrace.serving.stream.placing import Placing
from headrace.serving.stream.rebuild import Again, Remake
from headrace.serving.stream.rows import RowChampion, RowEngine
from headrace.serving.stream.seeding import Seeding
from headrace.sources.broker import Broker
from headrace.sources.topics import Topics
from headrace.system import System


def engine_of(
    system: System,
    home: Home,
    broker: Broker,
    topics: Topics,
    champion: Champion | RowChampion,
    *,
    partitions: int,
    begins: Mapping[int, int] | None = None,
) -> tuple[StreamEngine, Remake]:
    """An engine without any state, and what a lost state of it is made of.

    Args:
        system: The declaration.
        home: Where tables are.
        broker: The cluster.
        topics: What is read and written.
        champion: The model.
        partitions: How many the events have.
        begins: Where to begin with partitions of which nothing is known; None: with their first events.

    Raises:
        DeclarationError: The events do not bring what the features need.
        StreamError: The cluster failed.
    """
    opens = opener(system, home, broker.patience)
    if isinstance(champion, RowChampion):
        rows = RowEngine(system, topics.system, topics.events, champion, opens)
        return rows, Learnt(rows, system.keys, system.stream.remembered)
    shape = system.event_shape(home.grid(system))
    seeding = Seeding(system.name, home, shape)
    accept = system.stream.unknown == "accept"
    engine = Engine(*(topics.system, shape, champion, topics.events), seed=seeding, accept_unknown=accept, opener=opens)
    again = Again(engine, system.keys, partitions == 1, seeding.replayed, system.stream.clock)
    if begins is not None:  # events that were answered before
        engine.seed = again.of(broker, system.topics, range(partitions))
        again = replace(again, seed=engine.seed)
    return engine, again


def placed(engine: StreamEngine, system: System, broker: Broker, topics: Topics) -> Homes | None:
    """See to it that every series is answered on one partition, where there are several; what was opened for it.

    Rows have keys without end, so their messages' keys are looked at instead: see `RowEngine`.
    """
    if not isinstance(engine, Engine):
        return None
    homes = Homes(broker, topics)
    names, moves = tuple(map(called, system.keys)), system.stream.mismatched == "repartition"
    engine.placing = Placing(names, homes.settle, moves=moves, key=engine.key)
    return homes


def changelog_of(system: System, home: Home) -> Records:
    """How the state of a system's stream is written."""
    if not system.forecasts:
        return Memory(system.stream.remembered)
    return Changelog.of(system.event_shape(home.grid(system)))
