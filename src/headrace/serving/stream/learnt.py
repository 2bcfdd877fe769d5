"""The state of a stream of rows made anew: from the answers that were given, which say all that is remembered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from headrace.errors import StreamError
from headrace.lineage import DIGEST
from headrace.serving.engine.positions import PartitionPosition
from headrace.serving.stream.memory import KeptAnswer
from headrace.serving.stream.outcomes import outcome_of_answer
from headrace.serving.stream.rebuild import Rebuild
from headrace.serving.stream.restore import StoredState
from headrace.serving.stream.rows import RowEngine

_EVENT = b',"event_id":'


@dataclass(frozen=True)
class Learnt:
    """How answers are learnt.

    Attributes:
        engine: What remembers them.
        columns: The key columns.
        most: How many keys of a partition are remembered.
    """

    engine: RowEngine
    columns: Sequence[str]
    most: int

    def state(
        self,
        making: Rebuild,
        partition: int,
        position: PartitionPosition,
        *,
        tables: bool = False,
        base: StoredState | None = None,
    ) -> int:
        """`Rebuild.state`, by the answers; `tables` takes what there is of them, though the first ones are gone."""
        topic, engine = making.topics.output, self.engine
        making.begun(partition, position.log, base)
        first = (1, 0) if base is None or base.position is None else (base.position.log, base.position.offset)
        topic_log, count = making.broker.log(topic), 0
        if topic_log is None or partition not in topic_log.ends:
            return 0
        begin = topic_log.begins[partition]
        outcome = outcome_of_answer(making.topics.events, partition, making.topics.shadow)
        for message in making.broker.read(topic, {partition: begin}):
            cause = outcome(message)
            if cause is None or not first <= cause < (position.log, position.offset):
                continue
            answer = answer_of(message)
            if answer is not None:
                reply, digest, body = answer
                engine.learn(
                    partition, msgspec.json.encode([reply[c] for c in self.columns]).decode(), KeptAnswer(digest, body)
                )
                count += 1
        if begin > 0 and base is None and engine.count(partition) < self.most and not tables:
            raise StreamError(
                f"the answers before offset {begin} are gone: what was said to their keys is not known any more",
                where=f"{topic}[{partition}]",
                hint="put a savepoint back, or go on with what there is: headrace stream rebuild SYSTEM --from-tables",
            )
        return count


def answer_of(message: Any) -> tuple[dict[str, Any], str, bytes] | None:
    """What a first answer says, the digest of its row, and its body without the event.

    None for an answer that repeats another, and for what no worker wrote.
    """
    digest = dict(message.headers() or []).get(DIGEST)
    value = message.value() or b""
    cut = value.rfind(_EVENT)
    if digest is None or cut < 0:
        return None
    try:
        document = json.loads(value)
    except ValueError:
        return None
    return (document, digest.decode(errors="replace"), value[:cut]) if isinstance(document, dict) else None
