"""One meaning at every door: each value goes through CSV, JSON Lines, Parquet, HTTP alone and in an array, a topic."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.contract import Column, Contract, check
from headrace.contract.many import ManyDecoder
from headrace.contract.row import RowDecoder
from headrace.contract.table import BLANKS
from headrace.grid import Grid
from headrace.sources.delimited import read_delimited
from headrace.sources.events import EventDecoder, EventShape
from headrace.sources.jsonl import read_jsonl

NOW = datetime(2026, 6, 1, tzinfo=UTC)
PATH = Path("x.csv")
SPELLED = ("NA", "null", "-", -9999, 0.5)


@dataclass(frozen=True)
class Verdict:
    """What a door says of a value: it itself, or what is wrong with it."""

    value: Any
    wrong: tuple[str, ...] = ()


def of_frame(column: Column, frame: pl.DataFrame) -> Verdict:
    """The table form's verdict on a frame of one row."""
    found = check(Contract(columns=(column,), max_invalid_fraction=1), frame, as_of=NOW, now=NOW)
    assert found.good.height + found.bad.height == 1
    if found.bad.height:
        return Verdict(None, tuple(found.bad["reasons"][0]))
    value = found.good[column.name][0]
    return Verdict(value)


def of_csv(column: Column, text: str) -> Verdict:
    """Of a field in CSV."""
    written = io.StringIO(newline="")
    csv.writer(written, quoting=csv.QUOTE_ALL).writerows([["n", column.name], ["1", text]])
    return of_frame(column, read_delimited(written.getvalue().encode(), PATH))


def of_jsonl(column: Column, value: Any) -> Verdict:
    """Of a value in a line of JSON."""
    return of_frame(column, read_jsonl(json.dumps({"n": 1, column.name: value}).encode(), PATH))


def of_parquet(column: Column, value: Any) -> Verdict:
    """Of a typed value in Parquet."""
    buffer = io.BytesIO()
    pl.DataFrame({column.name: [value]}, strict=False).write_parquet(buffer)
    return of_frame(column, pl.read_parquet(buffer.getvalue()))


def of_http(column: Column, value: Any) -> Verdict:
    """Of a value in a JSON body, which a row alone and one of an array have in common."""
    contract = Contract(columns=(Column("n", "integer"), column))
    row, faults = RowDecoder(contract)({"n": 1, column.name: value})
    many = ManyDecoder(contract, "n")(json.dumps([{"n": 1, column.name: value}] * 2).encode())
    schema = contract.json_schema()
    fits = valid(schema["properties"][column.name], value)
    assert (column.name in schema["required"]) == (not column.nullable)
    if faults:
        assert many is None
        unsure = isinstance(value, float) and abs(value) >= 2**53  # its last digits may be lost, which no schema tells
        assert not fits or unsure or column.type == "time", (value, faults)
        return Verdict(None, tuple(f"{fault['loc'][0]}: {fault['msg']}" for fault in faults))
    # A schema lists the declared spellings, not every way in which their numbers may be written.
    assert fits or column.pattern is not None or "999" in str(value), value
    if many is not None:
        assert list(many.columns[column.name]) == [row[column.name]] * 2
        assert all((column.name in json.loads(given)) == (row[column.name] is not None) for given in many.inputs)
    return Verdict(row[column.name])


_JSON_TYPES: dict[str, Any] = {
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: _JSON_TYPES["number"](value) and value == int(value),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}


def valid(schema: dict[str, Any], value: Any) -> bool:
    """Whether a value fits a JSON Schema, as far as contracts use that language."""
    kinds = schema.get("type", list(_JSON_TYPES))
    number = _JSON_TYPES["number"](value)
    return (
        set(schema) <= {"type", "pattern", "enum", "minimum", "maximum", "anyOf", "allOf", "not", "format"}
        and any(_JSON_TYPES[kind](value) for kind in ([kinds] if isinstance(kinds, str) else kinds))
        and not (isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value))
        and not ("enum" in schema and not any(value == e and (value is True) == (e is True) for e in schema["enum"]))
        and not (number and not schema.get("minimum", value) <= value <= schema.get("maximum", value))
        and not ("anyOf" in schema and not any(valid(each, value) for each in schema["anyOf"]))
        and all(valid(each, value) for each in schema.get("allOf", ()))
        and not ("not" in schema and valid(schema["not"], value))
    )


def of_event(column: Column, value: Any) -> Verdict:
    """Of a value in an event, which one alone and one in a batch have in common."""
    contract = Contract(columns=(Column("s", "category"), Column("t", "time"), Column("v", "float"), column))
    zero = timedelta(0)
    shape = EventShape(contract, ("s",), "t", ("v",), Grid(timedelta(hours=1)), zero, zero, zero)
    body = json.dumps({"s": "a", "t": "2026-01-01T00:00:00Z", "v": 1.0, column.name: value}).encode()
    decode = EventDecoder(shape)
    verdicts = []
    for bodies in ([body], [body, body]):
        events = decode(bodies, [2**50] * len(bodies))
        if events.bad:
            verdicts.append(Verdict(None, tuple(f"{name}: {said}" for name, said in events.bad[-1][1].faults)))
        else:
            verdicts.append(Verdict(getattr(events.rows[-1], decode.fields[column.name])))
    assert same(verdicts[0].value, verdicts[1].value)
    assert verdicts[0].wrong == verdicts[1].wrong
    return verdicts[0]


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same, types and signs of zero included."""
    if isinstance(one, float) and isinstance(other, float):
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    return type(one) is type(other) and one == other


def core(reason: str) -> str:
    """What a reason says is wrong, without the value that a table shows and the JSON type that a body has."""
    for word in (" is ", " does ", " happens ", " time has "):
        if word in reason:
            reason = reason[reason.rindex(word) :] if word != " is " else reason[reason.index(word) :]
            break
    return reason.partition(", but ")[0].strip()


BLANK = st.text(st.sampled_from(BLANKS), max_size=3)
WORDS = st.sampled_from(["NA", "null", "-", "-9999", "-9999.0", "-9.999e3", "x", "a"])
PADDED = st.builds(lambda before, text, after: before + text + after, BLANK, WORDS, BLANK)
PLAIN = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=5)
TEXTS = BLANK | PADDED | PLAIN | st.sampled_from(["a", "b", "A", "NA ", "1", "0101", "true", "3.0"])
COLUMNS = st.builds(
    lambda kind, nullable, spelled: Column("c", kind[0], nullable=nullable, missing=spelled, **kind[1]),
    st.sampled_from(
        [
            ("text", {}),
            ("text", {"pattern": "^[a-z]+$"}),
            ("category", {}),
            ("category", {"values": ("a", "b", "1")}),
            ("float", {}),
            ("float", {"minimum": -1, "maximum": 120}),
            ("float", {"values": (1, 2.5)}),
            ("integer", {}),
            ("integer", {"minimum": 0, "maximum": 2**60}),
            ("integer", {"values": (1, 2, 3)}),
            ("boolean", {}),
            ("time", {}),
            ("time", {"zone": "Europe/Copenhagen"}),
            ("time", {"zone": "UTC", "minimum": datetime(2026, 1, 1, tzinfo=UTC)}),
            ("time", {"format": "epoch_ms"}),
            ("time", {"zone": "UTC", "format": "%d/%m/%Y %H"}),
        ]
    ),
    st.booleans(),
    st.sampled_from([None, SPELLED, ("NaN", "0")]),
)
NUMBERS = (
    st.integers(-(2**63) - 2, 2**63 + 2)
    | st.integers(-3, 130)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-5, 300).map(lambda n: n / 2)
    | st.sampled_from([-9999, -9999.0, 0.5, 0, -0.0, 2**53, 2**53 + 1, 1e300, 1_767_225_600_000])
)
TIMES = st.sampled_from(
    [
        "2026-01-01T00:00:00Z",
        "2026-01-01 00:00",
        "2026-10-25T02:30:00",
        "2026-03-29T02:30:00",
        "2025-06-01",
        "2026-06-01T00:00:00+02:00",
        " 2026-01-01T00:00:00Z\u2003",
        "01/02/2026 5",
        "1767225600000",
        "soon",
        "9999-12-31T23:59:59-14:00",
    ]
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(column=COLUMNS, text=TEXTS | TIMES)
def test_property_a_text_means_the_same_everywhere(column: Column, text: str) -> None:
    http = of_http(column, text)
    doors = [of_csv(column, text), of_jsonl(column, text), of_parquet(column, text), of_event(column, text)]
    if column.type in ("text", "category", "time"):
        for found in doors:
            assert same(found.value, http.value), (column, text, found, http)
            assert list(map(core, found.wrong)) == list(map(core, http.wrong))
        return
    # A number or a truth value in a text is read from tables only; what is missing is so everywhere.
    assert doors[3].wrong == http.wrong
    for found in doors[:3]:
        assert same(found.value, doors[0].value)
        assert found.wrong == doors[0].wrong
        if http.wrong:
            said = core(http.wrong[0])
            assert said == core(found.wrong[0]) if said == "is missing" else found.value is not None or found.wrong
        else:
            assert found == http == Verdict(None)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(column=COLUMNS, number=NUMBERS)
def test_property_a_number_means_the_same_everywhere(column: Column, number: float) -> None:
    http, doors = of_http(column, number), [of_event(column, number)]
    if column.type in ("float", "integer") or column.format == "epoch_ms":
        doors += [of_csv(column, json.dumps(number)), of_jsonl(column, number)]
        if isinstance(number, float) or abs(number) < 2**63:
            doors.append(of_parquet(column, number))
    for found in doors:
        assert same(found.value, http.value), (column, number, found, http)
        assert list(map(core, found.wrong)) == list(map(core, http.wrong))


@given(column=COLUMNS, value=st.booleans() | st.none() | st.sampled_from([[1], {"a": 1}, []]))
def test_property_other_values_are_refused_alike(column: Column, value: Any) -> None:
    http, event = of_http(column, value), of_event(column, value)
    assert (http.value, http.wrong) == (event.value, event.wrong)
    if value is None or (column.type == "boolean" and isinstance(value, bool)):
        for found in (of_jsonl(column, value), of_parquet(column, value)):
            assert same(found.value, http.value)
            assert found.wrong == http.wrong
