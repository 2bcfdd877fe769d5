"""Where a partition goes on, by what was committed with the data; offsets and topics may have changed since."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from headrace.errors import StreamError
from headrace.serving.stream.outcomes import Outcome
from headrace.serving.stream.positions import Position
from headrace.serving.stream.restore import Found
from headrace.sources.broker import Log

_BACK = "to answer events once more: headrace stream reprocess {}"


@dataclass(frozen=True)
class Now:
    """What there is beside the state.

    Attributes:
        system: Its name, for hints.
        topic: Name of the input topic.
        log: The input topic as it is.
        committed: The group's offset; None without one.
        begin: Where to begin if nothing is known.
        cut: Where the log ended when it was found to be shorter than the position; None where it was not.
        answered: Tells the newest event of the partition that has an outcome.
    """

    system: str
    topic: str
    log: Log
    committed: int | None
    begin: int
    cut: int | None
    answered: Callable[[], Outcome | None]


@dataclass
class Resumed:
    """Where a partition goes on.

    Attributes:
        position: The next event, and of which log.
        rebuild: Whether the state has to be made anew up to there.
        lost: Offsets that the log no longer had when they were to be read.
        said: What is to be told: a line and its values.
    """

    position: Position
    rebuild: bool = False
    lost: int = 0
    said: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def say(self, line: str, **values: Any) -> None:
        """Have something told."""
        self.said.append((line, values))


def resumed(found: Found, now: Now) -> Resumed:
    """Where a partition goes on.

    Raises:
        StreamError: What there is does not say how far the partition has come.
    """
    partition, where = found.partition, f"{now.topic}[{found.partition}]"
    done = Resumed(_known(found, now, where))
    for each in found.troubles:
        done.say("odd record in the state", partition=partition, detail=str(each))
    if not (found.whole or found.unsealed):
        done.rebuild = done.position.offset > 0 or bool(found.keys)
    _follow(done, now, where)
    if done.rebuild:
        done.say("the state is made anew", partition=partition, detail=found.damage)
    elif (now.committed or 0) != done.position.offset and not done.said and found.position is not None:
        here = {"partition": partition, "state": done.position.offset, "group": now.committed}
        done.say("the group's offset was changed or is gone: the state's counts", **here, hint=_BACK.format(now.system))
    return done


def _known(found: Found, now: Now, where: str) -> Position:
    """How far the partition has come, by the state or else by the outcomes or the group."""
    if found.whole and found.position is not None:
        return found.position
    newest, fresh = now.answered(), found.position or Position(now.log.id, 1, now.begin)
    if found.position is None and not now.committed and (found.keys or newest is not None):
        what = "the state" if found.keys else "there are outcomes, and the state"
        raise StreamError(
            f"{what} does not say up to which event; nor do the offsets of the consumer group",
            where=where,
            hint=f"find it from the outcomes, and make the state anew: headrace stream rebuild {now.system}",
        )
    # A damaged position may be an old one. Outcomes come in the order of events, so the newest says how far they went.
    if newest is not None and newest.log >= fresh.log:
        return replace(fresh, log=newest.log, offset=newest.offset + 1)
    return replace(fresh, offset=max(fresh.offset, now.committed or 0))


def _follow(done: Resumed, now: Now, where: str) -> None:
    """Compare the position with the log as it is."""
    known, partition = done.position, int(where.rpartition("[")[2][:-1])
    begin = now.log.begins.get(partition, 0)
    if known.topic is not None and now.log.id is not None and known.topic != now.log.id:
        if done.rebuild:
            raise StreamError(
                "the state is damaged, and the topic whose events it was made of is no more",
                where=where,
                hint=f"begin with what the tables know: headrace stream rebuild {now.system} --from-tables",
            )
        done.position = replace(known, topic=now.log.id, log=known.log + 1, offset=begin, epoch=-1)
        done.say("the topic was made anew: its events are read from the first on", partition=partition)
        done.lost = begin
    elif now.cut is not None and now.cut < known.offset:
        done.position = replace(known, topic=now.log.id, log=known.log + 1, offset=max(now.cut, begin), epoch=-1)
        done.say(
            "the log was cut off before the position: what follows is read as new events",
            **{"partition": partition, "from": done.position.offset, "position": known.offset},
        )
    elif begin > known.offset:
        done.lost = begin - known.offset
        done.position = replace(known, topic=now.log.id, offset=begin, epoch=-1)
        done.say("events are gone that were not read", partition=partition, first=known.offset, count=done.lost)
    else:
        done.position = replace(known, topic=known.topic or now.log.id)
