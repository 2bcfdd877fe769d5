"""The reference systems, at hand wherever headrace is installed: ``headrace run energy``, ``init --like energy``.

They live in ``systems/`` of the repository, which the wheel carries here; in a clone they are found there.
"""

from __future__ import annotations

from pathlib import Path

_HERE, _CLONE = Path(__file__).parent, Path(__file__).parents[3] / "systems"
if not any(_HERE.glob("*/system.py")) and _CLONE.is_dir():
    __path__.append(str(_CLONE))
