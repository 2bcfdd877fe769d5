"""Where a partition goes on, by what was committed with the data; offsets and topics may have changed since."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from headrace.errors import StreamError
from headrace.serving.engine.positions import PartitionPosition
from headrace.serving.stream.outcomes import NewestOutcome
from headrace.serving.stream.restore import StoredState
from headrace.sources.broker import TopicLog

_BACK = "to answer events once more: headrace stream reprocess"


@dataclass(frozen=True)
class Now:
    """What there is beside the state.

    Attributes:
        arguments: How the stream is named on the command line, for hints.
        topic: Name of the input topic.
        log: The input topic as it is.
        committed: The group's offset; None without one.
        fresh: Where to begin if nothing is known.
        cut: Where the log ended when it was found to be shorter than the position; None where it was not.
        answered: Tells the newest event of the partition that has an outcome.
        is_of: Whether the event of an outcome is the one that the topic has at its place.
    """

    arguments: str
    topic: str
    log: TopicLog
    committed: int | None
    fresh: PartitionPosition
    cut: int | None
    answered: Callable[[], NewestOutcome | None]
    is_of: Callable[[NewestOutcome], bool]


@dataclass
class Resumed:
    """Where a partition goes on.

    Attributes:
        position: The next event, and of which log.
        rebuild: Whether the state has to be made anew up to there.
        begins: Whether nothing was done with the partition before.
        lost: Offsets that the log no longer had when they were to be read.
        said: What is to be told: a line and its values.
    """

    position: PartitionPosition
    rebuild: bool = False
    begins: bool = False
    lost: int = 0
    said: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def say(self, line: str, **values: Any) -> None:
        """Have something told."""
        self.said.append((line, values))


def resumed(found: StoredState, now: Now) -> Resumed:
    """Where a partition goes on.

    Raises:
        StreamError: What there is does not say how far the partition has come.
    """
    partition, where = found.partition, f"{now.topic}[{found.partition}]"
    resumption = Resumed(_known(found, now, where))
    for trouble in found.troubles:
        resumption.say("odd record in the state", partition=partition, detail=str(trouble))
    if not (found.whole or found.unsealed):
        resumption.rebuild = resumption.position.offset > 0 or bool(found.keys)
    _follow(resumption, now, where)
    resumption.begins = found.fresh and now.committed is None and resumption.position.offset == now.fresh.offset
    if resumption.rebuild and not resumption.begins:
        resumption.say("the state is made anew", partition=partition, detail=found.damage)
    elif (now.committed or 0) != resumption.position.offset and not resumption.said and found.position is not None:
        document = {"partition": partition, "state": resumption.position.offset, "group": now.committed}
        resumption.say("the group's offset was changed or is gone: the state's counts", **document, hint=_BACK)
    return resumption


def _known(state: StoredState, now: Now, where: str) -> PartitionPosition:
    """How far the partition has come, by the state or else by the outcomes or the group."""
    if state.whole and state.position is not None:
        return state.position
    newest = now.answered()
    if state.position is None and not now.committed and (state.keys or newest is not None):
        label = "the state" if state.keys else "there are outcomes, and the state"
        raise StreamError(
            f"{label} does not say up to which event; nor do the offsets of the consumer group",
            where=where,
            hint=f"find it from the outcomes, and make the state anew: headrace stream rebuild {now.arguments}",
        )
    if state.position is None and newest is not None and not now.is_of(newest):
        raise other_events(newest, where, now.arguments)
    begins = newest is None and not now.committed
    return known_by(newest, state.position or (now.fresh if begins else replace(now.fresh, offset=0)), now.committed)


def known_by(newest: NewestOutcome | None, known: PartitionPosition, committed: int | None) -> PartitionPosition:
    """How far a partition has come of which no whole state says it.

    A damaged position may be an old one. Outcomes come in the order of events, so the newest says how far they went.
    The group's offsets may have been set by hand, so they count only where no answers are left.
    """
    if newest is None or newest.log < known.log:
        return replace(known, offset=max(known.offset, committed or 0))
    least = known.offset if newest.log == known.log else 0
    group = 0 if newest.answers else committed or 0
    return replace(known, log=newest.log, offset=max(least, newest.offset + 1, group))


def other_events(newest: NewestOutcome | None, where: str, arguments: str) -> StreamError:
    """The error of a state that cannot be made anew, as the topic has other events than those that it was made of.

    Args:
        newest: The outcome whose event the topic does not have; None where the position names another topic.
        where: Topic and partition.
        arguments: How the stream is named on the command line.
    """
    text = "the state is damaged, and the topic whose events it was made of is no more"
    if newest is not None:
        place = f"the newest outcome is of offset {newest.offset}, where the topic now has another event or none"
        text = f"the state is gone, and {place}"
    hint = "to read this topic from its first event on, with what the tables know after `headrace archive`"
    return StreamError(text, where=where, hint=f"{hint}: headrace stream rebuild {arguments} --from-tables")


def _follow(resumption: Resumed, now: Now, where: str) -> None:
    """Compare the position with the log as it is."""
    known, partition = resumption.position, int(where.rpartition("[")[2][:-1])
    begin = now.log.begins.get(partition, 0)
    if known.topic is not None and now.log.id is not None and known.topic != now.log.id:
        if resumption.rebuild:
            raise other_events(None, where, now.arguments)
        resumption.position = replace(known, topic=now.log.id, log=known.log + 1, offset=begin, epoch=-1)
        resumption.say("the topic was made anew: its events are read from the first on", partition=partition)
        resumption.lost = begin
    elif now.cut is not None and now.cut < known.offset:
        resumption.position = replace(known, topic=now.log.id, log=known.log + 1, offset=max(now.cut, begin), epoch=-1)
        resumption.say(
            "the log was cut off before the position: what follows is read as new events",
            **{"partition": partition, "from": resumption.position.offset, "position": known.offset},
        )
    elif begin > known.offset:
        resumption.lost = begin - known.offset
        resumption.position = replace(known, topic=now.log.id, offset=begin, epoch=-1)
        resumption.say(
            "events are gone that were not read", partition=partition, first=known.offset, count=resumption.lost
        )
    else:
        resumption.position = replace(known, topic=known.topic or now.log.id)
