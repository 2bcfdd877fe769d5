"""The card of a model version, on a terminal or in a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.console.output import print_json
from headrace.console.table import TableStyle, print_table
from headrace.errors import UsageError
from headrace.files import write_whole

if TYPE_CHECKING:
    from headrace.tasks.card import ModelCard
    from headrace.tasks.importance import Importance

_FORMS = ("markdown", "html")


def print_card(card: ModelCard, *, form: str | None, out: Path | None, as_json: bool) -> None:
    """Write a card as Markdown or HTML to a file or to stdout.

    Args:
        card: The card.
        form: ``markdown`` or ``html``; None: by the file's name, else Markdown.
        out: The file.
        as_json: One document: the card's sections, or what was written.

    Raises:
        UsageError: There is no such form, or the file cannot be written.
    """
    chosen = form or ("html" if out is not None and out.suffix in (".html", ".htm") else "markdown")
    if chosen not in _FORMS:
        raise UsageError(f"there is no format {chosen!r}", where="--format", hint=f"one of {', '.join(_FORMS)}")
    text = card.html() if chosen == "html" else card.markdown()
    if out is not None:
        try:
            write_whole(out, text.encode())
        except OSError as error:
            raise UsageError(f"cannot be written: {error.strerror or error}", where=str(out)) from error
        if not as_json:
            sys.stdout.write(f"made     {out}\n")
    if as_json:
        print_json(card.as_dict() if out is None else {"out": str(out), "format": chosen})
    elif out is None:
        sys.stdout.write(text)


def print_importance(system: str, importance: Importance, *, as_json: bool) -> None:
    """How much each feature matters: a table, or one document."""
    import polars as pl

    if as_json:
        print_json({"system": system, **importance.as_dict()})
    elif not importance.features:
        sys.stdout.write(f"{system}: nothing is known of its features: {importance.reason or 'it reads none'}\n")
    else:
        title = f"{system}: mean absolute contribution to the {importance.scale}, over {importance.rows:,} predictions"
        rows = [vars(one) for one in importance.features]
        first = ("feature", "share", "gain", "permutation", "contribution")
        frame = pl.DataFrame(rows, infer_schema_length=None)
        frame = frame.select(column for column in frame if column.null_count() < frame.height)  # such as without trees
        print_table(frame, TableStyle(title, first, ("feature",), rows=len(rows)))
