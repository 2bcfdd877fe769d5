"""Quix Streams on the benchmark's events: 24 lags kept per series, their mean written. There is no model in it.

python quix_stream.py BOOTSTRAP GUARANTEE EVENTS, with quixstreams installed: what benchmarks/streaming.py --quix runs.
"""

import sys
import tempfile
import time

from quixstreams import Application

SEEN: list[float] = []
"""When the first event was seen."""


def lags(value: dict, state: object) -> dict:
    """The event with the mean of the newest 24 values of its series."""
    if not SEEN:
        SEEN.append(time.perf_counter())
    kept = [*state.get("lags", []), value["value"]][-24:]
    state.set("lags", kept)
    return {"metric": value["metric"], "time": value["time"], "value": sum(kept) / len(kept), "lags": len(kept)}


def main() -> None:
    """Answer all events that wait."""
    bootstrap, guarantee, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    exactly = guarantee == "exactly-once"
    with tempfile.TemporaryDirectory() as folder:
        app = Application(
            broker_address=bootstrap,
            consumer_group=f"quix-{guarantee}",
            auto_offset_reset="earliest",
            processing_guarantee=guarantee,
            commit_interval=0.2 if exactly else 5.0,
            state_dir=folder,
            loglevel="ERROR",
        )
        events = app.topic("bench.events", value_deserializer="json")
        answers = app.topic(f"bench.quix-{guarantee}", value_serializer="json")
        app.dataframe(events).apply(lags, stateful=True).to_topic(answers)
        app.run(count=count, timeout=30.0)
    print(time.perf_counter() - SEEN[0])  # the last commit counts


if __name__ == "__main__":
    main()
