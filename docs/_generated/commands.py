"""Every command with its arguments and options."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer
from docs._generated.docstrings import cell

from headrace.cli import app


def commands() -> str:
    """A section for each command, in the order of ``headrace --help``."""
    text = []
    for name, command in _leaves("", typer.main.get_command(app)):
        shown = [each for each in command.params if not each.hidden and each.name != "help"]
        arguments = [each for each in shown if not each.opts[0].startswith("-")]
        usage = " ".join(["headrace", name, *map(_argument, arguments)])
        help_text = " ".join((command.help or "").split())
        text += [f"## {name}", f"`{usage} [OPTIONS]`", help_text, _table(shown)]
    return "\n\n".join(part for part in text if part)


def names() -> list[str]:
    """Every command as one types it."""
    return [name for name, _ in _leaves("", typer.main.get_command(app))]


def _leaves(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Commands below a group with what one types for them; a group that does something itself too."""
    below = getattr(command, "commands", {})
    if not below or (name and getattr(command, "invoke_without_command", False)):
        yield name, command
    for part, child in below.items():
        if not child.hidden:
            yield from _leaves(f"{name} {part}".strip(), child)


def _argument(parameter: Any) -> str:
    text = parameter.metavar or parameter.name.upper()
    return text if parameter.required or text.startswith("[") else f"[{text}]"


def _table(parameters: list[Any]) -> str:
    if not parameters:
        return ""
    rows = ["| | default | what it does |", "|---|---|---|"]
    for each in parameters:
        is_option = each.opts[0].startswith("-")
        value = f" {each.metavar}" if is_option and each.metavar else ""
        name = " / ".join([*each.opts, *each.secondary_opts]) + value if is_option else _argument(each)
        default = "" if each.default in (None, False, [], ()) or callable(each.default) else f"`{each.default}`"
        if is_option and each.secondary_opts:  # a pair such as --dry-run and --yes
            default = f"`{(each.opts if each.default else each.secondary_opts)[0]}`"
        variable = f" (`{each.envvar}`)" if each.envvar else ""
        rows.append(f"| `{cell(name)}` | {default} | {cell(each.help or '')}{variable} |")
    return "\n".join(rows)
