"""The command line: thin. It parses, calls, and prints tables, progress and ``--json``."""

from __future__ import annotations

import atexit
import copy
import functools
import gc
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.errors import HeadraceError, NotFoundError, StoreError, UsageError

if TYPE_CHECKING:
    from headrace.flow.stretch import Stretch
    from headrace.home import Home
    from headrace.system import System

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From raw data to watched predictions, in batch, on request and on a stream, from one declaration.",
)

Name = Annotated[
    str,
    typer.Argument(metavar="SYSTEM", help="A folder with system.py, a name below systems/, or an installed one."),
]
HomeDir = Annotated[
    Path | None,
    typer.Option("--home", metavar="DIR", envvar="HEADRACE_HOME", help="All state is under it; default .headrace."),
]
Json = Annotated[bool, typer.Option("--json", help="Exactly one JSON document on stdout.")]
Sets = Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Over config.yaml; repeatable.")]
SourceUri = Annotated[
    str | None, typer.Option("--source", metavar="URI", help="api, file:PATH, simulated[:?key=value&...]")
]
AsOf = Annotated[
    str | None,
    typer.Option("--as-of", metavar="TIME", help="See exactly what was known then; ISO 8601 with zone. Default: now."),
]
Start = Annotated[str, typer.Option("--start", metavar="TIME", help="The first time; ISO 8601 with zone.")]
End = Annotated[str, typer.Option("--end", metavar="TIME", help="No time is later than this.")]
Every = Annotated[str, typer.Option("--every", metavar="D", help="From one time to the next: 1h, 6h, 1d.")]

_REFUSED: Any = typer.BadParameter.__base__
"""What the parser raises on a wrong option, argument or command; typer gives it no name of its own."""


@dataclass(frozen=True)
class Common:
    """The options that every command takes."""

    home: Path | None
    json: bool
    settings: list[str]

    def open(self) -> Home:
        """The home, from the settings of the environment."""
        from headrace.home import Home
        from headrace.settings import load_settings

        return Home(load_settings(self.home))

    def system(self, reference: str) -> System:
        """A system with the configuration over it."""
        from headrace.loading import load_system

        return load_system(reference, self.settings)


_COMMON = {"home": (HomeDir, None), "json": (Json, False), "settings": (Sets, None)}


def _command(function: Callable[..., None]) -> Callable[..., None]:
    """Add the common options, print typed errors as such, as JSON where asked for, and exit with their status."""

    @functools.wraps(function)
    def wrapped(
        *args: Any, home: Path | None = None, json: bool = False, settings: list[str] | None = None, **kwargs: Any
    ) -> None:
        try:
            function(Common(home, json, settings or []), *args, **kwargs)
        except (HeadraceError, OSError) as error:
            from headrace import console

            known = error if isinstance(error, HeadraceError) else StoreError(_refusal(error), where=error.filename)
            console.failed(known, as_json=json)
            raise typer.Exit(known.exit_code) from error

    own = [p for name, p in inspect.signature(function, eval_str=True).parameters.items() if name != "use"]
    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in _COMMON.items()
    ]
    signature = inspect.Signature([*own, *common])
    wrapped.__signature__ = signature  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    return app.command()(wrapped)


def _refusal(error: OSError) -> str:
    return f"the operating system refused: {error.strerror or error}"


def _time(text: str | None, now: datetime, where: str = "--as-of") -> datetime:
    if text is None:
        return now
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is not a time", where=where, hint="write it as 2023-01-20T16:00:00Z") from error
    if moment.tzinfo is None:
        raise UsageError(f"{text!r} has no zone", where=where, hint=f"write it as {text}Z for UTC")
    return moment.astimezone(UTC)


def _duration(text: str, where: str) -> timedelta:
    from headrace.declaration import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(str(error), where=where) from error


def _stretch(start: str, end: str, every: str) -> Stretch:
    from headrace.flow.stretch import Stretch

    now = datetime.now(UTC)
    return Stretch(_time(start, now, "--start"), _time(end, now, "--end"), _duration(every, "--every"))


def _steps(
    use: Common, name: str, source: str | None, as_of: str | None, steps: tuple[str, ...], *, retrain: bool = False
) -> None:
    from headrace import console
    from headrace.flow.run import Request, run

    now = datetime.now(UTC)
    moment = _time(as_of, now)
    system, home = use.system(name), use.open()
    with console.progress(system.name) as on_progress:

        def on_step(step: str) -> None:
            on_progress(step, steps.index(step), len(steps))

        result = run(system, home, Request(moment, now, source, steps, retrain, on_step))
    if use.json:
        console.print_json(result.as_dict())
    else:
        console.run_report(system, home, result)


@_command
def run(use: Common, name: Name, source: SourceUri = None, as_of: AsOf = None) -> None:
    """Ingest, validate, features, train when due, predict, monitor."""
    _steps(use, name, source, as_of, ("ingest", "validate", "features", "train", "predict", "monitor"))


@_command
def ingest(use: Common, name: Name, source: SourceUri = None, as_of: AsOf = None) -> None:
    """Read the source, validate, store what is new."""
    _steps(use, name, source, as_of, ("ingest", "validate"))


def _ingested(source: str | None) -> tuple[str, ...]:
    """The steps before one that reads the store only: a source that is named is ingested first."""
    return () if source is None else ("ingest", "validate")


@_command
def train(use: Common, name: Name, source: SourceUri = None, as_of: AsOf = None) -> None:
    """Train a version now; it becomes the champion if it beats the present one. --source is ingested first."""
    _steps(use, name, source, as_of, (*_ingested(source), "train"), retrain=True)


@_command
def predict(use: Common, name: Name, source: SourceUri = None, as_of: AsOf = None) -> None:
    """Predict every series, or every row without a target, with the champion; --source is ingested first."""
    _steps(use, name, source, as_of, (*_ingested(source), "features", "predict"))


@_command
def monitor(use: Common, name: Name, source: SourceUri = None, as_of: AsOf = None) -> None:
    """Compare matured predictions with the truth; --source is ingested first."""
    _steps(use, name, source, as_of, (*_ingested(source), "monitor"))


@_command
def backfill(
    use: Common,
    name: Name,
    start: Start,
    end: End,
    every: Every,
    source: SourceUri = None,
    workers: Annotated[int, typer.Option("--workers", metavar="N", help="Processes. Default: one a core.")] = 0,
) -> None:
    """Do all runs between two times, in parallel, equal to having run live."""
    from headrace import console
    from headrace.flow.backfill import Request, backfill

    system, home, stretch = use.system(name), use.open(), _stretch(start, end, every)
    with console.progress(system.name) as on_progress:
        request = Request(stretch, datetime.now(UTC), source, workers or home.workers, on_progress)
        done = backfill(system, home, request)
    if use.json:
        console.print_json(done.as_dict())
    else:
        console.backfill_report(system, done)
    if done.failed:
        raise typer.Exit(1)


@_command
def evaluate(
    use: Common,
    name: Name,
    start: Annotated[str | None, typer.Option("--start", metavar="TIME", help="The first origin.")] = None,
    end: Annotated[str | None, typer.Option("--end", metavar="TIME", help="No origin is later than this.")] = None,
    every: Annotated[str | None, typer.Option("--every", metavar="D", help="From one origin to the next.")] = None,
    retrain: Annotated[
        str | None, typer.Option("--retrain", metavar="D", help="Train anew this often. Default: once, at the start.")
    ] = None,
    source: SourceUri = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="FILE", help="Rows with a target, for a system that scores rows.")
    ] = None,
) -> None:
    """Backtest from rolling origins, or score the champion on held-out rows. Stores nothing."""
    from headrace import console

    system, home = use.system(name), use.open()
    if not system.forecasts:
        from headrace.flow.holdout import holdout

        if data is None or start or end or every or retrain:
            raise UsageError(f"{system.name} scores rows", where="evaluate", hint="give it rows: --data FILE")
        found = holdout(system, home, data, datetime.now(UTC))
        console.print_tree(found, as_json=use.json)
        return
    from headrace.flow.evaluate import Request, evaluate

    if data is not None or start is None or end is None or every is None:
        raise UsageError(f"{system.name} forecasts", where="evaluate", hint="give --start, --end and --every")
    stretch, again = _stretch(start, end, every), _duration(retrain, "--retrain") if retrain else None
    with console.progress(system.name) as on_progress:
        done = evaluate(system, home, Request(stretch, datetime.now(UTC), again, source, on_progress))
    if use.json:
        console.print_json(done.as_dict())
    else:
        console.evaluation_report(done)


@_command
def report(
    use: Common,
    name: Name,
    as_of: AsOf = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write there.")] = None,
) -> None:
    """Write a page about errors, coverage and the newest forecasts."""
    from headrace import console
    from headrace.reporting import write_report

    now = datetime.now(UTC)
    made = write_report(use.system(name), use.open(), as_of=_time(as_of, now) if as_of else None, now=now, out=out)
    console.print_tree({"report": str(made.path), **made.summary}, as_json=use.json)


@_command
def predictions(
    use: Common,
    name: Name,
    where: Annotated[
        list[str] | None, typer.Option("--where", metavar="COL=VALUE", help="Only these; repeatable.")
    ] = None,
    as_of: Annotated[str | None, typer.Option("--as-of", metavar="TIME", help="The forecast as it stood then.")] = None,
    form: Annotated[str, typer.Option("--format", help="table, json, csv or parquet.")] = "table",
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write there.")] = None,
) -> None:
    """Read stored predictions."""
    from headrace import console
    from headrace.pipelines import inference, row_inference

    conditions = {}
    for text in where or []:
        column, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"{text!r} is not COL=VALUE", where="--where")
        conditions[column] = value
    moment = _time(as_of, datetime.now(UTC)) if as_of else None
    system = use.system(name)
    reader = inference.read_predictions if system.forecasts else row_inference.read
    frame = reader(system, use.open(), as_of=moment, where=conditions)
    console.print_frame(frame, form="json" if use.json else form, out=out)


@_command
def trace(use: Common, prediction: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Show the chain behind a prediction."""
    from headrace import console
    from headrace.pipelines.inference import trace as find

    console.print_tree(find(use.open(), prediction), as_json=use.json)


@_command
def replay(use: Common, prediction: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Compute a prediction again from its pins; the number must be identical."""
    from headrace import console
    from headrace.pipelines.inference import replay as repeat

    done = repeat(use.open(), prediction)
    console.print_tree(done, as_json=use.json)
    if not done["identical"]:
        raise typer.Exit(1)


@_command
def runs(
    use: Common,
    name: Name,
    failed: Annotated[bool, typer.Option("--failed", help="Only those that failed.")] = False,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="So many at most.")] = 20,
) -> None:
    """List the last runs, newest first, the failed ones included."""
    from headrace import console
    from headrace.pipelines.runs import newest

    system = use.system(name).name
    console.print_runs(system, newest(use.open(), system, limit, failed=failed), as_json=use.json)


@_command
def models(use: Common, name: Name) -> None:
    """List model versions, their metrics and the champion."""
    _show_models(use, use.system(name).name)


@_command
def serve(
    use: Common,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[SYSTEM ...]", help="Default: all below systems/.")
    ] = None,
    host: Annotated[str, typer.Option("--host", metavar="H")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="P", min=1, max=65_535)] = 8000,
    workers: Annotated[int, typer.Option("--workers", metavar="N", min=1, help="Processes.")] = 1,
    unlogged: Annotated[bool, typer.Option("--unlogged", help="Store no prediction: for load tests.")] = False,
    access_log: Annotated[
        str, typer.Option("--access-log", metavar="WHAT", help="off, on (a JSON line a request), or inputs too.")
    ] = "on",
    cors: Annotated[
        list[str] | None, typer.Option("--cors", metavar="ORIGIN", help="Browsers may call from there; repeatable.")
    ] = None,
) -> None:
    """Answer rows over HTTP, and read forecasts, metrics and traces."""
    from headrace.serving.http.options import Options
    from headrace.serving.http.server import Binding, serve

    if access_log not in ("off", "on", "inputs"):
        raise UsageError(f"{access_log!r} is none of off, on, inputs", where="--access-log")
    found = names or sorted(str(path.parent) for path in Path("systems").glob("*/system.py"))
    if not found:
        raise UsageError("there is no system to serve", where="systems/", hint="name one: headrace serve SYSTEM")
    options = Options(
        systems=tuple(found),
        settings=tuple(use.settings),
        logged=not unlogged,
        access_log=access_log != "off",
        log_inputs=access_log == "inputs",
        cors=tuple(cors or ()),
    )
    serve(use.home, options, Binding(host, port, workers))


@_command
def export(use: Common, name: Name) -> None:
    """Copy logged predictions from the ledger to the store, each once."""
    from headrace import console
    from headrace.pipelines.row_inference import export

    system, home = use.system(name), use.open()
    if system.forecasts:
        raise UsageError("its predictions are in the store already", where=system.name)
    console.print_tree({"system": system.name, "exported": export(system, home)}, as_json=use.json)


@_command
def online(
    use: Common,
    name: Annotated[str, typer.Argument(metavar="SYSTEM", help="Whose feature groups; as the store knows it.")],
    group: Annotated[str | None, typer.Option("--group", metavar="NAME", help="This one alone.")] = None,
) -> None:
    """Make the online side of feature groups anew from their tables."""
    from headrace import console
    from headrace.store import FeatureGroup

    home, now = use.open(), datetime.now(UTC)
    names = [group] if group is not None else FeatureGroup.names(home.store, name)
    groups = [FeatureGroup.open(home.store, name, each) for each in names]
    versions = {each.name: home.online.rebuild(each, now=now) for each in groups if each.online}
    if not versions:
        raise NotFoundError("no feature group is online", where=name, hint="declare it with online=1 and write to it")
    console.print_tree({"system": name, "online": versions}, as_json=use.json)


@_command
def lookup(
    use: Common,
    name: Annotated[str, typer.Argument(metavar="SYSTEM", help="Whose features; as the store knows it.")],
    view: Annotated[str, typer.Argument(metavar="VIEW", help="A feature view, or a group.")],
    key: Annotated[list[str] | None, typer.Argument(metavar="[KEY ...]", help="A value for each of its keys.")] = None,
    last: Annotated[int, typer.Option("--last", metavar="N", min=0, help="The last N observations.")] = 0,
    as_of: AsOf = None,
) -> None:
    """Look stored features up by key: the latest known values, or the last observations."""
    from headrace import console
    from headrace.lookup import look_up
    from headrace.store import FeatureView

    now = datetime.now(UTC)
    found = look_up(FeatureView.open(use.open().store, name, view), key or [], at=_time(as_of, now), last=last)
    rows = [{"time": each.time, "known_at": each.known_at, "values": dict(each)} for each in found]
    console.print_tree({"system": name, "view": view, "key": key or [], "found": rows}, as_json=use.json)


Since = Annotated[
    str | None,
    typer.Option("--as-of", metavar="TIME", help="From when on. Default: from the newest run on."),
]


@_command
def promote(
    use: Common, name: Name, version: Annotated[int, typer.Argument(metavar="VERSION")], as_of: Since = None
) -> None:
    """Make a version the champion."""
    system, now = use.system(name).name, datetime.now(UTC)
    since = _time(as_of, now) if as_of else None
    use.open().registry.promote(system, version, created_at=now, as_of=since, reason="by hand")
    _show_models(use, system)


@_command
def rollback(use: Common, name: Name, as_of: Since = None) -> None:
    """Go back to the champion before the present one."""
    system, now = use.system(name).name, datetime.now(UTC)
    since = _time(as_of, now) if as_of else None
    use.open().registry.rollback(system, created_at=now, as_of=since, reason="by hand")
    _show_models(use, system)


def _show_models(use: Common, system: str) -> None:
    from headrace import console

    console.print_models(system, use.open().registry.versions(system), as_json=use.json)


Bootstrap = Annotated[str, typer.Option("--bootstrap", metavar="H:P", help="The Kafka cluster.")]


@_command
def stream(
    use: Common,
    name: Name,
    bootstrap: Bootstrap,
    workers: Annotated[
        int, typer.Option("--workers", metavar="N", help="Processes; at most one a partition works.")
    ] = 1,
    port: Annotated[int, typer.Option("--port", metavar="P", help="Metrics and health; the next free one.")] = 9464,
    partitions: Annotated[int, typer.Option("--partitions", metavar="N", help="Of topics that it makes.")] = 4,
    idle: Annotated[
        str | None, typer.Option("--stop-when-idle", metavar="D", help="Stop after D without events.")
    ] = None,
) -> None:
    """Answer events on a Kafka topic with predictions on another, exactly once."""
    from headrace import console
    from headrace.serving.stream.run import Job, run
    from headrace.serving.stream.worker import Options

    rest = _duration(idle, "--stop-when-idle").total_seconds() if idle else None
    options = Options(partitions=partitions, idle=rest)
    done = run(Job(name, tuple(use.settings), use.home, bootstrap, port, options), workers)
    console.print_tree(done, as_json=use.json)


@_command
def archive(use: Common, name: Name, bootstrap: Bootstrap) -> None:
    """Bring events and predictions from the topics into the tables, and compute each prediction again on the way."""
    from headrace import console
    from headrace.serving.stream.archive import archive as store
    from headrace.sources.broker import Broker

    home = use.open()
    done = store(use.system(name), home, Broker(bootstrap, home.kafka), datetime.now(UTC))
    console.print_tree(done, as_json=use.json)
    if done["differing"]:
        raise typer.Exit(1)


@_command
def letters(
    use: Common,
    name: Name,
    bootstrap: Bootstrap,
    late: Annotated[bool, typer.Option("--late", help="Events that came too late, not bad ones.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Also those that were sent again.")] = False,
    limit: Annotated[int, typer.Option("--limit", metavar="N", help="List so many at most.")] = 100,
    resend: Annotated[bool, typer.Option("--resend", help="Send them again as they came, each once.")] = False,
) -> None:
    """List events that the stream set apart, with the reasons, or send them again after a fix."""
    from itertools import islice

    from headrace import console
    from headrace.serving.stream import letters as apart
    from headrace.sources.broker import Broker, Topics

    broker, topics = Broker(bootstrap, use.open().kafka), Topics(use.system(name).name)
    if resend:
        console.print_tree({"resent": apart.resend(broker, topics, late=late)}, as_json=use.json)
        return
    found = islice(apart.letters(broker, topics, late=late, everything=everything), limit)
    console.print_tree({"letters": [apart.described(each) for each in found]}, as_json=use.json)


@_command
def produce(
    use: Common,
    name: Name,
    bootstrap: Bootstrap,
    source: SourceUri = None,
    speed: Annotated[float, typer.Option("--speed", metavar="X", help="1 is real time; 0 as fast as possible.")] = 1.0,
    start: Annotated[str | None, typer.Option("--start", metavar="TIME", help="No event is earlier.")] = None,
    end: Annotated[str | None, typer.Option("--end", metavar="TIME", help="No event is later. Default: now.")] = None,
) -> None:
    """Send a source's records to the system's topic, at real or scaled speed."""
    import signal
    import threading

    from headrace import console
    from headrace.serving.stream.produce import Playing
    from headrace.serving.stream.produce import produce as send
    from headrace.sources.broker import Broker

    now, stop = datetime.now(UTC), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    playing = Playing(source, _time(start, now, "--start") if start else None, _time(end, now, "--end"), speed, now)
    done = send(use.system(name), Broker(bootstrap, use.open().kafka), playing, stop)
    console.print_tree(done, as_json=use.json)


@_command
def init(
    use: Common,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    like: Annotated[str | None, typer.Option("--like", metavar="SYSTEM", help="Copy this system.")] = None,
) -> None:
    """Make the folder of a new system below systems/."""
    from headrace import console
    from headrace.scaffold import make

    files = make(name, like, Path("systems"))
    made = {"system": name, "files": [str(f) for f in files], "next": f"headrace run {name}"}
    console.print_tree(made, as_json=use.json)


@_command
def doctor(use: Common) -> None:
    """Show what is installed, reachable or misconfigured."""
    from headrace import console
    from headrace.doctor import examine

    findings = examine(use.open())
    console.print_findings(findings, as_json=use.json)
    if any(f["status"] == "failed" for f in findings):
        raise typer.Exit(1)


@app.callback()
def _every() -> None:
    """Without this, an application of one command would not take its name."""


def _application(name: str) -> typer.Typer:
    """All commands, or the one of this name: typer prepares what it is given, for as long as importing it took."""
    asked = [command for command in app.registered_commands if getattr(command.callback, "__name__", "") == name]
    chosen = copy.copy(app)
    chosen.registered_commands = asked or app.registered_commands
    return chosen


def main() -> None:
    """Run the command line. What the parser refuses is told as JSON too, where that was asked for."""
    # Nothing here multiplies matrices: to start OpenBLAS's threads costs more than a refresh has for reading.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.set_threshold(200_000)  # importing makes many objects and no garbage
    atexit.register(gc.freeze)  # nor need the interpreter look for it when it ends
    application = _application(sys.argv[1] if len(sys.argv) > 1 else "")
    if "--json" not in sys.argv:
        application()
    try:
        sys.exit(application(standalone_mode=False) or 0)
    except _REFUSED as error:
        from headrace import console

        console.failed(UsageError(error.format_message().rstrip(".")), as_json=True)
        raise SystemExit(UsageError.exit_code) from error
