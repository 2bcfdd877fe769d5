"""What all commands share: the common options, how times are read, and how typed errors are told."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from headrace.cli.contents import Contents
from headrace.cli.flags import Grouped
from headrace.errors import HeadraceError, NotFoundError, StoreError

if TYPE_CHECKING:
    from headrace.api.bound import BoundSystem
    from headrace.api.workspace import Workspace
    from headrace.feature_system import FeatureSystem
    from headrace.home import Home
    from headrace.system import System


_ARGUMENTS = (
    "as_of",
    "beside",
    "compare",
    "data",
    "end",
    "every",
    "keep",
    "limit",
    "retrain",
    "role",
    "since",
    "start",
    "until",
    "where",
    "words",
)
"""Arguments of the functions behind the commands; an error about one is told by its option."""


_PIPE_CLOSED = 128 + 13
"""Exit status that a shell gives a command which ends because nobody reads its output any more: 128 and SIGPIPE."""


app = typer.Typer(
    cls=Contents,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From raw data to watched predictions: in batch, on request, on a stream.",
)


Name = Annotated[
    str,
    typer.Argument(metavar="SYSTEM", help="A folder, a name below systems/, or an installed one."),
]


HomeDir = Annotated[
    Path | None,
    typer.Option("--home", metavar="DIR", envvar="HEADRACE_HOME", help="All state is under it; default .headrace."),
]


Json = Annotated[bool, typer.Option("--json", help="Exactly one JSON document on stdout.")]


Sets = Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Over config.yaml; repeatable.")]


SourceUri = Annotated[
    str | None,
    typer.Option("--source", metavar="URI", help="{sources}"),
]


AsOf = Annotated[
    str | None,
    typer.Option("--as-of", metavar="TIME", help="See what was known then; with zone. Default: now."),
]


Start = Annotated[str, typer.Option("--start", metavar="TIME", help="The first time; ISO 8601 with zone.")]


End = Annotated[str, typer.Option("--end", metavar="TIME", help="No time is later than this.")]


Every = Annotated[str, typer.Option("--every", metavar="D", help="From one time to the next: 1h, 6h, 1d.")]


Simulated = Annotated[bool, typer.Option("--simulated", help="A simulation: the time may lie after the clock.")]


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

    @cached_property
    def workspace(self) -> Workspace:
        """The home as Python opens it."""
        from headrace.api.workspace import open_workspace

        opened = open_workspace(self.home)
        self.opened = opened.reading
        return opened

    def bound(self, reference: str) -> BoundSystem:
        """A system with the configuration over it, in the home."""
        workspace, self.opened = self.workspace, None  # a system that is not there was not looked for in the home
        system = workspace.system(reference, self.settings)
        self.opened = workspace.reading
        return system

    def told(self, error: HeadraceError) -> HeadraceError:
        """An error in the command line's words, and of what is not there also where it was looked for."""
        if error.where in _ARGUMENTS:
            error.where = f"--{error.where.replace('_', '-')}"
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

    def features(self, reference: str) -> FeatureSystem:
        """A system of features with the configuration over it."""
        from headrace.loading import load_features

        return load_features(reference, self.settings)


ExecutorName = Annotated[
    str | None,
    typer.Option("--executor", metavar="NAME", help="{executors}; else HEADRACE_EXECUTOR."),
]


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
            if sys.stdout is not None:
                sys.stdout.flush()  # here, and not when the interpreter ends, where nothing can be done about it
        except (HeadraceError, OSError) as error:
            from headrace import console

            if isinstance(error, BrokenPipeError) and console.nobody_reads():
                raise typer.Exit(_PIPE_CLOSED) from error
            known = error if isinstance(error, HeadraceError) else StoreError(_refusal(error), where=error.filename)
            with contextlib.suppress(BrokenPipeError):  # the status still says that it failed
                console.failed(use.told(known), as_json=json)
            console.nobody_reads()  # what is left to write of the document then goes nowhere
            raise typer.Exit(known.exit_code) from error

    options = [
        option
        for name, p in inspect.signature(function, eval_str=True).parameters.items()
        if name != "use"
        for option in (_options(bundles[name]) if name in bundles else [p])
    ]
    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in _COMMON.items()
    ]
    signature = inspect.Signature([*options, *common])
    wrapped.__signature__ = signature  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    # Two words make the command of a command; an underscore at the end keeps a name of Python's free.
    words = function.__name__.rstrip("_").replace("__", " ").replace("_", "-")
    return app.command(words, cls=Grouped)(wrapped)


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
