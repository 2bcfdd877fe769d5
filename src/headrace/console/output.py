"""JSON for programs, errors, and nested data for people."""

from __future__ import annotations

import json as jsonlib
import math
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from headrace.errors import HeadraceError
from headrace.lineage import iso


def failed(error: HeadraceError, *, as_json: bool) -> None:
    """An error on stderr, and as the JSON document where one was asked for."""
    sys.stderr.write(f"{type(error).__name__}: {error}\n")
    if as_json:
        print_json(error.as_dict())


def print_json(data: Any) -> None:
    """One JSON document on stdout: times in ISO 8601, NaN and infinities as null."""
    sys.stdout.write(jsonlib.dumps(plain(data), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def plain(data: Any) -> Any:
    """As JSON can hold it: times as texts, NaN and infinities as null."""
    if isinstance(data, Mapping):
        return {str(key): plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [plain(value) for value in data]
    if isinstance(data, datetime):
        return iso(data)
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data if data is None or isinstance(data, str | int | float | bool) else str(data)


def print_tree(data: Mapping[str, Any], *, as_json: bool) -> None:
    """Nested data, indented; or as JSON."""
    if as_json:
        print_json(data)
        return

    def show(value: Mapping[str, Any], indent: int) -> None:
        for key, item in value.items():
            if isinstance(item, Mapping):
                sys.stdout.write(f"{'  ' * indent}{key}\n")
                show(item, indent + 1)
            else:
                text = jsonlib.dumps(plain(item)) if isinstance(item, list) else plain(item)
                sys.stdout.write(f"{'  ' * indent}{key}: {text}\n")

    show({k: v for k, v in data.items() if k != "run"}, 0)
