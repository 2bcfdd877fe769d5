"""The engine of a system's stream, of either kind, and what goes with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from headrace.contract.apart import called
from headrace.home import Home
from headrace.lineage import SHADOW
from headrace.pipelines.messages import once_of, opener
from headrace.serving.engine.changelog import Changelog
from headrace.serving.engine.engine import AnsweringModel, Engine
from headrace.serving.engine.placing import Placing
from headrace.serving.engine.seeding import Seeding
from headrace.serving.stream.base import StateRecords, StreamEngine
from headrace.serving.stream.beside import AsAnswered
from headrace.serving.stream.homes import Homes
from headrace.serving.stream.learnt import Learnt
from headrace.serving.stream.memory import KeyMemory
from headrace.serving.stream.outcomes import FirstKnown
from headrace.serving.stream.rebuild import Again, Remake
from headrace.serving.stream.rows import RowChampion, RowEngine
from headrace.sources.broker import Broker
from headrace.sources.topics import Topics
from headrace.system import System
from headrace.tasks import task_of


def engine_of(
    system: System,
    home: Home,
    broker: Broker,
    topics: Topics,
    champion: AnsweringModel | RowChampion,
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
    name = topics.system if topics.shadow is None else f"{SHADOW}|{topics.system}"  # ids of its own
    if isinstance(champion, RowChampion):
        rows = RowEngine(system, name, topics.events, champion, opens)
        return rows, Learnt(rows, system.keys, system.stream.remembered)
    shape = system.event_shape(home.grid(system))
    seeding = Seeding(system.name, home, shape)
    accept = system.stream.unseen_series == "accept"
    identity = (name, shape, champion, topics.events)
    engine = Engine(*identity, seed=seeding, accept_unseen=accept, opener=opens, once=once_of(system))
    context = Again(engine, system.keys, partitions == 1, seeding.replayed, system.stream.clock)
    if topics.shadow is not None:
        engine.seed = AsAnswered(seeding, FirstKnown(broker, topics, system.keys))
    elif begins is not None:  # events that were answered before
        engine.seed = context.of(broker, system.topics, range(partitions))
        context = replace(context, seed=engine.seed)
    return engine, context


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


def changelog_of(system: System, home: Home) -> StateRecords:
    """How the state of a system's stream is written."""
    if not task_of(system).stateful:
        return KeyMemory(system.stream.remembered)
    return Changelog.of(system.event_shape(home.grid(system)))
