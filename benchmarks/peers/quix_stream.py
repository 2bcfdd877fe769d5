"""Quix Streams at the benchmark's job: 24 lags per series in its state, one prediction of 100 trees per event.

python quix_stream.py BOOTSTRAP EVENTS MODEL GUARANTEE, with quixstreams and lightgbm installed: what
benchmarks/streaming.py --quix runs.
"""

import sys
import tempfile
import time

from quixstreams import Application
from stream_job import LAGS, Job

BEGAN: list[float] = []
"""Clock and CPU seconds at the first event."""


def main() -> None:
    """Answer all events that wait."""
    bootstrap, count, job, guarantee = sys.argv[1], int(sys.argv[2]), Job(sys.argv[3]), sys.argv[4]

    def answer(event: dict, state: object) -> dict:
        if not BEGAN:
            BEGAN.extend((time.perf_counter(), time.process_time()))
        lags = [*state.get("lags", []), event["value"]][-LAGS:]
        state.set("lags", lags)
        return job.answers([event], [lags])[0]

    with tempfile.TemporaryDirectory() as folder:
        app = Application(
            broker_address=bootstrap,
            consumer_group=f"quix-{guarantee}",
            auto_offset_reset="earliest",
            processing_guarantee=guarantee,
            commit_interval=0.2 if guarantee == "exactly-once" else 5.0,
            state_dir=folder,
            loglevel="ERROR",
        )
        events = app.topic("bench.events", value_deserializer="json")
        answers = app.topic(f"bench.quix-{guarantee}", value_serializer="json")
        app.dataframe(events).apply(answer, stateful=True).to_topic(answers)
        app.run(count=count, timeout=30.0)
    print(time.perf_counter() - BEGAN[0], time.process_time() - BEGAN[1])  # the last commit counts


if __name__ == "__main__":
    main()
