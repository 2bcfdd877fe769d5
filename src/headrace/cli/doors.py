"""Commands that open a door, and those that bring what passed it to the store."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.api.times import duration_of, place_of, time_of
from headrace.cli.command import AsOf, Common, ExecutorName, Name, SourceUri, command
from headrace.cli.flags import flagged, read
from headrace.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from headrace.executors import Handover
    from headrace.feature_system import FeatureSystem
    from headrace.settings import Settings
    from headrace.system import System


@command
@flagged
def serve(
    use: Common,
    names: Annotated[list[str] | None, typer.Argument(metavar="SYSTEM", help="Default: all below systems/.")] = None,
    unlogged: Annotated[bool, typer.Option("--unlogged", help="Store no prediction: for load tests.")] = False,
    read_only: Annotated[bool, typer.Option("--read-only", help="Nothing can be changed through the pages.")] = False,
    no_pages: Annotated[bool, typer.Option("--no-dashboard", help="Show no pages at /: the API alone.")] = False,
    **given: str | None,
) -> None:
    """Answer over HTTP. Each option also HEADRACE_NAME, as HEADRACE_MAX_BODY."""
    from tempfile import TemporaryDirectory

    from headrace import console
    from headrace.api.tools import tools
    from headrace.dashboard.options import DashboardOptions
    from headrace.dashboard.server import Pages
    from headrace.serving.http.binding import Binding
    from headrace.serving.http.options import Options
    from headrace.serving.http.reads.tools import Above
    from headrace.serving.http.server import serve
    from headrace.serving.standing import standing

    binding = read(Binding, given, {})
    options = read(Options, given, {"logged": not unlogged})
    paths = names or sorted(str(path.parent) for path in Path("systems").glob("*/system.py"))
    if not paths:
        raise UsageError("there is no system to serve", where="systems/", hint="name one: headrace serve SYSTEM")
    systems, home = [use.system(name) for name in paths], use.open()

    def on_start() -> None:
        grpc = {} if binding.grpc_port is None else {"grpc": f"{binding.host}:{binding.grpc_port}"}
        started = {"address": binding.address, "docs": f"{binding.address}/docs", **grpc, "home": str(home.path)}
        console.print_started(started, standing(systems, home), as_json=use.json)

    with TemporaryDirectory(prefix="headrace-sessions-") as folder:
        pages = None if no_pages else Pages(DashboardOptions(read_only=read_only, folder=Path(folder)))
        serve(systems, home.settings, options, binding, on_start, Above(tools(), pages))


@command
def export(use: Common, name: Name) -> None:
    """Copy what was logged to the store, once. Predictions, and posted events as facts."""
    from headrace import console

    done = use.bound(name).export()
    console.print_tree(done, as_json=use.json)
    if done.get("differing"):
        raise typer.Exit(1)


Bootstrap = Annotated[str, typer.Option("--bootstrap", metavar="H:P", help="The Kafka cluster.")]


Shadow = Annotated[
    int | None, typer.Option("--shadow", metavar="VERSION", min=1, help="Of the version that scores beside.")
]


@dataclass(frozen=True)
class Crew:
    """The processes that do the work."""

    workers: Annotated[int, typer.Option("--workers", metavar="N", help="Processes, started again when they die.")] = 1
    executor: ExecutorName = None

    def handed(self, settings: Settings, system: System | FeatureSystem) -> Handover:
        """What they are handed."""
        from headrace.executors import Handover

        if self.executor is not None:
            settings = settings.model_copy(update={"executor": self.executor})
        return Handover.of(settings, system)


@dataclass(frozen=True)
class Waiting:
    """How long a stream waits."""

    idle: Annotated[str | None, typer.Option("--stop-when-idle", metavar="D", help="Stop after D without events.")] = (
        None
    )
    patience: Annotated[
        str | None, typer.Option("--patience", metavar="D", help="Wait so long for a cluster that is away; 10m.")
    ] = None


@dataclass(frozen=True)
class ShadowOption:
    """A version that scores beside the one that answers."""

    shadow: Annotated[
        int | None,
        typer.Option("--shadow", metavar="VERSION", min=1, help="Score beside with this version, and answer nobody."),
    ] = None
    begin: Annotated[
        str | None,
        typer.Option("--from", metavar="OFFSET|TIME", help="Where a shadow begins. Default: where the stream is."),
    ] = None


@command
def stream(
    use: Common,
    name: Name,
    bootstrap: Bootstrap,
    crew: Crew,
    waiting: Waiting,
    beside: ShadowOption,
    port: Annotated[int, typer.Option("--port", metavar="P", help="Metrics and health; the next free one.")] = 9464,
    partitions: Annotated[
        int | None, typer.Option("--partitions", metavar="N", min=1, help="Of topics that it makes.")
    ] = None,
) -> None:
    """Answer events of a Kafka topic on another. Each exactly once."""
    from headrace import console
    from headrace.serving.standing import standing
    from headrace.serving.stream.options import WorkerOptions
    from headrace.serving.stream.reprocess import offsets_of
    from headrace.serving.stream.run import StreamJob, run
    from headrace.sources.broker import Broker

    rest = duration_of(waiting.idle, "--stop-when-idle").total_seconds() if waiting.idle else None
    system, home = use.system(name), use.open()
    waits = duration_of(waiting.patience, "--patience") if waiting.patience else home.settings.stream_patience
    topics, begins = system.topics.of_shadow(beside.shadow), None
    if beside.begin is not None:
        if beside.shadow is None:
            hint = f"to answer events once more: headrace stream reprocess {system.name}"
            raise UsageError("a shadow begins somewhere, an answer does not", where="--from", hint=hint)
        begins = offsets_of(Broker(bootstrap, home.kafka), topics.events, place_of(beside.begin))
    options = WorkerOptions(
        partitions=partitions, idle=rest, patience=waits.total_seconds(), topics=topics, begins=begins
    )
    job = StreamJob(crew.handed(home.settings, system), bootstrap, port, options)

    def on_start() -> None:
        path = f"{topics.events} to {topics.output}"
        started = {"broker": bootstrap, "topics": path, "metrics": f"http://localhost:{port}/metrics"}
        if beside.shadow is not None:
            started["beside"] = f"version {beside.shadow}, in the group {topics.group}"
        if not use.json:  # its one document tells what was done
            console.print_started(started, standing([system], home), as_json=False)

    summary = run(job, crew.workers, on_start)
    console.print_tree(summary, as_json=use.json)


@dataclass
class FromTopic:
    """How features are computed from a topic."""

    bootstrap: Annotated[
        str | None, typer.Option("--bootstrap", metavar="H:P", help="From a topic of this cluster, until SIGTERM.")
    ] = None
    port: Annotated[int, typer.Option("--port", metavar="P", help="Metrics and health; the next free one.")] = 9464
    idle: Annotated[str | None, typer.Option("--stop-when-idle", metavar="D", help="Stop after D without events.")] = (
        None
    )
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Make the state anew from the topic first.")] = False
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Go on where events are gone before they were read.")
    ] = False


@command
def materialize(
    use: Common, name: Name, topic: FromTopic, crew: Crew, source: SourceUri = None, as_of: AsOf = None
) -> None:
    """Write features of events to a feature group. From a source once, or from a topic as they come.

    From the tables of groups to their online side: headrace materialize online.
    """
    from headrace import console
    from headrace.serving.stream.features.materialize import materialize as write

    if topic.bootstrap is None:
        if topic != FromTopic():
            raise UsageError("there is no topic", where="--bootstrap", hint="say --bootstrap HOST:PORT")
        now = datetime.now(UTC)
        backfill = write(use.features(name), use.open(), source=source, as_of=time_of(as_of, now), now=now)
        console.print_tree(backfill, as_json=use.json)
        return
    if source or as_of:
        raise UsageError("events come from the topic", where="--bootstrap", hint="leave --source and --as-of out")
    from headrace.serving.stream.features.run import FeedJob, run
    from headrace.serving.stream.features.worker import FeedOptions

    system, home = use.features(name), use.open()
    rest = duration_of(topic.idle, "--stop-when-idle").total_seconds() if topic.idle else None
    waits = home.settings.stream_patience.total_seconds()
    options = FeedOptions(idle=rest, patience=waits, accept_loss=topic.accept_loss)
    job = FeedJob(crew.handed(home.settings, use.features(name)), topic.bootstrap, topic.port, options)

    def on_start() -> None:
        started = {"broker": topic.bootstrap or "", "topic": system.topics.events, "group": f"{system.name}/features"}
        if not use.json:  # its one document tells what was done
            console.print_started({**started, "metrics": f"http://localhost:{topic.port}/metrics"}, [], as_json=False)

    console.print_tree(run(job, crew.workers, on_start, rebuild=topic.rebuild), as_json=use.json)


@command
def materialize__online(
    use: Common,
    name: Annotated[str, typer.Argument(metavar="SYSTEM", help="Whose feature groups; as the store knows it.")],
    group: Annotated[str | None, typer.Option("--group", metavar="NAME", help="This one alone.")] = None,
) -> None:
    """Bring the features of groups online anew. From their tables."""
    from headrace import console
    from headrace.store import FeatureGroup
    from headrace.store.fed import settle

    home, now = use.open(make=False), datetime.now(UTC)
    names = [group] if group is not None else FeatureGroup.names(home.store, name)
    groups = [FeatureGroup.open(home.store, name, item) for item in names]
    for item in groups:
        settle(item)
    versions = {group.name: home.online.rebuild(group, now=now) for group in groups if group.online}
    if not versions:
        raise NotFoundError("no feature group is online", where=name, hint="declare it with online=1 and write to it")
    console.print_tree({"system": name, "online": versions}, as_json=use.json)


@command
def archive(use: Common, name: Name, bootstrap: Bootstrap) -> None:
    """Bring the topics into the tables. Events and predictions, each computed again on the way."""
    from headrace import console
    from headrace.serving.stream.archive import archive as store
    from headrace.sources.broker import Broker

    home = use.open()
    topics = store(use.system(name), home, Broker(bootstrap, home.kafka), datetime.now(UTC))
    console.print_tree(topics, as_json=use.json)
    if topics["differing"] or topics.get("shadows", {}).get("differing"):
        raise typer.Exit(1)


@command
def produce(
    use: Common,
    name: Name,
    bootstrap: Bootstrap,
    source: SourceUri = None,
    speed: Annotated[
        float, typer.Option("--speed", metavar="X", min=0, help="1 is real time; 0 as fast as possible.")
    ] = 1.0,
    start: Annotated[str | None, typer.Option("--start", metavar="TIME", help="No event is earlier.")] = None,
    end: Annotated[str | None, typer.Option("--end", metavar="TIME", help="No event is later. Default: now.")] = None,
) -> None:
    """Send a source's records to the topic. At real or scaled speed."""
    import signal
    import threading

    from headrace import console
    from headrace.serving.stream.produce import Playing
    from headrace.serving.stream.produce import produce as send
    from headrace.sources.broker import Broker

    now, stop = datetime.now(UTC), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    playing = Playing(source, time_of(start, now, "--start") if start else None, time_of(end, now, "--end"), speed, now)
    sent = send(use.system(name), Broker(bootstrap, use.open().kafka), playing, stop)
    console.print_tree(sent, as_json=use.json)
