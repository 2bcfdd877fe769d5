"""The limit: consume, produce, send the offsets, commit; nothing is done with an event.

python copy_stream.py BOOTSTRAP EVENTS plain|tuned. Micro-batches of 16,000 at most, and the next one is read while
one is committed, both as headrace does. Plain has the client's settings as shipped; tuned asks again after 2 ms, not
100, for a transaction that is refused while the one before is being marked, as headrace does. Prints the CPU seconds.
"""

import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor

from confluent_kafka import Consumer, Producer, TopicPartition

BATCH = 16_000
TUNED = {"linger.ms": 1, "retry.backoff.ms": 2}


def main() -> None:
    """Copy all events that wait."""
    bootstrap, count, how = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    common = {"bootstrap.servers": bootstrap}
    asked = {"enable.auto.commit": False, "auto.offset.reset": "earliest", "isolation.level": "read_committed"}
    more = {"fetch.queue.backoff.ms": 10} if how == "tuned" else {}
    consumer = Consumer({**common, "group.id": f"bench-copy-{how}", **asked, **more})
    larger = {"queue.buffering.max.messages": 1_000_000}  # a micro-batch of headrace's size fits
    tuned = TUNED if how == "tuned" else {}
    producer = Producer({**common, **larger, "transactional.id": f"bench-copy-{how}", **tuned})
    producer.init_transactions(30)
    consumer.subscribe(["bench.events"])

    def commit(offsets: list[TopicPartition]) -> None:
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), 30)
        producer.commit_transaction(30)

    done, began = 0, None
    under_way: Future[None] | None = None
    with ThreadPoolExecutor(1) as beside:
        while done < count:
            messages = [m for m in consumer.consume(BATCH, 0.02) if m.error() is None]
            if not messages:
                continue
            began = began or time.process_time()
            if under_way is not None:
                under_way.result()
            producer.begin_transaction()
            ends = {}
            for m in messages:
                producer.produce("bench.copy", key=m.key(), value=m.value(), partition=m.partition())
                ends[m.partition()] = m.offset() + 1
            offsets = [TopicPartition("bench.events", p, o) for p, o in ends.items()]
            under_way = beside.submit(commit, offsets)
            done += len(messages)
        under_way.result()
    print(time.process_time() - began)


if __name__ == "__main__":
    main()
