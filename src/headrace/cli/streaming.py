"""Commands about the state of a stream."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headrace.api.times import duration_of, place_of
from headrace.cli.command import Common, Name, command
from headrace.cli.doors import Bootstrap, Shadow
from headrace.errors import UsageError


@command
def stream__rebuild(
    use: Common,
    name: Name,
    bootstrap: Bootstrap,
    tables: Annotated[
        bool, typer.Option("--from-tables", help="Begin with the tables, where the log lacks events.")
    ] = False,
    shadow: Shadow = None,
) -> None:
    """Rebuild the workers' state from the log. No event is answered twice; no worker may run."""
    from headrace import console
    from headrace.serving.stream.offline import rebuild
    from headrace.sources.broker import Broker

    system, home = use.system(name), use.open()
    rebuilt = rebuild(system, home, Broker(bootstrap, home.kafka), tables=tables, shadow=shadow)
    console.print_tree(rebuilt, as_json=use.json)


@command
def stream__savepoint(
    use: Common,
    name: Name,
    bootstrap: Bootstrap,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Default: below the home, stream/SYSTEM.savepoint.")
    ] = None,
    saved: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Put this one back; no worker may run.")
    ] = None,
    shadow: Shadow = None,
) -> None:
    """Save the workers' state, or put it back. Events answered since are not answered twice."""
    from headrace import console
    from headrace.serving.stream import savepoint
    from headrace.sources.broker import Broker

    if out is not None and saved is not None:
        raise UsageError("a savepoint is taken or put back, not both", where="--out, --from")
    system, home = use.system(name), use.open()
    broker = Broker(bootstrap, home.kafka)
    if saved is not None:
        restored = savepoint.restore(system, home, broker, saved, shadow=shadow)
    else:
        path = home.path / "stream" / f"{system.topics.of_shadow(shadow).stream}.savepoint"
        restored = savepoint.save(system, home, broker, out or path, shadow=shadow)
    console.print_tree(restored, as_json=use.json)


@command
def stream__reprocess(
    use: Common,
    name: Name,
    bootstrap: Bootstrap,
    begin: Annotated[str, typer.Option("--from", metavar="OFFSET|TIME", help="Of each partition; 0 for all events.")],
    into: Annotated[str, typer.Option("--into", metavar="GROUP", help="Name of the second stream and its topics.")],
    idle: Annotated[str, typer.Option("--stop-when-idle", metavar="D", help="Stop after D without events.")] = "5s",
) -> None:
    """Answer events again, beside the first answers. On topics and in a group of another name."""
    import signal
    import threading

    from headrace import console
    from headrace.serving.stream.options import WorkerOptions
    from headrace.serving.stream.reprocess import reprocess
    from headrace.sources.broker import Broker

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    first = place_of(begin)
    system, home = use.system(name), use.open()
    options = WorkerOptions(idle=duration_of(idle, "--stop-when-idle").total_seconds())
    reprocessed = reprocess(system, home, Broker(bootstrap, home.kafka), first, into, options, stop)
    console.print_tree(reprocessed, as_json=use.json)
