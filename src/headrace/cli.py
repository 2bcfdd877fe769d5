"""The command line: thin. It parses, calls, and prints tables, progress and ``--json``."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from headrace.errors import HeadraceError, StoreError, UsageError

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
SourceUri = Annotated[str | None, typer.Option("--source", metavar="URI", help="file:PATH, simulated[:?key=value&...]")]
AsOf = Annotated[
    str | None,
    typer.Option("--as-of", metavar="TIME", help="See exactly what was known then; ISO 8601 with zone. Default: now."),
]

_F = TypeVar("_F", bound=Callable[..., Any])

_REFUSED: Any = typer.BadParameter.__base__
"""What the parser raises on a wrong option, argument or command; typer gives it no name of its own."""


def _command(function: _F) -> _F:
    """Print typed errors as such, as JSON where asked for, and exit with their status."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except (HeadraceError, OSError) as error:
            from headrace import console

            known = error if isinstance(error, HeadraceError) else StoreError(_refusal(error), where=error.filename)
            console.failed(known, as_json=bool(kwargs.get("json")))
            raise typer.Exit(known.exit_code) from error

    return wrapped  # type: ignore[return-value]


def _refusal(error: OSError) -> str:
    return f"the operating system refused: {error.strerror or error}"


def _open(home: Path | None) -> Any:
    from headrace.home import Home
    from headrace.settings import load_settings

    return Home(load_settings(home))


def _system(reference: str, settings: list[str] | None) -> Any:
    from headrace.loading import load_system

    return load_system(reference, settings or [])


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


def _steps(
    name: str,
    home: Path | None,
    json: bool,
    settings: list[str] | None,
    source: str | None,
    as_of: str | None,
    steps: tuple[str, ...],
) -> None:
    from headrace import console
    from headrace.flow.run import Request, run

    now = datetime.now(UTC)
    moment = _time(as_of, now)
    system, opened = _system(name, settings), _open(home)
    with console.progress(system.name) as on_progress:
        begun = iter(range(len(steps)))
        retrain = steps == ("train",)
        on_step = lambda step: on_progress(step, next(begun), len(steps))  # noqa: E731
        result = run(system, opened, Request(moment, now, source, steps, retrain, on_step))
    if json:
        console.print_json(result.as_dict())
    else:
        console.run_report(system, opened, result)


@app.command()
@_command
def run(
    name: Name,
    source: SourceUri = None,
    as_of: AsOf = None,
    home: HomeDir = None,
    json: Json = False,
    settings: Sets = None,
) -> None:
    """Ingest, validate, features, train when due, predict, monitor."""
    _steps(name, home, json, settings, source, as_of, ("ingest", "validate", "features", "train", "predict", "monitor"))


@app.command()
@_command
def ingest(
    name: Name,
    source: SourceUri = None,
    as_of: AsOf = None,
    home: HomeDir = None,
    json: Json = False,
    settings: Sets = None,
) -> None:
    """Read the source, validate, store what is new."""
    _steps(name, home, json, settings, source, as_of, ("ingest", "validate"))


@app.command()
@_command
def train(name: Name, as_of: AsOf = None, home: HomeDir = None, json: Json = False, settings: Sets = None) -> None:
    """Train a version now; it becomes the champion if it beats the present one."""
    _steps(name, home, json, settings, None, as_of, ("train",))


@app.command()
@_command
def predict(name: Name, as_of: AsOf = None, home: HomeDir = None, json: Json = False, settings: Sets = None) -> None:
    """Predict every series with the champion."""
    _steps(name, home, json, settings, None, as_of, ("features", "predict"))


@app.command()
@_command
def monitor(name: Name, as_of: AsOf = None, home: HomeDir = None, json: Json = False, settings: Sets = None) -> None:
    """Compare matured predictions with the truth."""
    _steps(name, home, json, settings, None, as_of, ("monitor",))


Start = Annotated[str, typer.Option("--start", metavar="TIME", help="As-of of the first run; ISO 8601 with zone.")]
End = Annotated[str, typer.Option("--end", metavar="TIME", help="No run is later than this.")]
Every = Annotated[str, typer.Option("--every", metavar="D", help="Time between two runs: 1h, 6h, 1d.")]


def _stretch(start: str, end: str, every: str) -> Any:
    from headrace.declaration import parse_duration
    from headrace.flow.backfill import Stretch

    now = datetime.now(UTC)
    try:
        step = parse_duration(every)
    except ValueError as error:
        raise UsageError(str(error), where="--every") from error
    return Stretch(_time(start, now, "--start"), _time(end, now, "--end"), step)


@app.command()
@_command
def backfill(
    name: Name,
    start: Start,
    end: End,
    every: Every,
    source: SourceUri = None,
    workers: Annotated[int, typer.Option("--workers", metavar="N", help="Processes. Default: one a core.")] = 0,
    home: HomeDir = None,
    json: Json = False,
    settings: Sets = None,
) -> None:
    """Do all runs between two times, in parallel, equal to having run live."""
    from headrace import console
    from headrace.flow.backfill import Request, backfill

    system, opened = _system(name, settings), _open(home)
    stretch = _stretch(start, end, every)
    with console.progress(system.name) as on_progress:
        request = Request(stretch, datetime.now(UTC), source, workers or opened.workers, on_progress)
        done = backfill(system, opened, request)
    if json:
        console.print_json(done.as_dict())
    else:
        console.backfill_report(system, opened, done)
    if done.failed:
        raise typer.Exit(1)


@app.command()
@_command
def predictions(
    name: Name,
    where: Annotated[
        list[str] | None, typer.Option("--where", metavar="COL=VALUE", help="Only these; repeatable.")
    ] = None,
    as_of: Annotated[str | None, typer.Option("--as-of", metavar="TIME", help="The forecast as it stood then.")] = None,
    form: Annotated[str, typer.Option("--format", help="table, json, csv or parquet.")] = "table",
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write there.")] = None,
    home: HomeDir = None,
    json: Json = False,
    settings: Sets = None,
) -> None:
    """Read stored predictions."""
    from headrace import console
    from headrace.pipelines.inference import read_predictions

    conditions = {}
    for text in where or []:
        column, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"{text!r} is not COL=VALUE", where="--where")
        conditions[column] = value
    moment = _time(as_of, datetime.now(UTC)) if as_of else None
    frame = read_predictions(_system(name, settings), _open(home), as_of=moment, where=conditions)
    console.print_frame(frame, form="json" if json else form, out=out)


@app.command()
@_command
def trace(prediction: Annotated[str, typer.Argument(metavar="ID")], home: HomeDir = None, json: Json = False) -> None:
    """Show the chain behind a prediction."""
    from headrace import console
    from headrace.pipelines.inference import trace as find

    console.print_tree(find(_open(home), prediction), as_json=json)


@app.command()
@_command
def replay(prediction: Annotated[str, typer.Argument(metavar="ID")], home: HomeDir = None, json: Json = False) -> None:
    """Compute a prediction again from its pins; the number must be identical."""
    from headrace import console
    from headrace.pipelines.inference import replay as repeat

    done = repeat(_open(home), prediction)
    console.print_tree(done, as_json=json)
    if not done["identical"]:
        raise typer.Exit(1)


@app.command()
@_command
def models(name: Name, home: HomeDir = None, json: Json = False, settings: Sets = None) -> None:
    """List model versions, their metrics and the champion."""
    from headrace import console

    system = _system(name, settings)
    console.print_models(system.name, _open(home).registry.versions(system.name), as_json=json)


@app.command()
@_command
def promote(
    name: Name,
    version: Annotated[int, typer.Argument(metavar="VERSION")],
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar="TIME", help="From when on. Default: from the newest run on."),
    ] = None,
    home: HomeDir = None,
    json: Json = False,
) -> None:
    """Make a version the champion."""
    _decide(
        name,
        as_of,
        home,
        json,
        lambda registry, system, **times: registry.promote(system, version, reason="by hand", **times),
    )


@app.command()
@_command
def rollback(
    name: Name,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar="TIME", help="From when on. Default: from the newest run on."),
    ] = None,
    home: HomeDir = None,
    json: Json = False,
) -> None:
    """Go back to the champion before the present one."""
    _decide(
        name,
        as_of,
        home,
        json,
        lambda registry, system, **times: registry.rollback(system, reason="by hand", **times),
    )


def _decide(name: str, as_of: str | None, home: Path | None, json: bool, decide: Callable[..., Any]) -> None:
    from headrace import console

    now = datetime.now(UTC)
    system, registry = _system(name, None).name, _open(home).registry
    decide(registry, system, created_at=now, as_of=_time(as_of, now) if as_of else None)
    console.print_models(system, registry.versions(system), as_json=json)


@app.command()
@_command
def init(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    like: Annotated[str | None, typer.Option("--like", metavar="SYSTEM", help="Copy this system.")] = None,
    json: Json = False,
) -> None:
    """Make the folder of a new system below systems/."""
    from headrace import console
    from headrace.scaffold import make

    files = make(name, like, Path("systems"))
    console.print_tree({"system": name, "files": [str(f) for f in files], "next": f"headrace run {name}"}, as_json=json)


@app.command()
@_command
def doctor(home: HomeDir = None, json: Json = False) -> None:
    """Show what is installed, reachable or misconfigured."""
    from headrace import console
    from headrace.doctor import examine

    findings = examine(_open(home))
    console.print_findings(findings, as_json=json)
    if any(f["status"] == "failed" for f in findings):
        raise typer.Exit(1)


def main() -> None:
    """Run the command line. What the parser refuses is told as JSON too, where that was asked for."""
    if "--json" not in sys.argv:
        app()
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except _REFUSED as error:
        from headrace import console

        console.failed(UsageError(error.format_message().rstrip(".")), as_json=True)
        raise SystemExit(UsageError.exit_code) from error
