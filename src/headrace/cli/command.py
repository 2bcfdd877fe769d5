"""What all commands share: the common options, how times are read, and how typed errors are told."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from typer.core import TyperGroup

from headrace.cli.flags import Grouped
from headrace.errors import HeadraceError, NotFoundError, StoreError, UsageError
from headrace.lineage import iso

if TYPE_CHECKING:
    from headrace.flow.stretch import Stretch
    from headrace.home import Home
    from headrace.system import System


class Contents(TyperGroup):
    """All commands under the headings of their modules, each in a line."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """A command of two words, if these are one."""
        words = " ".join(args[:2])
        if words in self.commands:
            return words, self.commands[words], args[2:]
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write them, in place of the one list."""
        listed = [
            name for name in self.list_commands(ctx) if " " not in name
        ]  # those are told by the first word's help
        commands = {name: self.get_command(ctx, name) for name in listed}
        widest = max(map(len, commands), default=0)
        under: dict[str, list[tuple[str, str]]] = {}
        for name, each in commands.items():
            heading = getattr(sys.modules[each.callback.__module__], "HEADING", "More")  # type: ignore[union-attr]
            short = each.get_short_help_str(formatter.width - widest - 6)  # type: ignore[union-attr]
            under.setdefault(heading, []).append((name.ljust(widest), short))
        for heading, rows in under.items():
            with formatter.section(heading):
                formatter.write_dl(rows)


app = typer.Typer(
    cls=Contents,
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
    str | None,
    typer.Option("--source", metavar="URI", help="api, file:PATH, kafka://HOST:PORT/TOPIC, simulated[:?key=value&...]"),
]


AsOf = Annotated[
    str | None,
    typer.Option("--as-of", metavar="TIME", help="See exactly what was known then; ISO 8601 with zone. Default: now."),
]


Start = Annotated[str, typer.Option("--start", metavar="TIME", help="The first time; ISO 8601 with zone.")]


End = Annotated[str, typer.Option("--end", metavar="TIME", help="No time is later than this.")]


Every = Annotated[str, typer.Option("--every", metavar="D", help="From one time to the next: 1h, 6h, 1d.")]


Simulated = Annotated[
    bool, typer.Option("--simulated", help="The time may lie after the clock: what is done is a simulation.")
]


SKEW = timedelta(minutes=5)
"""Clocks of hosts differ by less."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Common:
    """The options that every command takes."""

    home: Path | None
    json: bool
    settings: list[str]
    opened: Home | None = None

    def open(self, *, make: bool = True) -> Home:
        """The home, from the settings of the environment; with `make` off, one that reading does not make."""
        from headrace.home import Home
        from headrace.settings import load_settings

        self.opened = Home(load_settings(self.home), make=make)
        return self.opened

    def told(self, error: HeadraceError) -> HeadraceError:
        """An error, and of what is not there also where it was looked for."""
        if self.opened is not None and isinstance(error, NotFoundError):
            looked = f"looked in {self.opened.path}"
            if not self.opened.path.is_dir():
                looked += ", which is not there; --home DIR names another"
            error.hint = f"{error.hint}; {looked}" if error.hint else looked
        return error

    def system(self, reference: str) -> System:
        """A system with the configuration over it."""
        from headrace.loading import load_system

        return load_system(reference, self.settings)


_COMMON = {"home": (HomeDir, None), "json": (Json, False), "settings": (Sets, None)}


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Add the common options, print typed errors as such, as JSON where asked for, and exit with their status.

    A parameter that is a dataclass stands for options that belong together: each of its fields is one.
    """
    bundles: dict[str, Any] = {
        name: p.annotation
        for name, p in inspect.signature(function, eval_str=True).parameters.items()
        if dataclasses.is_dataclass(p.annotation) and p.annotation is not Common
    }

    @functools.wraps(function)
    def wrapped(
        *args: Any, home: Path | None = None, json: bool = False, settings: list[str] | None = None, **kwargs: Any
    ) -> None:
        use = Common(home, json, settings or [])
        for name, kind in bundles.items():
            kwargs[name] = kind(**{f.name: kwargs.pop(f.name) for f in dataclasses.fields(kind)})
        try:
            function(use, *args, **kwargs)
        except (HeadraceError, OSError) as error:
            from headrace import console

            known = error if isinstance(error, HeadraceError) else StoreError(_refusal(error), where=error.filename)
            console.failed(use.told(known), as_json=json)
            raise typer.Exit(known.exit_code) from error

    own = [
        each
        for name, p in inspect.signature(function, eval_str=True).parameters.items()
        if name != "use"
        for each in (_options(bundles[name]) if name in bundles else [p])
    ]
    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in _COMMON.items()
    ]
    signature = inspect.Signature([*own, *common])
    wrapped.__signature__ = signature  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    words = function.__name__.split("__")  # two words make the command of a command
    return app.command(" ".join(words) if len(words) > 1 else None, cls=Grouped)(wrapped)


def _options(bundle: Any) -> list[inspect.Parameter]:
    """The fields of a bundle of options, as parameters."""
    hints = get_type_hints(bundle, include_extras=True)
    return [
        inspect.Parameter(f.name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=f.default, annotation=hints[f.name])
        for f in dataclasses.fields(bundle)
    ]


def _refusal(error: OSError) -> str:
    from headrace.files import disk_trouble

    return disk_trouble(error) or f"the operating system refused: {error.strerror or error}"


def time_of(text: str | None, now: datetime, where: str = "--as-of") -> datetime:
    """A time from the command line, in UTC; `now` where none was given."""
    if text is None:
        return now
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is not a time", where=where, hint="write it as 2023-01-20T16:00:00Z") from error
    if moment.tzinfo is None:
        raise UsageError(f"{text!r} has no zone", where=where, hint=f"write it as {text}Z for UTC")
    try:
        moment = moment.astimezone(UTC)
    except OverflowError as error:
        raise UsageError(f"{text!r} is beyond the times that there are in UTC", where=where) from error
    if moment < _EPOCH:  # ids of predictions count from there
        raise UsageError(f"{text!r} is before 1970", where=where)
    return moment


def refuse_future(moment: datetime, now: datetime, where: str, *, simulated: bool) -> datetime:
    """The time as of which something is to be written, unless it lies after the clock.

    Whatever is trained or decided there counts from then on only, for runs that nobody does for years.

    Raises:
        UsageError: It does, and no simulation is meant.
    """
    if not simulated and moment > now + SKEW:
        clock = iso(now.replace(microsecond=0))
        raise UsageError(
            f"{iso(moment)} lies after the clock ({clock})", where=where, hint="for a simulation: --simulated"
        )
    return moment


def duration_of(text: str, where: str) -> timedelta:
    """A duration from the command line, such as 1h."""
    from headrace.declaration import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(str(error), where=where) from error


def stretch_of(start: str, end: str, every: str, zone: str | None) -> Stretch:
    """The times of `--start`, `--end` and `--every`."""
    from headrace.flow.stretch import Stretch

    now = datetime.now(UTC)
    return Stretch(time_of(start, now, "--start"), time_of(end, now, "--end"), duration_of(every, "--every"), zone)
