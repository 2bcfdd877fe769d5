"""Whether the input topic is still the one that was read: asked before a transaction is committed.

The client goes on at its offset in a topic of the same name that was made meanwhile, if that has grown past the offset
before the client looked at it again. So it is asked after the events were read, and waited for before they count.
"""

from __future__ import annotations

from collections.abc import Callable

from headrace.serving.stream.sender import Aborted
from headrace.sources.broker import Broker, id_of


class Fence:
    """Asks for the id of a topic.

    Args:
        broker: The cluster.
        topic: Name of the topic.
        expected: Tells the id that it should have; None where that is not known.
    """

    def __init__(self, broker: Broker, topic: str, expected: Callable[[], str | None]) -> None:
        self._client, self._topic, self._expected = broker.admin(), topic, expected

    def ask(self) -> Callable[[], None]:
        """Ask; what is returned waits for the answer, and raises `Aborted` if it is another topic."""
        from confluent_kafka import KafkaError, KafkaException

        expected, current_id = self._expected(), id_of(self._client, self._topic)

        def wait() -> None:
            try:
                topic_id = current_id()
            except KafkaException as error:
                if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise Aborted("the input topic is gone") from error
                return  # who is asked is away, and so is who would have made it anew
            if None not in (expected, topic_id) and expected != topic_id:
                raise Aborted("the input topic was made anew")

        return wait
