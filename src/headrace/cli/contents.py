"""The help of the command line as a table of contents: every command in a line, under what it is for."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

CONTENTS = {
    "Run a system": (
        "run",
        "ingest",
        "train",
        "predict",
        "monitor",
        "backfill",
        "simulate",
        "evaluate",
        "tune",
        "plan",
    ),
    "Look at what is stored": ("predictions", "trace", "replay", "explain", "runs", "report", "lookup"),
    "Watch a system": ("alerts", "why", "notify", "drift", "validation", "quarantine"),
    "Decide about models": ("models", "card", "compare", "skew", "promote", "reject", "rollback", "configurations"),
    "Serve requests": ("serve", "dashboard", "export", "materialize"),
    "Stream events": ("stream", "dead-letters", "archive", "produce", "sink"),
    "Manage the home": ("list", "disk", "prune", "rename", "delete", "verify"),
    "Start a project": ("init", "doctor"),
}
"""Headings, and the commands under each."""
_MORE = "More"


class Contents(TyperGroup):
    """All commands under their headings, each in a line."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """A command of two words, if these are one."""
        words = " ".join(args[:2])
        if words in self.commands:
            return words, self.commands[words], args[2:]
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write them, in place of the one list."""
        listed = [name for name in self.list_commands(ctx) if " " not in name]  # the first word's help has the others
        headings = {
            **CONTENTS,
            _MORE: [name for name in listed if not any(name in content for content in CONTENTS.values())],
        }
        widest = max(map(len, listed), default=0)
        for heading, names in headings.items():
            present = [name for name in names if name in listed]
            if present:
                with formatter.section(heading):
                    formatter.write_dl([(name.ljust(widest), brief(self.get_command(ctx, name))) for name in present])


def brief(command: Any) -> str:
    """The first sentence of a command's help, whole."""
    text = " ".join((command.help or "").strip().partition("\n\n")[0].split())
    return text.partition(". ")[0].removesuffix(".") + "."
