"""CSV and Arrow say what JSON says, to the last bit, in both directions."""

from __future__ import annotations

import io
import json
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest
from tests.servers import Server, passengers

from headrace.serving.http.problem import Problem
from headrace.serving.http.protocols.frames import of_arrow
from headrace.serving.http.protocols.tables import ARROW, CSV, PLAIN, Kind, of_content, preferred

ROWS = passengers(400, first=740_000)
ARROWS = ARROW.media


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, infer_schema_length=None)


def stream(table: pl.DataFrame, **options: Any) -> bytes:
    file = io.BytesIO()
    table.write_ipc_stream(file, **options)
    return file.getvalue()


def csv(table: pl.DataFrame) -> bytes:
    return table.write_csv().encode()


def told(answer: httpx.Response) -> list[dict[str, Any]]:
    """The predictions of an answer, whatever it is written in."""
    assert answer.status_code == 200, answer.text
    kind = answer.headers["content-type"].partition(";")[0]
    if kind == ARROWS:
        return pl.read_ipc_stream(io.BytesIO(answer.content)).to_dicts()
    if kind == "text/csv":
        return pl.read_csv(answer.content).to_dicts()
    return answer.json()["predictions"]


@pytest.mark.parametrize("accept", ["*/*", "text/csv", ARROWS])
@pytest.mark.parametrize("sent", ["application/json", "text/csv", ARROWS])
def test_a_table_is_its_rows(titanic: Server, sent: str, accept: str) -> None:
    said = titanic.post(ROWS).json()["predictions"]
    body = {"text/csv": csv, ARROWS: stream}.get(sent, lambda _: json.dumps(ROWS).encode())(frame(ROWS))
    answer = titanic.post(body, content_type=sent, accept=accept)
    assert told(answer) == said


def test_numbers_keep_their_bits(titanic: Server) -> None:
    fares = [*np.random.default_rng(5).uniform(0, 2000, 200).tolist(), 0.1 + 0.2, 5e-324, 1e-17, 1999.9999999999998]
    rows = [ROWS[3] | {"PassengerId": 750_000 + n, "Fare": fare, "Age": 2.0} for n, fare in enumerate(fares)]
    said = titanic.post(rows).json()["predictions"]
    for body, kind in ((csv(frame(rows)), "text/csv"), (stream(frame(rows)), ARROWS)):
        assert told(titanic.post(body, content_type=kind, accept=kind)) == said


def test_other_types_of_arrow(titanic: Server) -> None:
    rows = [row | {"PassengerId": 751_000 + n, "Age": 30.0, "Fare": 8.5} for n, row in enumerate(ROWS[:20])]
    said = titanic.post(rows).json()["predictions"]
    table = frame(rows).with_columns(
        pl.col("Sex").cast(pl.Categorical),
        pl.col("Pclass").cast(pl.UInt8),
        pl.col("SibSp").cast(pl.Float32),
        pl.col("Age").cast(pl.Int32),
        pl.col("Embarked").cast(pl.Enum(["C", "Q", "S", ""])),
        Cabin=pl.lit(None) if all(row.get("Cabin") is None for row in rows) else pl.col("Cabin"),
    )
    assert told(titanic.post(stream(table), content_type=ARROWS)) == said


def test_one_object_may_be_answered_by_a_table(titanic: Server) -> None:
    said = titanic.post(ROWS[0]).json()
    assert told(titanic.post(ROWS[0], accept="text/csv")) == [said]
    assert titanic.post([], accept="text/csv").text == "id,key,Survived,probability,model_version\n"
    assert told(titanic.post(stream(frame(ROWS).clear()), content_type=ARROWS, accept=ARROWS)) == []


def test_every_fault_has_its_place(titanic: Server) -> None:
    text = csv(frame(ROWS[:3])).decode().split("\n")
    names = text[0].split(",")
    rows = [
        dict(zip(names, ["1", "3", "N", "male", "1", "0", "0", "T", "1.0", "", "Q"], strict=False)) for _ in range(3)
    ]
    rows[0] |= {"Age": "old", "Pclass": "9"}
    rows[2] |= {"Fare": "inf", "SibSp": "0.5"}
    body = "\n".join([text[0], *(",".join(row[name] for name in names) for row in rows)]).encode()
    answer = titanic.post(body, content_type="text/csv")
    assert answer.status_code == 422
    assert {(each["loc"][1], each["loc"][2]): each["msg"] for each in answer.json()["errors"]} == {
        (0, "Age"): "is not a number",
        (0, "Pclass"): "is not one of 1, 2, 3",
        (2, "Fare"): "is not a finite number",
        (2, "SibSp"): "is not a whole number",
    }


GOOD = csv(frame(ROWS[:2]))
BAD: list[tuple[str, bytes, str, int]] = [
    ("nothing", b"", "text/csv", 400),
    ("blank", b" \n\n", "text/csv", 400),
    ("an open quote", GOOD + b'1,"', "text/csv", 400),
    ("not UTF-8", GOOD.replace(b"male", b"\xff\xfe"), "text/csv", 400),
    ("too few fields", GOOD + b"1,2\n", "text/csv", 422),
    ("too many fields", GOOD.rstrip() + b",,,x\n", "text/csv", 422),
    ("another column", GOOD.replace(b"Sex", b"Gender", 1), "text/csv", 422),
    ("a column twice", GOOD.replace(b"Sex", b"Name", 1), "text/csv", 400),
    ("no header", GOOD.partition(b"\n")[2], "text/csv", 400),
    ("10,001 rows", b"PassengerId,Pclass\n" + b"1,1\n" * 10_001, "text/csv", 413),
    ("another charset", GOOD, "text/csv; charset=latin-1", 415),
    ("no header, and it says so", GOOD, "text/csv; header=absent", 415),
    ("JSON in place of a stream", b"{}", ARROWS, 400),
    ("no bytes", b"", ARROWS, 400),
    ("lists", stream(pl.DataFrame({"Age": [[1.0]]})), ARROWS, 422),
    ("half a stream", stream(frame(ROWS[:50]))[:2000], ARROWS, 400),
    ("compressed", stream(frame(ROWS[:50]), compression="zstd"), ARROWS, 415),
    ("nested", stream(frame(ROWS[:2]).with_columns(Name=pl.concat_list("Name"))), ARROWS, 422),
    ("10,001 rows of Arrow", stream(pl.DataFrame({"Age": [1.0] * 10_001})), ARROWS, 413),
    ("NaN", stream(frame(ROWS[:2]).with_columns(Age=pl.lit(float("nan")))), ARROWS, 422),
    ("bytes for text", stream(frame(ROWS[:2]).with_columns(Name=pl.lit(b"a"))), ARROWS, 422),
    ("one long text many times", stream(frame(ROWS).with_columns(Cabin=pl.lit("x" * 2**20))), ARROWS, 413),
]


@pytest.mark.parametrize(("body", "kind", "status"), [each[1:] for each in BAD], ids=[each[0] for each in BAD])
def test_a_bad_table_is_refused(titanic: Server, body: bytes, kind: str, status: int) -> None:
    answer = titanic.post(body, content_type=kind)
    assert answer.status_code == status, answer.text[:500]
    assert answer.headers["content-type"] == "application/problem+json"
    assert titanic.get("/health").status_code == 200


@pytest.mark.parametrize("level", [pl.CompatLevel.oldest(), pl.CompatLevel.newest()], ids=["texts", "views"])
def test_no_length_that_a_stream_claims_is_believed(level: pl.CompatLevel) -> None:
    table = pl.DataFrame({"Age": [1.5, None], "Name": ["a" * 20, "b"], "Sex": ["male", "female"]})
    file = io.BytesIO()
    table.with_columns(pl.col("Sex").cast(pl.Categorical)).write_ipc_stream(file, compat_level=level)
    good = file.getvalue()
    assert of_arrow(good, 10).cast({"Sex": pl.String}).equals(table)
    seen = set()
    for at in range(0, len(good) - 8, 4):
        for number in (2**62, -1, 2**31 - 1, 3):
            bad = good[:at] + number.to_bytes(8, "little", signed=True) + good[at + 8 :]
            try:
                assert of_arrow(bad, 10).height <= 10
            except Problem as problem:
                seen.add(problem.status)
    assert seen <= {400, 413, 415, 422}


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", PLAIN),
        ("*/*", PLAIN),
        ("application/json", PLAIN),
        ("text/csv", CSV),
        ("Text/CSV", CSV),
        ("text/*", CSV),
        ("text/html, */*;q=0.1", PLAIN),
        ("text/csv;q=0.5, application/json;q=0.4", CSV),
        ("text/csv;q=0.4, application/json;q=0.5", PLAIN),
        ("text/csv, application/json", PLAIN),
        ("*/*, application/json;q=0", CSV),
        (f"{ARROWS}, text/csv;q=0.9", ARROW),
        ("application/*;q=0.2, text/csv;q=0.1", PLAIN),
        ("image/png", None),
        ("application/json;q=0", None),
        ("text/csv; q=0", None),
        ("nonsense", None),
    ],
)
def test_what_is_liked_best(accept: str, kind: Kind | None) -> None:
    if kind is None:
        with pytest.raises(Problem) as refused:
            preferred(accept.encode())
        assert refused.value.status == 406
    else:
        assert preferred(accept.encode()) is kind


def test_a_refused_answer_is_not_logged(titanic: Server) -> None:
    row = ROWS[0] | {"PassengerId": 752_000}
    assert titanic.post(row, accept="image/png").status_code == 406
    assert titanic.post(row | {"Age": 5.5}).status_code == 200


def test_content_types() -> None:
    assert of_content(b'text/csv; charset="UTF-8"; header=present') is CSV
    assert of_content(b"text/tab-separated-values") is None
