"""Commands that show what is stored."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.command import AsOf, Common, Name, command, time_of
from headrace.errors import NotExportedError, NotFoundError, UsageError

if TYPE_CHECKING:
    import polars as pl

    from headrace.console.table import Look
    from headrace.home import Home
    from headrace.system import System


HEADING = "Look"


@command
def report(
    use: Common,
    name: Name,
    as_of: AsOf = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write there.")] = None,
) -> None:
    """Write a page about errors and forecasts. With the coverage of intervals."""
    from headrace import console
    from headrace.reporting import write_report

    now = datetime.now(UTC)
    made = write_report(
        use.system(name), use.open(make=False), as_of=time_of(as_of, now) if as_of else None, now=now, out=out
    )
    told = made.summary if use.json else {name: value for name, value in made.summary.items() if value is not None}
    console.print_tree({"report": str(made.path), **told}, as_json=use.json)


@command
def predictions(
    use: Common,
    name: Name,
    where: Annotated[
        list[str] | None, typer.Option("--where", metavar="COL=VALUE", help="Only these; repeatable.")
    ] = None,
    as_of: Annotated[str | None, typer.Option("--as-of", metavar="TIME", help="The forecast as it stood then.")] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="table, json, csv or parquet. Default: by the ending of --out.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write there.")] = None,
) -> None:
    """Read stored predictions."""
    from headrace import console
    from headrace.pipelines import inference, row_inference

    chosen, conditions = console.format_of(form, out, as_json=use.json), {}
    for text in where or []:
        column, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"{text!r} is not COL=VALUE", where="--where")
        if column in conditions:
            raise UsageError(f"{column} is there twice", where="--where", hint="a row has one value of it")
        conditions[column] = value
    moment = time_of(as_of, datetime.now(UTC)) if as_of else None
    system = use.system(name)
    reader = inference.read_predictions if system.forecasts else row_inference.read
    frame = reader(system, use.open(make=False), as_of=moment, where=conditions)
    if chosen == "table":
        frame = _newest_first(system, frame)
    console.print_frame(frame, _look(system, frame), form=chosen, out=out)
    if chosen == "table" and frame.height:
        console.print_next(f"headrace trace {frame['id'][0]}", use.open(make=False))
    if use.json and out is not None:
        console.print_json({"rows": frame.height, "format": chosen, "out": str(out)})


def _newest_first(system: System, frame: pl.DataFrame) -> pl.DataFrame:
    """The newest run first, its series and steps in their order; of rows the newest first."""
    return frame.sort("as_of" if system.forecasts else "created_at", descending=True, maintain_order=True)


def _look(system: System, frame: pl.DataFrame) -> Look:
    from headrace.console.table import Look

    said = (system.event_time, "value", "lower", "upper") if system.forecasts else (system.target, "probability")
    first, title = (*system.keys, *said), f"{system.name}: {frame.height:,} predictions, newest first"
    more = (*first, "id", "as_of", "served", "model_version", "ahead", "door")
    return Look(title, more, ("inputs",), kept=(*system.keys, *said[:2]), more="--format csv or json shows all")


@command
def trace(use: Common, prediction: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Show the chain behind a prediction."""
    from headrace import console
    from headrace.pipelines.inference import trace as find

    found = find(use.open(make=False), prediction)
    if not use.json:
        del found["prediction"]["id"]  # it is the first line
    console.print_tree(found, as_json=use.json)


@command
def replay(use: Common, prediction: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Compute a prediction again from its pins. The number must be identical; a posted event is exported first."""
    from headrace import console
    from headrace.pipelines.inference import replay as repeat

    home = use.open(make=False)
    try:
        done = repeat(home, prediction)
    except NotExportedError as error:
        _export(use, home, prediction, error)
        done = repeat(home, prediction)
    console.print_tree(done, as_json=use.json)
    if not done["identical"]:
        raise typer.Exit(1)


def _export(use: Common, home: Home, prediction: str, needed: NotExportedError) -> None:
    """Bring a system's posted events into the tables, if the declaration that they were answered by is at hand."""
    from headrace.pipelines.inference import find
    from headrace.serving.posted.export import export

    name, row = find(home, prediction)
    try:
        system = use.system(name)
    except NotFoundError:
        raise needed from None
    if system.config_digest != row["config_digest"]:
        raise needed
    export(system, home)


@command
def runs(
    use: Common,
    name: Name,
    failed: Annotated[bool, typer.Option("--failed", help="Only those that failed.")] = False,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="So many at most.")] = 20,
) -> None:
    """List the last runs, newest first. The failed ones are among them."""
    from headrace import console
    from headrace.pipelines.runs import newest

    system = use.system(name).name
    home = use.open(make=False)
    console.print_runs(system, home, newest(home, system, limit, failed=failed), as_json=use.json)


@command
def lookup(
    use: Common,
    name: Annotated[str, typer.Argument(metavar="SYSTEM", help="Whose features; as the store knows it.")],
    view: Annotated[str, typer.Argument(metavar="VIEW", help="A feature view, or a group.")],
    key: Annotated[list[str] | None, typer.Argument(metavar="[KEY ...]", help="A value for each of its keys.")] = None,
    last: Annotated[int, typer.Option("--last", metavar="N", min=0, help="The last N observations.")] = 0,
    as_of: AsOf = None,
) -> None:
    """Look stored features up by key. The latest known values, or the last observations."""
    from headrace import console
    from headrace.lookup import look_up
    from headrace.store import FeatureView

    now = datetime.now(UTC)
    found = look_up(
        FeatureView.open(use.open(make=False).store, name, view), key or [], at=time_of(as_of, now), last=last
    )
    rows = [{"time": each.time, "known_at": each.known_at, "values": dict(each)} for each in found]
    console.print_tree({"system": name, "view": view, "key": key or [], "found": rows}, as_json=use.json)
