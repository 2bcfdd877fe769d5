"""Commands that open a door, and those that bring what passed it to the store."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from headrace.cli.command import Common, Name, SourceUri, command, duration_of, time_of
from headrace.cli.flags import flagged, read
from headrace.errors import NotFoundError, UsageError

HEADING = "Serve and stream"


@command
@flagged
def serve(
    use: Common,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[SYSTEM ...]", help="Default: all below systems/.")
    ] = None,
    unlogged: Annotated[bool, typer.Option("--unlogged", help="Store no prediction: for load tests.")] = False,
    **given: str | None,
) -> None:
    """Answer over HTTP. Each option also HEADRACE_NAME, as HEADRACE_MAX_BODY."""
    from headrace import console
    from headrace.serving.http.binding import Binding
    from headrace.serving.http.options import Options
    from headrace.serving.http.server import serve
    from headrace.serving.standing import standing

    binding = read(Binding, given, {})
    options = read(Options, given, {"logged": not unlogged})
    found = names or sorted(str(path.parent) for path in Path("systems").glob("*/system.py"))
    if not found:
        raise UsageError("there is no system to serve", where="systems/", hint="name one: headrace serve SYSTEM")
    systems, home = [use.system(each) for each in found], use.open()

    def on_start() -> None:
        started = {"address": binding.address, "docs": f"{binding.address}/docs", "home": str(home.path)}
        console.print_started(started, standing(systems, home), as_json=use.json)

    serve(systems, home.settings, options, binding, on_start)


@command
def export(use: Common, name: Name) -> None:
    """Copy what was logged to the store, once. Predictions, and posted events as facts."""
    from headrace import console
    from headrace.pipelines import shadows
    from headrace.pipelines.row_inference import export
    from headrace.serving.posted.export import export as export_events

    system, home = use.system(name), use.open()
    with console.progress(system.name) as tell:
        if system.forecasts:
            done = export_events(system, home, tell)
        else:
            done = {"exported": export(system, home, on_progress=tell)}
            if beside := shadows.export(system, home, on_progress=tell):
                done["shadows"] = beside
    console.print_tree({"system": system.name, **done}, as_json=use.json)
    if done.get("differing"):
        raise typer.Exit(1)


@command
def online(
    use: Common,
    name: Annotated[str, typer.Argument(metavar="SYSTEM", help="Whose feature groups; as the store knows it.")],
    group: Annotated[str | None, typer.Option("--group", metavar="NAME", help="This one alone.")] = None,
) -> None:
    """Make the online side of features anew. From the tables of their groups."""
    from headrace import console
    from headrace.store import FeatureGroup

    home, now = use.open(make=False), datetime.now(UTC)
    names = [group] if group is not None else FeatureGroup.names(home.store, name)
    groups = [FeatureGroup.open(home.store, name, each) for each in names]
    versions = {each.name: home.online.rebuild(each, now=now) for each in groups if each.online}
    if not versions:
        raise NotFoundError("no feature group is online", where=name, hint="declare it with online=1 and write to it")
    console.print_tree({"system": name, "online": versions}, as_json=use.json)


Bootstrap = Annotated[str, typer.Option("--bootstrap", metavar="H:P", help="The Kafka cluster.")]


@command
def stream(
    use: Common,
    name: Name,
    bootstrap: Bootstrap,
    workers: Annotated[int, typer.Option("--workers", metavar="N", help="Processes, started again when they die.")] = 1,
    port: Annotated[int, typer.Option("--port", metavar="P", help="Metrics and health; the next free one.")] = 9464,
    partitions: Annotated[
        int | None, typer.Option("--partitions", metavar="N", min=1, help="Of topics that it makes.")
    ] = None,
    idle: Annotated[
        str | None, typer.Option("--stop-when-idle", metavar="D", help="Stop after D without events.")
    ] = None,
    patience: Annotated[
        str | None, typer.Option("--patience", metavar="D", help="Wait so long for a cluster that is away; 10m.")
    ] = None,
) -> None:
    """Answer events of a Kafka topic on another. Each exactly once.

    Its state: headrace stream rebuild, stream savepoint, stream reprocess; each has its own --help.
    """
    from headrace import console
    from headrace.serving.standing import standing
    from headrace.serving.stream.run import Job, run
    from headrace.serving.stream.worker import Options

    rest = duration_of(idle, "--stop-when-idle").total_seconds() if idle else None
    system, home = use.system(name), use.open()
    waits = duration_of(patience, "--patience") if patience else home.settings.stream_patience
    options = Options(partitions=partitions, idle=rest, patience=waits.total_seconds())
    job = Job(system, home.settings, bootstrap, port, options)

    def on_start() -> None:
        topics = f"{system.topics.events} to {system.topics.predictions}"
        started = {"broker": bootstrap, "topics": topics, "metrics": f"http://localhost:{port}/metrics"}
        if not use.json:  # its one document tells what was done
            console.print_started(started, standing([system], home), as_json=False)

    done = run(job, workers, on_start)
    console.print_tree(done, as_json=use.json)


@command
def archive(use: Common, name: Name, bootstrap: Bootstrap) -> None:
    """Bring the topics into the tables. Events and predictions, each computed again on the way."""
    from headrace import console
    from headrace.serving.stream.archive import archive as store
    from headrace.sources.broker import Broker

    home = use.open()
    done = store(use.system(name), home, Broker(bootstrap, home.kafka), datetime.now(UTC))
    console.print_tree(done, as_json=use.json)
    if done["differing"]:
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
    done = send(use.system(name), Broker(bootstrap, use.open().kafka), playing, stop)
    console.print_tree(done, as_json=use.json)
