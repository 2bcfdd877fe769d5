"""JSON for programs, errors, and nested data for people."""

from __future__ import annotations

import io
import json as jsonlib
import math
import os
import select
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from headrace.errors import HeadraceError
from headrace.lineage import iso


def failed(error: HeadraceError, *, as_json: bool) -> None:
    """An error on stderr with what is noted beside it, and as the JSON document where one was asked for."""
    lines = (f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ()))
    sys.stderr.write("".join(f"{line}\n" for line in lines))
    if as_json:
        print_json(error.as_dict())


def nobody_reads() -> bool:
    """Whether the pipe behind stdout is closed, as after ``| head``; what is left to write then goes nowhere."""
    if sys.stdout is None:
        return False
    try:
        sys.stdout.flush()
        poll = select.poll()  # a stdout without a buffer has nothing left to flush
        poll.register(sys.stdout.fileno(), 0)
        closed = any(event & select.POLLERR for _, event in poll.poll(0))
    except BrokenPipeError:
        closed = True
    except io.UnsupportedOperation:  # no file is behind it, as in a notebook
        return False
    if closed:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    return closed


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
