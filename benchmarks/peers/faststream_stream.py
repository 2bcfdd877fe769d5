"""FastStream at the benchmark's job, batch by batch and at least once. It has no state: the lags are in memory only.

python faststream_stream.py BOOTSTRAP EVENTS MODEL, with faststream[confluent] and lightgbm installed: what
benchmarks/streaming.py --faststream runs.
"""

import asyncio
import logging
import sys
import time
from collections import defaultdict, deque

from faststream import AckPolicy
from faststream.confluent import KafkaBroker
from stream_job import LAGS, Job


async def main() -> None:
    """Answer all events that wait."""
    bootstrap, count, job = sys.argv[1], int(sys.argv[2]), Job(sys.argv[3])
    broker = KafkaBroker(bootstrap, logger=logging.getLogger("quiet"))
    lags: dict[str, deque] = defaultdict(lambda: deque(maxlen=LAGS))
    began, whole, done = None, asyncio.Event(), 0

    @broker.subscriber(
        "bench.events",
        batch=True,
        max_records=2000,
        group_id="bench-faststream",
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.ACK,
    )
    async def answer(events: list[dict]) -> None:
        nonlocal began, done
        began = began or (time.perf_counter(), time.process_time())
        newest = []
        for event in events:
            lags[event["metric"]].append(event["value"])
            newest.append(list(lags[event["metric"]]))
        await broker.publish_batch(*job.answers(events, newest), topic="bench.faststream")
        done += len(events)
        if done >= count:
            print(time.perf_counter() - began[0], time.process_time() - began[1])
            whole.set()

    async with broker:
        await broker.start()
        await asyncio.wait_for(whole.wait(), 600)


if __name__ == "__main__":
    asyncio.run(main())
