"""Tables in place of JSON: CSV and Arrow IPC streams, as the body of a request and as its answer."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.serving.http.call import JSON
from headrace.serving.http.described import ARROW_TYPE, CSV_TYPE
from headrace.serving.http.form import Form, Header
from headrace.serving.http.problem import Problem
from headrace.serving.http.protocols import answers, frames
from headrace.serving.http.served import ServedSystem
from headrace.tasks.form import JsonKind

if TYPE_CHECKING:
    pass

LARGEST = 16 * 2**20
"""Bytes of text that a table may have when it is read: one text may be named many times in an Arrow stream."""
_RANGES = 32
"""Media ranges of an `Accept` that are looked at."""
_ANY = frozenset((b"", b"*/*", JSON, b"application/*", b"application/json, text/plain, */*"))
"""Values of `Accept` with which JSON plainly is right."""


@dataclass(frozen=True)
class Kind:
    """A media type.

    Attributes:
        media: As `Accept` and `Content-Type` have it.
        told: The content type of an answer.
    """

    media: str
    told: bytes


PLAIN = Kind("application/json", JSON)
CSV = Kind(CSV_TYPE, b"text/csv; charset=utf-8; header=present")
ARROW = Kind(ARROW_TYPE, ARROW_TYPE.encode())
KINDS = (PLAIN, CSV, ARROW)
"""In the order in which they are taken where a client likes them equally."""
_DTYPES = {"string": "String", "integer": "Int64", "number": "Float64", "boolean": "Boolean"}
_TIMES = frozenset(("time", "as_of", "origin"))


def of_content(kind: bytes) -> Kind | None:
    """The table that a body of this `Content-Type` is; None where it is none that can be read."""
    media, *parameters = (part.strip().lower() for part in kind.decode("latin-1").split(";"))
    options = dict(part.partition("=")[::2] for part in parameters)
    if (
        options.get("charset", "utf-8").strip('"') not in ("utf-8", "utf8", "us-ascii")
        or options.get("header") == "absent"
    ):
        return None
    return next((kind for kind in (CSV, ARROW) if kind.media == media), None)


def is_plain(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a request needs no form: it wants JSON, and is no table."""
    kind = headers.get(b"content-type", b"")
    return headers.get(b"accept", b"") in _ANY and (kind == JSON or not (_is_event(kind) or of_content(kind)))


def _is_event(kind: bytes) -> bool:
    return kind.lower().startswith(b"application/cloudevents")


def preferred(accept: bytes) -> Kind:
    """What an `Accept` likes best of what there is.

    Raises:
        Problem: 406: nothing of it.
    """
    if accept in _ANY:
        return PLAIN
    ranges = dict(filter(None, map(_range, accept.decode("latin-1").lower().split(",")[:_RANGES])))
    best = max(KINDS, key=lambda kind: _liked(kind, ranges))
    if ranges and not _liked(best, ranges):
        message = f"is none of {', '.join(kind.media for kind in KINDS)}"
        raise Problem(406, f"what is accepted {message}", errors=[{"loc": ["header", "accept"], "msg": message}])
    return best


def _range(text: str) -> tuple[str, float] | None:
    media, *parameters = (part.strip() for part in text.split(";"))
    for name, _, value in (part.partition("=") for part in parameters):
        if name.strip() == "q":
            try:
                quality = float(value)
            except ValueError:
                return None
            return (media, quality) if 0 <= quality <= 1 else None
    return (media, 1.0) if media else None


def _liked(kind: Kind, ranges: Mapping[str, float]) -> float:
    """The quality of the most specific range that it is in."""
    for media in (kind.media, kind.media.partition("/")[0] + "/*", "*/*"):
        if media in ranges:
            return ranges[media]
    return 0.0


def asked(headers: Mapping[bytes, bytes]) -> TableForm | None:
    """The form of a request to the hot route that is not plainly JSON, and no event in an envelope."""
    return None if is_plain(headers) or _is_event(headers.get(b"content-type", b"")) else TableForm()


class TableForm(Form):
    """``POST /v1/systems/{s}/predict`` with a table as its body, or as the answer that is wanted."""

    route = "/v1/systems/{system}/predict"

    def __init__(self) -> None:
        self._body = self._answer = PLAIN

    def check(self, headers: Mapping[bytes, bytes]) -> None:
        """What comes and what is wanted."""
        media = headers.get(b"content-type", b"")
        plain = media.partition(b";")[0].strip().lower()
        if not (plain in (JSON, b"text/json") or plain.endswith(b"+json")):
            kind = of_content(media)
            if kind is None:
                errors = [{"loc": ["header", "content-type"], "msg": "is not application/json"}]
                raise Problem(415, "the body must be JSON, CSV with a header or an Arrow stream", errors=errors)
            self._body = kind
        self._answer = preferred(headers.get(b"accept", b""))
        self.threaded = self._body != PLAIN or self._answer != PLAIN

    def rows(self, served: ServedSystem, version: int, body: bytes) -> bytes:
        """The rows or events of the table."""
        return body if self._body is PLAIN else rows(self._body, served, body, self.most)

    def answer(self, served: ServedSystem, body: bytes) -> tuple[bytes, bytes, tuple[Header, ...]]:
        """The predictions, in order."""
        if self._answer is PLAIN:
            return body, JSON, ()
        predictions = answers.predictions(body)
        columns, steps = served.task.form.columns, served.task.form.steps
        values = (
            _by_step(predictions, columns, steps)
            if steps
            else {name: answers.column(predictions, name) for name in columns}
        )
        return written(self._answer, values, columns), self._answer.told, ()


def rows(kind: Kind, served: ServedSystem, body: bytes, most: int) -> bytes:
    """The rows or events of a table as the hot route reads them.

    Raises:
        Problem: It cannot be read, or is not of the contract's types.
    """
    frame = frames.of_csv(body, most) if kind is CSV else frames.of_arrow(body, most)
    return frames.rows_of_frame(served, frame, LARGEST)


def _by_step(
    predictions: list[dict[str, Any]], columns: Mapping[str, JsonKind], ahead: Sequence[str]
) -> dict[str, list[Any]]:
    """Answers to events, a line a step; one line without a step where nothing could be predicted."""
    values: dict[str, list[Any]] = {name: [] for name in columns}
    plain_names = [name for name in columns if name not in ahead]
    columns_plain = {name: answers.column(predictions, name) for name in plain_names}
    for place, prediction in enumerate(predictions):
        steps = prediction["predictions"] or [dict.fromkeys(ahead)]
        for name in plain_names:
            values[name] += [columns_plain[name][place]] * len(steps)
        for name in ahead:
            values[name] += [step[name] for step in steps]
    return values


LISTED: Mapping[str, Mapping[str, JsonKind]] = {
    "observations": {"time": "string", "value": "number"},
    "predictions": {
        "time": "string",
        "value": "number",
        "lower": "number",
        "upper": "number",
        "served": "string",
        "id": "string",
    },
}
"""The columns of what is read as a table."""


def listed(kind: Kind, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, JsonKind]) -> bytes:
    """A table of rows that are read."""
    return written(kind, {name: [row[name] for row in rows] for name in columns}, columns)


def written(kind: Kind, values: Mapping[str, Sequence[Any]], columns: Mapping[str, JsonKind]) -> bytes:
    """A table of columns; times are text in CSV, and timestamps in UTC in Arrow."""
    import polars as pl

    frame = pl.DataFrame(
        [pl.Series(name, values[name], dtype=getattr(pl, _DTYPES[kind]), strict=True) for name, kind in columns.items()]
    )
    file = io.BytesIO()
    if kind is CSV:
        frame.write_csv(file)
    else:
        times = [name for name in frame.columns if name in _TIMES and frame.schema[name] == pl.String]
        frame = frame.with_columns(pl.col(times).str.to_datetime(time_unit="us", time_zone="UTC"))
        frame.write_ipc_stream(file)
    return file.getvalue()
