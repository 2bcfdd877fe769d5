"""The limit: consume, produce, send the offsets, commit; nothing is done with an event.

python copy_stream.py BOOTSTRAP EVENTS plain|tuned. Plain has the client's settings as shipped; tuned asks again after
2 ms, not 100, for a transaction that is refused while the one before is being marked, as headrace does.
"""

import sys
import time

from confluent_kafka import Consumer, Producer, TopicPartition

TUNED = {"linger.ms": 1, "retry.backoff.ms": 2}


def main() -> None:
    """Copy all events that wait."""
    bootstrap, count, how = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    common = {"bootstrap.servers": bootstrap}
    asked = {"enable.auto.commit": False, "auto.offset.reset": "earliest", "isolation.level": "read_committed"}
    more = {"fetch.queue.backoff.ms": 10} if how == "tuned" else {}
    consumer = Consumer({**common, "group.id": f"bench-copy-{how}", **asked, **more})
    producer = Producer({**common, "transactional.id": f"bench-copy-{how}", **(TUNED if how == "tuned" else {})})
    producer.init_transactions(30)
    consumer.subscribe(["bench.events"])
    done, began = 0, None
    while done < count:
        messages = [m for m in consumer.consume(4000, 0.02) if m.error() is None]
        if not messages:
            continue
        began = began or (time.perf_counter(), time.process_time())
        producer.begin_transaction()
        ends = {}
        for m in messages:
            producer.produce("bench.copy", key=m.key(), value=m.value(), partition=m.partition())
            ends[m.partition()] = m.offset() + 1
        offsets = [TopicPartition("bench.events", p, o) for p, o in ends.items()]
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), 30)
        producer.commit_transaction(30)
        done += len(messages)
    print(time.perf_counter() - began[0], time.process_time() - began[1])


if __name__ == "__main__":
    main()
