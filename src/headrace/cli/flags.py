"""The options of ``serve`` in groups. Each is a variable of the environment as well; what a model checks is left to it.

Nothing is imported for them here: the model that has their types, bounds and defaults is asked when it is needed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand

from headrace.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from pydantic import BaseModel

_POLICIES = (".yaml", ".yml")
_NO_GROUP = "Options"


class Flag(NamedTuple):
    """An option that holds a text until its model reads it."""

    name: str
    metavar: str
    help: str

    @property
    def option(self) -> str:
        """As it is written on the command line."""
        return "--" + self.name.replace("_", "-")


ADDRESS: Mapping[str, tuple[Flag, ...]] = {
    "Address": (
        Flag("host", "H", "Address to listen on; IPv6 as ::1."),
        Flag("port", "P", "Port to listen on."),
        Flag("uds", "PATH", "Listen on a Unix socket instead."),
        Flag("grpc_port", "P", "Speak the inference protocol over gRPC there."),
        Flag("workers", "N", "Processes."),
        Flag("root_path", "PATH", "What a proxy has taken off the path."),
        Flag("forwarded_allow_ips", "LIST", "Proxies whose X-Forwarded-* count; * for any."),
    ),
    "TLS": (
        Flag("tls_cert", "FILE", "Certificate, with its chain (PEM)."),
        Flag("tls_key", "FILE", "Its private key (PEM)."),
        Flag("tls_ca", "FILE", "Ask clients for a certificate of these authorities."),
    ),
}
LIMITS: Mapping[str, tuple[Flag, ...]] = {
    "Several versions": (
        Flag("shadow", "V", "Scores all that is answered, beside; or SYSTEM=V."),
        Flag("canary", "V=SHARE", "Answers a share of the keys; or SYSTEM=V=SHARE."),
    ),
    "Access": (
        Flag("cors", "ORIGINS", "Browsers may call from there; commas between."),
        Flag("public", "WHAT", "Open although there are tokens: docs, metrics, ready."),
        Flag("rate", "N", "Requests a second, of each token (429)."),
        Flag("concurrent", "N", "Requests at a time, of each token (429)."),
    ),
    "Limits of size": (
        Flag("max_body", "BYTES", "Of a body, unpacked too (413)."),
        Flag("max_rows", "N", "Rows of a body (413)."),
        Flag("max_head", "BYTES", "Of a head (431)."),
        Flag("max_headers", "N", "Headers of a request (431)."),
        Flag("max_url", "BYTES", "Of its target (414)."),
        Flag("max_connections", "N", "At a time, of each process (503)."),
        Flag("capacity", "N", "Predictions that wait for the ledger (503)."),
    ),
    "Limits of time": (
        Flag("head_timeout", "S", "For a head to arrive (408)."),
        Flag("body_timeout", "S", "For a body to arrive (408)."),
        Flag("idle_timeout", "S", "Until an idle connection is closed."),
        Flag("answer_timeout", "S", "For a prediction to be durable (503)."),
        Flag("read_timeout", "S", "For what people read (503)."),
        Flag("refresh", "S", "Between looks for a new champion."),
    ),
    "Reading": (Flag("readers", "N", "Processes that read for people; 0: none apart."),),
    "Logs": (Flag("access_log", "WHAT", "off, on (a JSON line a request), or inputs too."),),
}


class Grouped(TyperCommand):
    """A command whose help has a heading for each group of options."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """An option whose help shows several values takes all files that follow it: ``--compare A.yaml B.yaml``."""
        names = {name for p in self.get_params(ctx) if " " in str(p.metavar or "") for name in p.opts}
        return super().parse_args(ctx, _each_with_its_option(args, names))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write them, those without a group first."""
        under: dict[str, list[tuple[str, str]]] = {_NO_GROUP: []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                group = getattr(parameter, "rich_help_panel", None) or _NO_GROUP
                record = (record[0], filled(record[1]))
                under.setdefault(group, []).append(_with_default(record, parameter.name, group))
        for group, records in under.items():
            with formatter.section(group):
                formatter.write_dl(records)
        self._format_others(ctx, formatter)

    def _format_others(self, ctx: Any, formatter: Any) -> None:
        """Commands of two words that begin with this one."""
        from headrace.cli.contents import brief

        commands = getattr(ctx.parent.command, "commands", {}) if ctx.parent is not None else {}
        rest = [(name, brief(command)) for name, command in commands.items() if name.startswith(f"{self.name} ")]
        if rest:
            with formatter.section("Commands beside it"):
                formatter.write_dl(rest)


def _each_with_its_option(words: list[str], names: set[str]) -> list[str]:
    """Arguments in which an option stands before each of its files, and not only before the first."""
    spread, option = list[str](), ""
    for word in words:
        if word.startswith("-"):
            option = word if word in names else ""
        elif option and spread[-1] != option:
            if Path(word).suffix not in _POLICIES:
                option = ""
            else:
                spread.append(option)
        spread.append(word)
    return spread


def filled(text: str) -> str:
    """The text of a help, with what is installed: packages are looked at only where it is asked for."""
    if "{sources}" in text:
        from headrace.sources import forms

        text = text.replace("{sources}", forms())
    if "{executors}" in text:
        from headrace.executors import EXECUTORS

        text = text.replace("{executors}", ", ".join(EXECUTORS.names()))
    return text


def _with_default(record: tuple[str, str], name: str | None, group: str) -> tuple[str, str]:
    if group == _NO_GROUP or name is None:
        return record
    default = next(model.model_fields[name].default for model in _models() if name in model.model_fields)
    if default in (None, "", ()):
        return record
    return record[0], f"{record[1]} [{','.join(default) if isinstance(default, tuple) else default}]"


def _models() -> tuple[type[BaseModel], ...]:
    from headrace.serving.http.binding import Binding
    from headrace.serving.http.options import Options

    return Binding, Options


def flagged(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command that takes any keywords all flags of the groups."""
    options = [
        parameter
        for parameter in inspect.signature(function, eval_str=True).parameters.values()
        if parameter.kind != parameter.VAR_KEYWORD
    ]
    more = [
        inspect.Parameter(
            flag.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                str | None, typer.Option(flag.option, metavar=flag.metavar, help=flag.help, rich_help_panel=group)
            ],
        )
        for groups in (ADDRESS, LIMITS)
        for group, flags in groups.items()
        for flag in flags
    ]
    function.__signature__ = inspect.Signature([*options, *more])  # type: ignore[attr-defined]
    return function


def read(model: type[BaseModel], given: Mapping[str, str | None], more: Mapping[str, Any]) -> Any:
    """A model of what was given on the command line, over what the environment says.

    Args:
        model: What it is read by.
        given: Texts by name; None where nothing was given.
        more: Values of fields that no flag has.

    Raises:
        UsageError: An option does not fit; names it.
        ConfigError: A variable does not; names it.
    """
    from pydantic import ValidationError

    from headrace.settings import PREFIX, serve_variables

    values = {name: text for name, text in given.items() if text is not None and name in model.model_fields}
    variables = {name: text for name, text in serve_variables().items() if name in model.model_fields}
    try:
        return model.model_validate({**variables, **values, **more})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        text = str(first["msg"]).removeprefix("Value error, ")
        if name in values or not name:
            raise UsageError(text, where="--" + name.replace("_", "-") if name else None) from error
        raise ConfigError(text, where=PREFIX + name.upper()) from error
