"""Requests per second of the HTTP door beside other servers, on one pinned core each, under wrk on another.

    python benchmarks/serving.py [--seconds 6] [--peers DIR] [--only NAME ...] [--write]
    python benchmarks/serving.py --listings [--seconds 6] [--write]

`--listings` posts listings of price_alchemy, whose model reads words, instead of passengers; no peers. Peers come from
environments of their own below DIR (`env-mlflow`, `env-bentoml`); those that are absent are skipped and said to be.
Without ../shared the passengers and listings are simulated.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
HERE = Path(__file__).parent / "peers"
DATA = ROOT.parent / "shared" / "data" / "titanic" / "train.csv"
RESULTS = Path(__file__).parent / "results" / "serving.md"
CONNECTIONS = (16, 64)
MANY = {10: 16, 100: 4, 1000: 2}
"""Rows of a body, and on how many connections such bodies are sent."""
LISTINGS = DATA.parents[1] / "mercari" / "train.tsv.gz"
OF_LISTINGS = "## Listings"
DIFFERENT = 500
"""Passengers that are posted, one after another."""
LOAD = os.getloadavg()
HEADRACE = [sys.executable, "-m", "headrace"]
NAIVE, BENTO = "FastAPI + pandas + commit", "BentoML, batching"
LUA = """
local count, passengers = {first}, {{{passengers}}}
request = function()
  local rows = {{}}
  for i = 1, {rows} do
    count = count + 1
    rows[i] = string.format(passengers[count % #passengers + 1], count)
  end
  local body = [=[{before}]=] .. table.concat(rows, ",") .. [=[{after}]=]
  return wrk.format("POST", "{path}", {{["content-type"] = "application/json"}}, body)
end
"""


@dataclass(frozen=True)
class Server:
    """A server to measure.

    Attributes:
        name: For the table.
        command: Starts it; ``{port}`` is filled in.
        path: Where rows are posted.
        one: A body with one row around ``{row}``; `many` one with several.
        check: Where it answers GET once it is up.
        environment: Further variables.
        prepare: Fits and saves its model, before it is started.
    """

    name: str
    command: list[str]
    path: str
    one: tuple[str, str]
    many: tuple[str, str]
    check: str
    environment: dict[str, str] = field(default_factory=dict)
    prepare: list[str] = field(default_factory=list)


def passengers(path: Path) -> list[str]:
    """Write the training file; returns rows to post as JSON, their keys as ``%d``."""
    import polars as pl

    if DATA.exists():
        shutil.copy(DATA, path)
    else:
        from headrace.sources.simulated import passengers

        passengers(as_of=datetime.now(UTC), rows=900, unknown=0).write_csv(path)
    texts = dict.fromkeys(("Name", "Ticket", "Cabin"), pl.String)  # tickets that are all numbers are texts, too
    rows = pl.read_csv(path, schema_overrides=texts).drop("Survived").head(DIFFERENT).to_dicts()
    bodies = (json.dumps(row | {"PassengerId": 0}).replace("%", "%%") for row in rows)
    return [text.replace('"PassengerId": 0', '"PassengerId": %d') for text in bodies]


def listings(path: Path) -> list[str]:
    """The same of listings: those of Mercari, where they are there."""
    import polars as pl

    from headrace.sources.simulated import listings as simulate

    if LISTINGS.exists():
        shutil.copy(LISTINGS, path)
        frame = pl.read_csv(path, separator="\t", quote_char=None, infer_schema_length=None)
    else:
        frame = simulate(as_of=datetime.now(UTC), rows=3500)
        frame.write_csv(path, separator="\t")
    rows = frame.drop("price").head(DIFFERENT).to_dicts()
    bodies = (json.dumps(row | {"train_id": 0}).replace("%", "%%") for row in rows)
    return [text.replace('"train_id": 0', '"train_id": %d') for text in bodies]


def own(system: str, home: Path) -> Iterator[Server]:
    """The echo, and this one's servers of a system."""
    ours = [*HEADRACE, "serve", str(ROOT / "systems" / system), "--home", str(home)]
    ours += ["--port", "{port}", "--access-log"]
    path, plain = f"/v1/systems/{system}/predict", (("", ""), ("[", "]"))
    yield Server("echo", [sys.executable, str(HERE / "serve_echo.py"), "{port}"], "/", *plain, "/")
    yield Server("headrace, unlogged", [*ours, "off", "--unlogged"], path, *plain, "/ready")
    yield Server("headrace", [*ours, "off"], path, *plain, "/ready")
    yield Server("headrace, access log", [*ours, "on"], path, *plain, "/ready")


def servers(folder: Path, data: Path, peers: Path) -> Iterator[Server]:
    """All servers whose environment is there."""
    yield from own("titanic", folder / "home")
    model = [str(HERE / "passengers_model.py"), str(data)]
    if (peers / "env-mlflow").exists():
        python, saved = str(peers / "env-mlflow" / "bin" / "python"), str(folder / "naive.joblib")
        naive = [python, str(HERE / "serve_naive.py"), "{port}", saved, str(folder / "naive.db")]
        rows = ("[", "]")
        yield Server(NAIVE, naive, "/predict", rows, rows, "/docs", prepare=[python, *model, saved])
        command, saved = [python, str(HERE / "serve_mlflow.py"), "{port}"], str(folder / "mlflow-model")
        rows = ('{"dataframe_records":[', "]}")
        prepare = [python, *model, saved, "mlflow"]
        yield Server("MLflow", [*command, saved], "/invocations", rows, rows, "/ping", prepare=prepare)
    if (peers / "env-bentoml").exists():
        environment, saved = peers / "env-bentoml" / "bin", str(folder / "bentoml.joblib")
        command = [str(environment / "bentoml"), "serve", "serve_bentoml:Passengers", "--port", "{port}"]
        rows = ('{"rows":[', "]}")
        prepare = [str(environment / "python"), *model, saved]
        yield Server(BENTO, command, "/predict", rows, rows, "/readyz", {"PASSENGERS": saved}, prepare)


@contextlib.contextmanager
def running(server: Server, port: int) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """The server on core 0, until the block ends; with the seconds that it took to start."""
    if server.prepare:
        subprocess.run(server.prepare, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    command = ["taskset", "-c", "0", *(part.replace("{port}", str(port)) for part in server.command)]
    environment = os.environ | server.environment | {"OMP_NUM_THREADS": "1"}
    bin_folder = str(Path(server.command[0]).parent)
    environment["PATH"] = f"{bin_folder}:{environment['PATH']}"
    began = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=HERE, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            _wait(f"http://127.0.0.1:{port}{server.check}", process, log)
            yield process, time.perf_counter() - began
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _wait(url: str, process: subprocess.Popen[bytes], log: Any) -> None:
    for _ in range(3600):
        if process.poll() is not None:
            log.seek(0)
            sys.exit(f"{process.args} ended: {log.read().decode()[-2000:]}")
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            urllib.request.urlopen(url, timeout=2).read()
            return
        time.sleep(0.05)
    sys.exit(f"{process.args} did not come up")


def usage(process: subprocess.Popen[bytes]) -> tuple[float, float]:
    """CPU seconds and resident megabytes of a process and its children."""
    ticks, pages = 0.0, 0
    for pid in _family(process.pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(stat[11]) + int(stat[12])
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _family(pid: int) -> list[int]:
    found, children = [], [pid]
    while children:
        each = children.pop()
        found.append(each)
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                children += [int(child) for child in task.read_text().split()]
    return found


def load(server: Server, port: int, texts: list[str], rows: int, connections: int, seconds: int) -> dict[str, float]:
    """Rows and requests per second under wrk on core 1, each row with a key of its own."""
    before, after = server.one if rows == 1 else server.many
    first = int(time.time() * 1000) % 10**9 * 1000  # no key is sent twice, whatever was measured before
    passengers = ",".join(f"[=[{text}]=]" for text in texts)
    script = LUA.format(first=first, rows=rows, passengers=passengers, before=before, after=after, path=server.path)
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        command = [
            "taskset",
            "-c",
            "1",
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds}s",
            "--latency",
            "--timeout",
            "30s",
        ]
        done = subprocess.run(
            [*command, "-s", file.name, f"http://127.0.0.1:{port}"], capture_output=True, text=True, check=True
        )
    out = done.stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", out)
    if found is None:
        sys.exit(f"{server.name}: {out}")
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    if refused:
        sys.exit(f"{server.name}: {refused[1]} requests were refused; there is nothing to measure")
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", out)
    scale = {"us": 1e-3, "ms": 1.0, "s": 1e3}
    return {"rps": float(found[1]), "p99": float(p99[1]) * scale[p99[2]] if p99 else float("nan")}


def measure(server: Server, port: int, texts: list[str], seconds: int) -> dict[str, Any]:
    """All figures of one server."""
    with running(server, port) as (process, started):
        load(server, port, texts, 1, 4, 1)
        found: dict[str, Any] = {"name": server.name, "start": started}
        for connections in CONNECTIONS:
            cpu, _ = usage(process)
            said = load(server, port, texts, 1, connections, seconds)
            used = usage(process)[0] - cpu
            found |= {f"rps{connections}": said["rps"], f"p99_{connections}": said["p99"]}
            found[f"cpu{connections}"] = used / (said["rps"] * seconds) * 1e6
        for rows, connections in MANY.items():
            cpu, _ = usage(process)
            found[f"by{rows}"] = load(server, port, texts, rows, connections, seconds)["rps"] * rows
            found[f"cpu_by{rows}"] = (usage(process)[0] - cpu) / (found[f"by{rows}"] * seconds or math.nan) * 1e6
        found["memory"] = usage(process)[1]
    return found


def wrong(home: Path, port: int, server: Server, data: Path) -> int:
    """How many of 10,000 answers over HTTP differ from the offline pipeline's."""
    import polars as pl

    from headrace.home import Home
    from headrace.loading import load_system
    from headrace.settings import load_settings
    from headrace.sources.simulated import passengers as simulate
    from headrace.tasks.rows.predictor import RowPredictor

    system = load_system(str(ROOT / "systems" / "titanic"))
    frame = simulate(as_of=datetime.now(UTC), rows=10_000, unknown=10_000, seed=1)
    frame = frame.with_columns(pl.col("PassengerId") + 2_000_000_000)
    registry = Home(load_settings(home)).registry
    champion = registry.champion(system.name, datetime.now(UTC))
    assert champion is not None
    told = RowPredictor.load(registry.fetch(champion)).predict(frame)
    told = [each["probability"] for each in told]
    rows = frame.drop("Survived").to_dicts()
    with running(server, port):
        url = f"http://127.0.0.1:{port}{server.path}"
        answers = [_post(url, row)["probability"] for row in rows[:5000]]
        sizes = [size for size in MANY for _ in range(5000 // len(MANY) // size)]
        for size in [*sizes, 5000 - sum(sizes)]:
            part = rows[len(answers) : len(answers) + size]
            answers += [each["probability"] for each in _post(url, part)["predictions"]]
    return sum(a != b for a, b in zip(answers, told, strict=True))


def _post(url: str, body: Any) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def table(found: list[dict[str, Any]], bad: int, seconds: int) -> str:
    """The figures as Markdown."""
    lines = [
        f"`python benchmarks/serving.py --seconds {seconds}`, {datetime.now(UTC):%Y-%m-%d}: one process on one core, "
        "wrk on another, each row with a key of its own; requests of one row, and of 10, 100 and 1,000. CPU is the "
        "server's, per row. No server writes an access log, but the one that says so; a refused request would end the "
        f"run. Load average of the machine at the start {LOAD[0]:.1f}. echo: an ASGI application without a framework "
        "decodes the body and sends it back. FastAPI + pandas + commit: another, slower model (a scikit-learn pipeline "
        "over a frame of one row), one commit a request; it shows a way of working, not what FastAPI can do.",
        "",
        rows_of(found),
        f"{bad} of 10,000 answers over HTTP differ from the offline pipeline's.",
    ]
    return "\n".join(lines) + "\n"


def rows_of(found: list[dict[str, Any]]) -> str:
    """The figures as a table of Markdown."""
    lines = [
        "| | 16 conn., req/s | p99 ms | CPU µs | 64 conn., req/s | p99 ms | CPU µs "
        f"| {' | '.join(f'rows/s by {rows:,} | CPU µs' for rows in MANY)} | MB | start s |",
        "|---" * (9 + 2 * len(MANY)) + "|",
    ]
    for each in found:
        many = " | ".join(f"{each[f'by{rows}']:,.0f} | {each[f'cpu_by{rows}']:,.0f}" for rows in MANY)
        lines.append(
            f"| {each['name']} | {each['rps16']:,.0f} | {each['p99_16']:.1f} | {each['cpu16']:,.0f} "
            f"| {each['rps64']:,.0f} | {each['p99_64']:.1f} | {each['cpu64']:,.0f} "
            f"| {many} | {each['memory']:,.0f} | {each['start']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure every server, one after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--peers", type=Path, default=Path("peers"))
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--listings", action="store_true")
    parser.add_argument("--write", action="store_true", help="Write results/serving.md.")
    options = parser.parse_args()
    if shutil.which("wrk") is None or shutil.which("taskset") is None:
        sys.exit("needs wrk and taskset: apt-get install wrk util-linux")
    if options.listings:
        of_listings(options)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = folder / "train.csv"
        texts = passengers(data)
        run = [*HEADRACE, "run", str(ROOT / "systems" / "titanic"), "--home", str(folder / "home")]
        subprocess.run([*run, "--source", f"file:{data}", "--json"], check=True, stdout=subprocess.DEVNULL)
        found, there = [], list(servers(folder, data, options.peers.absolute()))
        for missing in {"MLflow", BENTO} - {server.name for server in there}:
            print(f"{missing}: no environment, skipped", file=sys.stderr)
        for place, server in enumerate(there):
            if not options.only or server.name in options.only:
                print(server.name, file=sys.stderr)
                found.append(measure(server, 8200 + place, texts, options.seconds))
                print(found[-1], file=sys.stderr)
        durable = next(server for server in there if server.name == "headrace")
        text = table(found, wrong(folder / "home", 8199, durable, data), options.seconds)
    print(text)
    if options.write:
        _, mark, beside = RESULTS.read_text(encoding="utf-8").partition(OF_LISTINGS)
        RESULTS.write_text(f"# Serving\n\n{text}\n{mark}{beside}".rstrip() + "\n", encoding="utf-8")


def of_listings(options: argparse.Namespace) -> None:
    """Measure the servers of listings, beside an echo of the same bodies."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = folder / ("train.tsv.gz" if LISTINGS.exists() else "train.tsv")
        texts, home = listings(data), folder / "home"
        run = [*HEADRACE, "run", str(ROOT / "systems" / "price_alchemy"), "--home", str(home)]
        subprocess.run([*run, "--source", f"file:{data}", "--json"], check=True, stdout=subprocess.DEVNULL)
        found = []
        for place, server in enumerate(own("price_alchemy", home)):
            print(server.name, file=sys.stderr)
            found.append(measure(server, 8300 + place, texts, options.seconds))
            print(found[-1], file=sys.stderr)
    echo, durable = found[0], found[2]
    shares = (f"{durable[f'rps{n}'] / echo[f'rps{n}']:.0%} on {n}" for n in CONNECTIONS)
    size = sum(map(len, texts)) / len(texts)
    text = (
        f"`python benchmarks/serving.py --listings --seconds {options.seconds}`, {datetime.now(UTC):%Y-%m-%d}, as "
        f"above, load average {LOAD[0]:.1f}, with the listings of price_alchemy ({size:,.0f} bytes each), "
        f"which three members read. Of the requests of one row that the echo answers, it logs and answers "
        f"{' and '.join(shares)} connections.\n\n{rows_of(found)}"
    )
    print(text)
    if options.write:
        kept = RESULTS.read_text(encoding="utf-8").partition(OF_LISTINGS)[0].rstrip()
        RESULTS.write_text(f"{kept}\n\n{OF_LISTINGS}\n\n{text}", encoding="utf-8")


if __name__ == "__main__":
    main()
