"""Bodies that nobody would write, for every protocol: none may fail, and what is answered must be what JSON says.

    python -m tests.system.serving.http.protocols.fuzzing URL [BODIES] [SEED] [DOOR ...]

A body is read here by other means than in the server (`json`, `csv`, polars), and what it holds is posted as JSON.
"""

from __future__ import annotations

import csv
import io
import json
import math
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import polars as pl
from tests.servers import PREDICT, passengers
from tests.system.serving.http.protocols.tensors import DATATYPES, INFER, LENGTH, binary, texts, unpacked

Rows = list[dict[str, Any]]
Made = tuple[str, bytes, dict[str, str]]
STATUSES = {200, 400, 409, 413, 415, 422}
ODD: list[Any] = [None, "", " ", "NA", 0, -1, 1, 3, 3.0, 0.5, 1e300, 2**53, 2**63, 2**70, -0.0, 1e-320, True, False]
ODD += [
    "3",
    "34.5",
    "male",
    "\u2003",
    "a\x00b",
    'q"u',
    "a,b",
    "a\nb",
    "é" * 50,
    "x" * 5000,
    "-9999",
    "nan",
    "inf",
    "1e400",
]
NESTED: list[Any] = [[], {}, [1], {"a": 1}]


def changed(rng: random.Random, rows: Rows, odd: list[Any]) -> Rows:
    """Some rows with some values that are odd, missing or of another column."""
    found = [dict(row) for row in rng.sample(rows, rng.choice((1, 1, 2, 3, 8)))]
    for row in found:
        row["PassengerId"] = rng.randrange(10**9)
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        row, name = rng.choice(found), rng.choice(list(DATATYPES))
        match rng.randrange(4):
            case 0:
                row.pop(name, None)
            case 1:
                row[rng.choice(["Agee", "é", "", "Survived"])] = rng.choice(odd)
            case _:
                row[name] = rng.choice(odd)
    return found


def mutated(rng: random.Random, body: bytes) -> bytes:
    """The same with a few bytes changed, left out or twice; mostly as it was."""
    data = bytearray(body)
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2, 5))):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(4):
            case 0:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del data[at : at + rng.choice((1, 2, 9))]
            case 2:
                data[at:at] = data[at : at + rng.choice((1, 8, 60))]
            case 3:
                del data[at + rng.randrange(200) :]
    return bytes(data)


def loaded(body: bytes) -> Any:
    def once(found: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(found)) == len(found), "a name is there twice"
        return dict(found)

    return json.loads(body.decode().removeprefix("\ufeff"), object_pairs_hook=once)


def clean(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def of_columns(columns: dict[str, list[Any]]) -> Rows:
    return [dict(zip(columns, map(clean, values), strict=True)) for values in zip(*columns.values(), strict=True)]


def write_v2(rng: random.Random, rows: Rows) -> Made:
    if rng.random() < 0.4:
        try:
            body, length = binary(rows)
            body = mutated(rng, body)
            return INFER, body, {LENGTH: str(length + rng.choice((0, 0, 0, 0, 1, -1)))}
        except (AttributeError, TypeError, ValueError, OverflowError):
            pass  # a value that cannot stand in bytes
    names = list(dict.fromkeys(name for row in rows for name in row))
    inputs = [
        {
            "name": name,
            "datatype": DATATYPES.get(name, "BYTES") if rng.random() < 0.95 else rng.choice(["INT8", "FP16", "X"]),
            "shape": rng.choice([[len(rows)]] * 9 + [[len(rows), 1]]),
            "data": [row.get(name) for row in rows],
        }
        for name in names
    ]
    return INFER, mutated(rng, json.dumps({"inputs": inputs}).encode()), {}


def read_v2(body: bytes, headers: dict[str, str]) -> Rows:
    length = int(headers.get(LENGTH, len(body)))
    after, columns = body[length:], {}
    for each in loaded(body[:length])["inputs"]:
        size = (each.get("parameters") or {}).get("binary_data_size")
        if size is None:
            data = each["data"]
            columns[each["name"]] = [v[0] if isinstance(v, list) else v for v in data]
            continue
        data, after = after[:size], after[size:]
        columns[each["name"]] = texts(data) if each["datatype"] == "BYTES" else unpacked(data, each["datatype"])
    return of_columns(columns)


def write_mlflow(rng: random.Random, rows: Rows) -> Made:
    names = list(dict.fromkeys(name for row in rows for name in row))
    way = rng.choice(["dataframe_split", "dataframe_records", "instances", "inputs", "columns"])
    if way == "dataframe_split":
        data: Any = {way: {"columns": names, "data": [[row.get(name) for name in names] for row in rows]}}
    elif way == "columns":
        data = {"inputs": {name: [row.get(name) for row in rows] for name in names}}
    else:
        data = {way: rows}
    return "/invocations", mutated(rng, json.dumps(data).encode()), {}


def read_mlflow(body: bytes, headers: dict[str, str]) -> Rows:
    (given,) = (value for way, value in loaded(body).items() if value is not None and way in WAYS)
    if isinstance(given, list):
        return [{name: clean(value) for name, value in row.items()} for row in given]
    if "dataframe_split" in loaded(body):
        return [dict(zip(given["columns"], map(clean, row), strict=True)) for row in given["data"]]
    return of_columns(given)


WAYS = ("dataframe_split", "dataframe_records", "instances", "inputs")


def write_csv(rng: random.Random, rows: Rows) -> Made:
    names = list(dict.fromkeys(name for row in rows for name in row))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator=rng.choice(["\n", "\r\n"]))
    writer.writerow(names)
    writer.writerows([row.get(name) for name in names] for row in rows)
    body = file.getvalue().encode()
    return PREDICT, mutated(rng, body), {"content-type": "text/csv"}


def read_csv(body: bytes, headers: dict[str, str]) -> Rows:
    lines = csv.reader(io.StringIO(body.decode().removeprefix("\ufeff"), newline=""), strict=True)
    names, *fields = [line for line in lines if line]
    numbers = {name for name, kind in DATATYPES.items() if kind != "BYTES"} | {"Survived"}
    return [
        {
            name.strip(): number(v) if name.strip() in numbers else v
            for name, v in zip(names, line, strict=False)
            if name.strip() or v  # an empty column without a name is one of none
        }
        for line in fields
    ]


def number(text: str) -> float | None:
    try:
        return int(text)
    except ValueError:
        return float(text) if text.strip() else None


def write_arrow(rng: random.Random, rows: Rows) -> Made:
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {}
    for name in names:
        values = [row.get(name) for row in rows]
        try:
            columns[name] = pl.Series(name, values, strict=True)
        except (TypeError, OverflowError, pl.exceptions.PolarsError):
            columns[name] = pl.Series(name, [None if v is None else str(v) for v in values])
        if columns[name].dtype == pl.String and rng.random() < 0.2:
            columns[name] = columns[name].cast(pl.Categorical)
    file, level = io.BytesIO(), rng.choice([pl.CompatLevel.oldest(), pl.CompatLevel.newest()])
    pl.DataFrame(columns).write_ipc_stream(file, compat_level=level)
    return PREDICT, mutated(rng, file.getvalue()), {"content-type": "application/vnd.apache.arrow.stream"}


def read_arrow(body: bytes, headers: dict[str, str]) -> Rows:
    rows = pl.read_ipc_stream(io.BytesIO(body)).to_dicts()
    for row in rows:
        for name, value in row.items():
            if isinstance(value, str) and value.strip() and DATATYPES.get(name, "BYTES") != "BYTES":
                row[name] = number(value)
            elif isinstance(value, int) and DATATYPES.get(name) == "BYTES":
                row[name] = str(value)
    return rows


DOORS: dict[str, tuple[Callable[[random.Random, Rows], Made], Callable[[bytes, dict[str, str]], Rows]]] = {
    "v2": (write_v2, read_v2),
    "invocations": (write_mlflow, read_mlflow),
    "csv": (write_csv, read_csv),
    "arrow": (write_arrow, read_arrow),
}


def predictions(answer: httpx.Response) -> Rows:
    data = answer.json()
    if "outputs" not in data:
        return list(data["predictions"])
    return of_columns({each["name"]: each["data"] for each in data["outputs"]})


def faults(client: httpx.Client, door: str, bodies: int, seed: int, counts: Counter[int]) -> Iterator[str]:
    """What was wrong with the answers to so many bodies."""
    rng, rows = random.Random(seed), passengers(200)
    write, read = DOORS[door]
    for number in range(bodies):
        path, body, headers = write(rng, changed(rng, rows, ODD if door in ("csv", "arrow") else ODD + NESTED))
        given = {"content-type": "application/json"} | headers
        answer = client.post(path, content=body, headers=given)
        counts[answer.status_code] += 1
        if answer.status_code not in STATUSES:
            yield f"{door} {number}: {answer.status_code} {answer.text[:200]} for {body[:2000]!r}"
        if answer.status_code != 200:
            if answer.json()["status"] != answer.status_code:
                yield f"{door} {number}: {answer.text[:200]} is no problem"
            continue
        try:
            expected = client.post(PREDICT, json=read(body, headers))
        except Exception as error:  # noqa: BLE001  # told, with the body that was answered
            yield f"{door} {number}: answered, but cannot be read: {error!r}: {body[:2000]!r}"
            continue
        if expected.status_code != 200 or expected.json()["predictions"] != predictions(answer):
            yield f"{door} {number}: {answer.text[:300]} and {expected.text[:300]} for {body[:2000]!r}"


def main() -> int:
    """Try every door; 1 where something was wrong."""
    url, bodies, seed = sys.argv[1], *map(int, (*sys.argv[2:4], *("12000", "1")[len(sys.argv) - 2 :]))
    wrong = 0
    with httpx.Client(base_url=url, timeout=60) as client:
        for door in sys.argv[4:] or DOORS:
            counts: Counter[int] = Counter()
            for fault in faults(client, door, bodies, seed, counts):
                wrong += 1
                print(fault[:1500], flush=True)
            print(f"{door}: {dict(sorted(counts.items()))}", flush=True)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
