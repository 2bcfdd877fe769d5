"""The stream beside a bare transactional copy: events a second, CPU, latency, restore. One command, one broker.

python benchmarks/streaming.py [--bootstrap HOST:PORT] [--events N] [--rate R] [--seconds S] [--restore N] [--long N]
                               [--quix PY] [--faststream PY] [--write]

Two systems: a lean one (1,000 series, 24 lags, 100 trees, one step ahead), and `live_metrics` as it is shipped (30
series, 288 steps back, adaptive intervals, 300 trees, 12 steps ahead). All events wait on the topic; whoever answers
them is measured from commit to commit, by what consumers that read committed may see: events of all transactions but
the first, over the time between the first and the last. An event that is not answered ends the run. Latency: a steady
rate of events, from produce to a read-committed consumer, three times. Restore: a worker of `live_metrics` starts
with so many series that have a day behind them. Long: memory over so many events. `--quix` and `--faststream` name
Pythons with these and LightGBM; they do the lean system's job, on 40,000 and 200,000 of the events (see
peers/stream_job.py).
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
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from headrace.flow.run import RunRequest, run
from headrace.home import Home
from headrace.loading import load_system
from headrace.settings import Settings
from headrace.sources.broker import BEGINNING, Broker
from headrace.sources.metrics import name_of
from headrace.sources.topics import Topics

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "streaming.md"
START = datetime(2026, 3, 2, tzinfo=UTC)
PARTITIONS = 4
SENT: dict[tuple[str, str], float] = {}
"""When events of a steady rate were sent, by series and time."""
LOAD = os.getloadavg()


@dataclass(frozen=True)
class Streamed:
    """A system with a home, and what its events are.

    Attributes:
        name: Of the system, and the prefix of its topics.
        folder: Where it lies.
        home: Trained.
        step: Between two events of a series.
        series: How many there are.
        settings: Words of every command.
    """

    name: str
    folder: Path
    home: Path
    step: timedelta
    series: int
    settings: tuple[str, ...] = ()


def lean(folder: Path) -> Streamed:
    """The lean system, trained."""
    found = Streamed(
        "bench", HERE / "streaming_system", folder, timedelta(minutes=1), 1000, ("stream.allowed_lateness=1m",)
    )
    return _trained(found, f"simulated:?series={found.series}&days=0.3&step=1m")


def shipped(folder: Path) -> Streamed:
    """`live_metrics` with nothing set, trained."""
    found = Streamed("live_metrics", HERE.parent / "systems" / "live_metrics", folder, timedelta(minutes=5), 30)
    return _trained(found, f"simulated:?series={found.series}&days=30")


def _trained(of: Streamed, source: str) -> Streamed:
    request = RunRequest(START, START, source, ("ingest", "validate", "train"))
    run(load_system(str(of.folder)), Home(Settings(home=of.home)), request)
    return of


def fresh(broker: Broker, of: Streamed) -> None:
    """The topics of a system, empty."""
    from confluent_kafka.admin import AdminClient

    admin = AdminClient(broker.settings())
    names = [name for name in broker.partitions() if name.startswith(f"{of.name}.")]
    for future in admin.delete_topics(names).values() if names else ():
        future.result()
    while any(name.startswith(f"{of.name}.") for name in broker.partitions()):
        time.sleep(0.2)
    broker.ensure(Topics(of.name), PARTITIONS)
    if of.name == "bench":
        admin.create_topics(_copies())["bench.copy"].result()


def _copies() -> list[object]:
    from confluent_kafka.admin import NewTopic

    return [NewTopic("bench.copy", PARTITIONS)]


def events(broker: Broker, of: Streamed, count: int, series: int = 0, rate: float = 0.0, pause: float = 0.0) -> None:
    """Put events on the topic; with a rate, so many a second; with a pause, seconds between the steps of all series."""
    from confluent_kafka import Producer

    producer = Producer(
        broker.settings(linger_ms=0 if rate else 20, queue_buffering_max_messages=1_000_000, enable_idempotence=True)
    )
    began, series = time.perf_counter(), series or of.series
    for i in range(count):
        turn, place = divmod(i, series)
        at = (START + of.step * (turn + 1)).isoformat().replace("+00:00", "Z")
        body = (
            f'{{"metric":"{name_of(place)}","time":"{at}","value":{10 + place * 0.01 + i % 7:.4f},"unit":"per minute"}}'
        )
        if rate:
            time.sleep(max(began + i / rate - time.perf_counter(), 0))
            SENT[name_of(place), at] = time.perf_counter()
        producer.produce(f"{of.name}.events", key=name_of(place), value=body)
        if i % 1000 == 0:
            producer.poll(0)
        if pause and place == series - 1:
            producer.flush(60)
            time.sleep(pause)
    if producer.flush(60):
        raise SystemExit("the events could not be sent")


class Clock(threading.Thread):
    """What consumers that read committed may see of a topic, asked every few milliseconds until `stop`."""

    def __init__(self, broker: Broker, topic: str) -> None:
        super().__init__(daemon=True)
        self._broker, self._topic, self._over = broker, topic, threading.Event()
        self._seen: list[tuple[float, int]] = []
        self.start()

    def run(self) -> None:
        """Note each change."""
        from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
        from confluent_kafka.admin import AdminClient, OffsetSpec

        admin = AdminClient(self._broker.settings())
        asked = {TopicPartition(self._topic, p): OffsetSpec.latest() for p in range(PARTITIONS)}
        while not self._over.is_set():
            told = admin.list_offsets(asked, isolation_level=IsolationLevel.READ_COMMITTED)
            try:
                total = sum(each.result().offset for each in told.values())
            except KafkaException:  # it is not there yet
                total = 0
            if not self._seen or total != self._seen[-1][1]:
                self._seen.append((time.perf_counter(), total))
            time.sleep(0.003)

    def rate(self, count: int) -> float:
        """Events a second from the first commit to the last; fails unless there is a message for each event."""
        time.sleep(0.1)
        self._over.set()
        self.join()
        found = sum(1 for _ in self._broker.read(self._topic, dict.fromkeys(range(PARTITIONS), BEGINNING)))
        if found != count:
            raise SystemExit(f"{found} messages on {self._topic} for {count} events")
        steps = [each for each in self._seen if each[1]]
        (begin, first), (end, last) = steps[0], steps[-1]
        return count * (1 - first / last) / (end - begin)  # a few of the offsets are marks of transactions


def measured(command: list[str], **more: object) -> tuple[str, float]:
    """Output and CPU seconds of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900, **more)
    if done.returncode:
        raise SystemExit(done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def copied(broker: Broker, of: Streamed, count: int, how: str) -> dict[str, float]:
    """The bare copy of all that waits."""
    fresh(broker, of)
    events(broker, of, count)
    clock = Clock(broker, "bench.copy")
    out, _ = measured([sys.executable, str(HERE / "peers" / "copy_stream.py"), broker.bootstrap, str(count), how])
    return {"events/s": clock.rate(count), "CPU s per million": float(out) * 1e6 / count}


def peer(python: str, script: str, broker: Broker, count: int, *more: str) -> dict[str, float]:
    """A program of `peers` answers so many of the events that wait; it prints the clock's and CPU seconds."""
    out, _ = measured([python, str(HERE / "peers" / f"{script}.py"), broker.bootstrap, str(count), *more])
    seconds, cpu = map(float, out.split()[-2:])
    return {"events/s": count / seconds, "CPU s per million": cpu * 1e6 / count}


def stream(broker: Broker, of: Streamed, *more: str) -> list[str]:
    """The command of the worker."""
    sets = [word for setting in of.settings for word in ("--set", setting)]
    common = ["--home", str(of.home), "--bootstrap", broker.bootstrap, "--json", *sets]
    return [sys.executable, "-m", "headrace", "stream", str(of.folder), *common, *more]


def ours(broker: Broker, of: Streamed, count: int, workers: int = 1) -> dict[str, float]:
    """Workers answer all that waits."""
    fresh(broker, of)
    events(broker, of, count)
    clock = Clock(broker, f"{of.name}.predictions")
    idle = ("--workers", str(workers), "--stop-when-idle", "3s")
    _, cpu = measured(stream(broker, of, *idle))
    rate = clock.rate(count)
    _, waiting = measured(stream(broker, of, *idle))
    return {"events/s": rate, "CPU s per million": (cpu - waiting) * 1e6 / count}


def memory(broker: Broker, of: Streamed, count: int) -> dict[str, float]:
    """Resident memory (MB) of one worker at several points of a long stream."""
    port, page = 19_464, os.sysconf("SC_PAGE_SIZE")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    worker = subprocess.Popen(stream(broker, of, "--port", str(port)), **quiet)
    points = [count * share // 100 for share in (2, 10, 25, 50, 75, 100)]
    found: dict[str, float] = {}
    while points and worker.poll() is None:
        time.sleep(0.2)
        answered = told(port, "headrace_stream_predictions_total")
        children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
        pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in children]
        while points and answered >= points[0]:
            found[f"MB at {points.pop(0) / 1e6:g} million"] = max(pages) * page / 1e6
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


def latency(broker: Broker, of: Streamed, count: int, rate: float) -> dict[str, float]:
    """From produce to a read-committed consumer, at a steady rate."""
    from confluent_kafka import Consumer

    fresh(broker, of)
    SENT.clear()
    worker = subprocess.Popen(stream(broker, of), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    consumer = Consumer(
        broker.settings(
            group_id=f"bench-latency-{os.getpid()}", isolation_level="read_committed", auto_offset_reset="latest"
        )
    )
    consumer.subscribe([f"{of.name}.predictions"])
    while not consumer.assignment():
        consumer.poll(0.1)
    time.sleep(6)
    sender = threading.Thread(target=events, args=(broker, of, count, 0, rate))
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


def restored(broker: Broker, of: Streamed, series: int) -> dict[str, float]:
    """Seconds to restore series with a day behind them, and how many records each has in the changelog."""
    fresh(broker, of)
    accept = ("--stop-when-idle", "10s", "--set", "stream.unseen_series=accept", "--set", "stream.idle=never")
    worker = subprocess.Popen(stream(broker, of, *accept), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(5)
    events(broker, of, series * 300, series, pause=0.2)  # step by step, as they come in a day
    if worker.wait(600):
        raise SystemExit("the worker failed")
    done = subprocess.run(stream(broker, of, *accept), capture_output=True, text=True, check=True, timeout=900)
    told = [json.loads(line) for line in done.stderr.splitlines() if '"restored"' in line]
    kept = {m.key() for m in broker.read(f"{of.name}.state", dict.fromkeys(range(PARTITIONS), BEGINNING))}
    seconds, count = max(each["seconds"] for each in told), max(each["series"] for each in told)
    if count != series:
        raise SystemExit(f"{count} of {series} series were restored")
    return {"seconds": seconds, "records a series": len(kept) / series}


def throughput(broker: Broker, of: Streamed, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Events a second and CPU of the bare copies, of headrace, and of the peers that are there."""
    count, few, model = options.events, min(options.events, 40_000), str(of.home / "peer.txt")
    rows = {f"bare copy, {how}": copied(broker, of, count, how) for how in ("plain", "tuned")}
    rows["headrace, lean system, 1 worker"] = ours(broker, of, count)
    rows["headrace, lean system, 2 workers"] = ours(broker, of, count, 2)
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
    parser.add_argument("--restore", type=int, default=1000)
    parser.add_argument("--long", type=int, default=0)
    parser.add_argument("--quix")
    parser.add_argument("--faststream")
    parser.add_argument("--write", action="store_true", help="Write results/streaming.md.")
    options = parser.parse_args()
    broker = Broker(options.bootstrap)
    with tempfile.TemporaryDirectory() as name:
        small, full = lean(Path(name) / "lean"), shipped(Path(name) / "shipped")
        rows = throughput(broker, small, options)
        for workers in (1, 2):
            few = min(options.events, 180_000)
            rows[f"live_metrics as shipped, {workers} worker(s)"] = ours(broker, full, few, workers)
        for turn in (1, 2, 3):
            found = latency(broker, small, int(options.rate * options.seconds), options.rate)
            rows[f"lean system at {options.rate:g} events/s, run {turn}"] = found
        if options.restore:
            rows[f"restore of {options.restore:,} series of live_metrics"] = restored(broker, full, options.restore)
        if options.long:
            fresh(broker, small)
            events(broker, small, options.long)
            rows["memory"] = memory(broker, small, options.long)
    lines = [
        f"`python benchmarks/streaming.py --events {options.events} --restore {options.restore}`, "
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores that the broker, the workers and the load share; load "
        f"average at the start {LOAD[0]:.1f}.",
        "",
        "| what | figures |",
        "|---|---|",
    ]
    for name, figures in rows.items():
        lines.append(f"| {name} | {', '.join(f'{what} {value:,.1f}' for what, value in figures.items())} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if options.write:
        RESULTS.write_text(f"# Streaming\n\n{text}", encoding="utf-8")


if __name__ == "__main__":
    main()
