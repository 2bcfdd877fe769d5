"""The stream beside a bare transactional copy: events a second, CPU, latency, restore. One command, one broker.

python benchmarks/streaming.py [--bootstrap HOST:PORT] [--events N] [--rate R] [--seconds S] [--restore N] [--long N]
                               [--quix PY] [--faststream PY]

Events of about 100 bytes, 1,000 series, 4 partitions; the system has 24 lags and 100 trees. Throughput: all events wait
on the topic, and one worker answers them; time from its first answer to its last. Latency: a steady rate of events,
from produce to a read-committed consumer. Restore: a worker starts with so many series. Long: memory over so many
events. `--quix` and `--faststream` name Pythons with these and LightGBM; they do the same job, on 40,000 and 200,000 of
the events (see peers/stream_job.py).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

from headrace.flow.run import Request, run
from headrace.home import Home
from headrace.loading import load_system
from headrace.settings import Settings
from headrace.sources.broker import Broker
from headrace.sources.metrics import name_of
from headrace.sources.topics import Topics

HERE = Path(__file__).resolve().parent
SYSTEM = str(HERE / "streaming_system")
START = datetime(2026, 3, 2, tzinfo=UTC)
SERIES = 1000
SENT: dict[tuple[str, str], float] = {}
"""When events of a steady rate were sent, by series and time."""


def fresh(broker: Broker) -> None:
    """The topics of the benchmark, empty."""
    from confluent_kafka.admin import AdminClient

    admin = AdminClient(broker.settings())
    names = [name for name in broker.partitions() if name.startswith("bench.")]
    for future in admin.delete_topics(names).values() if names else ():
        future.result()
    time.sleep(1.0)
    broker.ensure(Topics("bench"), 4)


def events(broker: Broker, count: int, series: int = SERIES, rate: float = 0.0) -> None:
    """Put events on the topic; with a rate, so many a second."""
    from confluent_kafka import Producer

    producer = Producer(
        broker.settings(linger_ms=0 if rate else 20, queue_buffering_max_messages=1_000_000, enable_idempotence=True)
    )
    began = time.perf_counter()
    for i in range(count):
        minute, place = divmod(i, series)
        at = (START + timedelta(minutes=minute + 1)).isoformat().replace("+00:00", "Z")
        body = (
            f'{{"metric":"{name_of(place)}","time":"{at}","value":{10 + place * 0.01 + i % 7:.4f},"unit":"per minute"}}'
        )
        if rate:
            time.sleep(max(began + i / rate - time.perf_counter(), 0))
            SENT[name_of(place), at] = time.perf_counter()
        producer.produce("bench.events", key=name_of(place), value=body)
        if i % 1000 == 0:
            producer.poll(0)
    producer.flush(60)


def measured(command: list[str], **more: object) -> tuple[str, float]:
    """Output and CPU seconds of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900, **more)
    if done.returncode:
        raise SystemExit(done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def peer(python: str, script: str, broker: Broker, count: int, *more: str) -> dict[str, float]:
    """A program of `peers` answers so many of the events that wait; it prints the clock's and CPU seconds."""
    out, _ = measured([python, str(HERE / "peers" / f"{script}.py"), broker.bootstrap, str(count), *more])
    seconds, cpu = map(float, out.split()[-2:])
    return {"events/s": count / seconds, "CPU s per million": cpu * 1e6 / count}


def stream(broker: Broker, home: Path, *more: str) -> list[str]:
    """The command of the worker."""
    common = ["--home", str(home), "--bootstrap", broker.bootstrap, "--json", "--set", "stream.grace=1m"]
    return [sys.executable, "-m", "headrace", "stream", SYSTEM, *common, *more]


def ours(broker: Broker, home: Path, count: int) -> dict[str, float]:
    """One worker answers all that waits."""
    _, cpu = measured(stream(broker, home, "--stop-when-idle", "3s"))
    _, idle = measured(stream(broker, home, "--stop-when-idle", "3s"))
    seconds = span(broker, count)
    return {"events/s": count / seconds, "CPU s per million": (cpu - idle) * 1e6 / count}


def memory(broker: Broker, home: Path, count: int) -> dict[str, float]:
    """Resident memory (MB) of one worker at several points of a long stream."""
    port, page = 19_464, os.sysconf("SC_PAGE_SIZE")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    worker = subprocess.Popen(stream(broker, home, "--port", str(port)), **quiet)
    points = [count * share // 100 for share in (2, 10, 25, 50, 75, 100)]
    found: dict[str, float] = {}
    while points and worker.poll() is None:
        time.sleep(0.2)
        answered = told(port, "headrace_stream_answers_total")
        resident = int(Path(f"/proc/{worker.pid}/statm").read_text().split()[1]) * page / 1e6
        while points and answered >= points[0]:
            found[f"MB at {points.pop(0) / 1e6:g} million"] = resident
    worker.terminate()
    worker.wait(60)
    return found


def told(port: int, metric: str) -> float:
    """A number of a worker's metrics; 0 before it tells any."""
    try:
        with urllib.request.urlopen(f"http://localhost:{port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return 0.0
    return next((float(line.split()[-1]) for line in lines if line.startswith(f"{metric}{{")), 0.0)


def span(broker: Broker, count: int) -> float:
    """Seconds from the first to the last answer, by the broker's clock."""
    stamps = [m.timestamp()[1] for m in broker.read("bench.predictions", dict.fromkeys(range(4), 0))]
    if len(stamps) != count:
        raise SystemExit(f"{len(stamps)} answers to {count} events")
    return (max(stamps) - min(stamps)) / 1000


def latency(broker: Broker, home: Path, count: int, rate: float) -> dict[str, float]:
    """From produce to a read-committed consumer, at a steady rate."""
    from confluent_kafka import Consumer

    worker = subprocess.Popen(stream(broker, home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    consumer = Consumer(
        broker.settings(
            group_id=f"bench-latency-{os.getpid()}", isolation_level="read_committed", auto_offset_reset="latest"
        )
    )
    consumer.subscribe(["bench.predictions"])
    while not consumer.assignment():
        consumer.poll(0.1)
    time.sleep(6)
    sender = threading.Thread(target=events, args=(broker, count, SERIES, rate))
    found: list[float] = []
    sender.start()
    until = time.monotonic() + count / rate + 20
    while len(found) < count and time.monotonic() < until:
        message = consumer.poll(0.1)
        if message is not None and message.error() is None:
            answer = json.loads(message.value())
            found.append(time.perf_counter() - SENT[answer["metric"], answer["event_time"]])
    sender.join()
    worker.terminate()
    worker.wait(60)
    consumer.close()
    if len(found) < count:
        raise SystemExit(f"{len(found)} answers to {count} events")
    cuts = statistics.quantiles(found[count // 10 :], n=100)
    return {"p50 ms": cuts[49] * 1000, "p99 ms": cuts[98] * 1000}


def restored(broker: Broker, home: Path) -> dict[str, float]:
    """Seconds to restore the state that a first worker left."""
    accept = ("--stop-when-idle", "5s", "--set", "stream.unknown=accept", "--set", "stream.idle=never")
    measured(stream(broker, home, *accept))
    done = subprocess.run(stream(broker, home, *accept), capture_output=True, text=True, check=True, timeout=900)
    told = [json.loads(line) for line in done.stderr.splitlines() if '"restored"' in line]
    return {"series": max(each["series"] for each in told), "seconds": max(each["seconds"] for each in told)}


def throughput(broker: Broker, home: Path, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Events a second and CPU of the bare copies, of one worker, and of the peers that are there."""
    count, few, model = options.events, min(options.events, 40_000), str(home / "peer.txt")
    rows = {f"bare copy, {how}": peer(sys.executable, "copy_stream", broker, count, how) for how in ("plain", "tuned")}
    rows["headrace, exactly once"] = ours(broker, home, count)
    if options.quix or options.faststream:
        measured([options.quix or options.faststream, str(HERE / "peers" / "stream_job.py"), model])
    for guarantee in ("exactly-once", "at-least-once") if options.quix else ():
        rows[f"Quix Streams, {guarantee}"] = peer(options.quix, "quix_stream", broker, few, model, guarantee)
    if options.faststream:
        rows["FastStream, at least once"] = peer(
            options.faststream, "faststream_stream", broker, min(count, 200_000), model
        )
    return rows


def main() -> None:
    """Measure, print a table, write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bootstrap", default=os.environ.get("KAFKA_BOOTSTRAP", "localhost:9092"))
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--restore", type=int, default=0)
    parser.add_argument("--long", type=int, default=0)
    parser.add_argument("--quix")
    parser.add_argument("--faststream")
    options = parser.parse_args()
    broker = Broker(options.bootstrap)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        request = Request(START, START, f"simulated:?series={SERIES}&days=0.3&step=1m", ("ingest", "validate", "train"))
        run(load_system(SYSTEM), Home(Settings(home=home)), request)
        fresh(broker)
        events(broker, options.events)
        rows = throughput(broker, home, options)
        fresh(broker)
        rows["headrace, 500 events/s"] = latency(broker, home, int(options.rate * options.seconds), options.rate)
        if options.restore:
            fresh(broker)
            events(broker, options.restore, options.restore)
            rows[f"restore of {options.restore:,} series"] = restored(broker, home)
        if options.long:
            fresh(broker)
            events(broker, options.long)
            rows["memory"] = memory(broker, home, options.long)
    lines = ["| what | figures |", "|---|---|"]
    for name, figures in rows.items():
        lines.append(f"| {name} | {', '.join(f'{what} {value:,.1f}' for what, value in figures.items())} |")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
