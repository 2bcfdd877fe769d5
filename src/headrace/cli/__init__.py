"""The command line: thin. It parses, calls, and prints tables, progress and ``--json``."""

from __future__ import annotations

import atexit
import copy
import gc
import os
import sys
from typing import Annotated, Any

import typer

from headrace._version import __version__
from headrace.cli.command import app
from headrace.errors import UsageError

# Commands are listed in this order.
# isort: off
from headrace.cli import pipelines, tuning, reading, apart, watching, versions  # noqa: F401
from headrace.cli import doors, pages, topics, streaming, sinks, home, project  # noqa: F401

# isort: on

__all__ = ["app", "main"]

_REFUSED: Any = typer.BadParameter.__base__
"""What the parser raises on a wrong option, argument or command; typer gives it no name of its own."""


def _version(shown: bool) -> None:
    if shown:
        typer.echo(f"headrace {__version__}")
        raise typer.Exit


@app.callback()
def _every(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Without this, an application of one command would not take its name."""


def _application(name: str) -> typer.Typer:
    """All commands, or the one of this name: typer prepares what it is given, for as long as importing it took."""
    commands = [c for c in app.registered_commands if c.name and c.name.partition(" ")[0] == name]
    chosen = copy.copy(app)
    chosen.registered_commands = commands or app.registered_commands
    return chosen


def main() -> None:
    """Run the command line. What the parser refuses, and a bug, is told as JSON too, where that was asked for."""
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
    except BaseException as error:
        if not isinstance(error, SystemExit | KeyboardInterrupt):  # a bug: its traceback goes to stderr
            _tell_bug(error)
        raise


def _tell_bug(error: BaseException) -> None:
    from headrace import console

    hint = "this is a bug of headrace; its traceback is on stderr"
    console.print_json({"error": type(error).__name__, "message": str(error), "where": None, "hint": hint})
