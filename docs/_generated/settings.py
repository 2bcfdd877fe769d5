"""Every variable of the environment."""

from __future__ import annotations

from docs._generated.docstrings import cell, described
from docs._generated.types import default, field_words

from headrace.settings import PREFIX, Settings


def settings() -> str:
    """A table of the settings."""
    texts = described(Settings)
    rows = ["| variable | type | default | what it is |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        cells = (field_words(field), default(field), texts.get(name, ""))
        rows.append(f"| `{PREFIX}{name.upper()}` | {' | '.join(map(cell, cells))} |")
    return "\n".join(rows)


def undocumented() -> list[str]:
    """Settings that no docstring explains."""
    return [name for name in Settings.model_fields if not described(Settings).get(name)]
