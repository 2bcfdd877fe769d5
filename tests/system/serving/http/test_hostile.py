"""No body, header or path makes the server fail: each has its status, and an error says where it is wrong."""

from __future__ import annotations

import gzip
import json
import socket
import zlib
from typing import Any

import pytest
from tests.servers import PREDICT, Server, passengers

ROW = passengers(1, first=50_000_000)[0] | {"Age": 30.0, "Fare": 8.5, "Cabin": "C1", "Embarked": "S"}
TEXT = json.dumps(ROW)


def row(**changes: Any) -> bytes:
    return json.dumps(ROW | changes).encode()


def raw(name: str, value: str) -> bytes:
    """The row with a value as it stands, which may be no JSON."""
    return (json.dumps({k: v for k, v in ROW.items() if k != name})[:-1] + f', "{name}": {value}}}').encode()


def without(name: str) -> bytes:
    return json.dumps({k: v for k, v in ROW.items() if k != name}).encode()


def many(count: int, each: bytes) -> bytes:
    return b"[" + b",".join([each] * count) + b"]"


AGE, NAME, ID = ["body", "Age"], ["body", "Name"], ["body", "PassengerId"]
BODIES: list[tuple[str, bytes, int, list[Any] | None]] = [
    ("missing", without("Sex"), 422, ["body", "Sex"]),
    ("missing key", without("PassengerId"), 422, ID),
    ("null", row(Pclass=None), 422, ["body", "Pclass"]),
    ("text for a number", row(Age="30"), 422, AGE),
    ("truth for a number", row(Age=True), 422, AGE),
    ("truth for a whole number", row(Pclass=True), 422, ["body", "Pclass"]),
    ("fraction for a whole number", row(SibSp=0.5), 422, ["body", "SibSp"]),
    ("number for a text", row(Name=5), 422, NAME),
    ("an empty text that is needed", row(Name=""), 422, NAME),
    ("a blank text that is needed", row(Name="\u2003 "), 422, NAME),
    ("object for a number", row(Age={"a": 1}), 422, AGE),
    ("array for a text", row(Ticket=["a"]), 422, ["body", "Ticket"]),
    ("NaN", raw("Age", "NaN"), 422, AGE),
    ("Infinity", raw("Age", "Infinity"), 422, AGE),
    ("-Infinity", raw("Fare", "-Infinity"), 422, ["body", "Fare"]),
    ("NaN in an array", many(2, raw("Age", "NaN")), 422, ["body", 0, "Age"]),
    ("1e999", raw("Age", "1e999"), 422, AGE),
    ("1e308", raw("Age", "1e308"), 422, AGE),
    ("2^70", raw("PassengerId", str(2**70)), 422, ID),
    ("2^63", raw("PassengerId", str(2**63)), 422, ID),
    ("5,000 digits", raw("PassengerId", "9" * 5000), 422, ID),
    ("a million digits", raw("Age", "9" * 1_000_000), 422, AGE),
    ("a large float for a whole number", raw("PassengerId", "1e300"), 422, ID),
    ("negative", row(Age=-1), 422, AGE),
    ("zero key", row(PassengerId=0), 422, ID),
    ("unknown category", row(Sex="other"), 422, ["body", "Sex"]),
    ("blank category", row(Sex=" "), 422, ["body", "Sex"]),
    ("unknown class", row(Pclass=4), 422, ["body", "Pclass"]),
    ("extra field", row(Agee=3), 422, ["body", "Agee"]),
    ("a very long extra field", row(**{"x" * 100_000: 3}), 422, ["body", "x" * 40 + "…"]),
    ("many extra fields", row(**{f"x{n}": n for n in range(60_000)}), 422, ["body", "x0"]),
    ("broken", TEXT[:-1].encode(), 400, None),
    ("trailing", TEXT.encode() + b"x", 400, None),
    ("two rows", TEXT.encode() * 2, 400, None),
    ("empty", b"", 400, None),
    ("blank", b" \n ", 400, None),
    ("NUL", b"\x00", 400, None),
    ("UTF-16", TEXT.encode("utf-16"), 400, None),
    ("number", b"5", 422, ["body"]),
    ("text", b'"row"', 422, ["body"]),
    ("null row", b"null", 422, ["body"]),
    ("empty object", b"{}", 422, ID),
    ("array of arrays", b"[[1, 2], [3]]", 422, ["body", 0]),
    ("array of null", b"[null]", 422, ["body", 0]),
    ("second row bad", many(1, TEXT.encode())[:-1] + b"," + row(Age=-1) + b"]", 422, ["body", 1, "Age"]),
    ("100,000 deep", b"[" * 100_000 + b"]" * 100_000, 400, None),
    ("100,000 deep objects", b'{"a":' * 100_000 + b"1" + b"}" * 100_000, 400, None),
    ("100,000 deep and open", b"[" * 100_000, 400, None),
    *((f"{depth} deep value", raw("Name", "[" * depth + r'"\n"' + "]" * depth), 422, NAME) for depth in (100, 800)),
    ("10 MB", b" " * 10_000_000, 413, None),
    ("a million rows", many(1_000_000, b"{}"), 413, None),
    ("10,001 rows", many(10_001, b"{}"), 413, None),
    ("10,000 bad rows", many(10_000, b'{"q":1}'), 422, ["body", 0, "PassengerId"]),
    ("invalid UTF-8", TEXT.encode().replace(b"C1", b"\xff\xfe"), 400, None),
    ("lone surrogate", row(Name="\ud800, Mr. X"), 422, NAME),
    ("lone surrogate at the end", row(Name="Ek, Mr. \udfff"), 422, NAME),
    ("lone surrogate in a name", row(**{"\ud800": 1}), 400, None),
    ("surrogate as UTF-8", TEXT.encode().replace(b"C1", b"\xed\xa0\x80"), 422, ["body", "Cabin"]),
    ("twice", TEXT[:-1].encode() + b', "Age": 31}', 400, AGE),
    ("twice the same", TEXT[:-1].encode() + b', "Age": 30.0}', 400, AGE),
    ("twice, escaped", TEXT[:-1].encode() + rb', "\u0041ge": 31}', 400, AGE),
    ("twice beside a row without it", b"[" + TEXT[:-1].encode() + b', "Age": 31}, ' + without("Age") + b"]", 400, None),
    ("unknown twice", TEXT[:-1].encode() + b', "q": 1, "q": 2}', 400, ["body", "q"]),
    ("100,000 names, escaped", row(**{f"\n{n}": n for n in range(100_000)}), 422, ["body", "\n0"]),
    ("control character", TEXT.encode().replace(b"C1", b"C\x01"), 400, None),
]


@pytest.mark.parametrize(("body", "status", "at"), [each[1:] for each in BODIES], ids=[each[0] for each in BODIES])
def test_a_hostile_body_is_refused(titanic: Server, body: bytes, status: int, at: list[Any] | None) -> None:
    answer = titanic.post(body)
    assert answer.status_code == status, answer.text[:500]
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["type"], problem["status"]) == ("about:blank", status)
    assert problem["title"]
    assert problem["detail"]
    assert len(answer.content) < 50_000
    assert answer.elapsed.total_seconds() < 20
    for error in problem.get("errors", []):
        assert set(error) == {"loc", "msg"}
    if at is not None:
        assert problem["errors"][0]["loc"] == at
    assert titanic.get("/health").status_code == 200


def test_a_value_that_json_cannot_carry_hides_no_other_fault(titanic: Server) -> None:
    bad = row(Name="\ud800", Pclass=9, Agee=1).replace(b'"Age": 30.0', b'"Age": NaN')
    assert {each["loc"][1] for each in titanic.post(bad).json()["errors"]} == {"Name", "Pclass", "Agee", "Age"}
    told = titanic.post(b"[%b,%b,%b]" % (row(Pclass=9), bad, row(Sex="x"))).json()["errors"]
    assert [each["loc"][1] for each in told] == [0, 1, 1, 1, 1, 2]


STRANGE = [
    ("a huge text", {"Name": "x" * 3_000_000}),
    ("control characters", {"Name": "Ek,\x00\x1f Mr.\x7f \u2028Bo", "Ticket": "\x1f\x00", "Cabin": "\x1f"}),
    ("empty and blank texts", {"Cabin": "", "Age": "", "Fare": " ", "Embarked": "\t\u3000"}),
    ("wide characters", {"Name": "Ék, Mr. 😀\U0010ffff", "Ticket": "a\u0301"}),
    ("the largest key", {"PassengerId": 2**63 - 1}),
    ("a whole float", {"SibSp": 2.0}),
    ("the smallest float", {"Fare": 5e-324}),
    ("minus zero", {"Age": -0.0}),
    ("a known outcome", {"Survived": 1}),
    ("newlines", {"Name": "Ek,\nMr.\r\nBo"}),
]


@pytest.mark.parametrize("changes", [each[1] for each in STRANGE], ids=[each[0] for each in STRANGE])
def test_a_strange_row_is_a_row(titanic: Server, changes: dict[str, Any]) -> None:
    mine = ROW | {"PassengerId": 60_000_000 + zlib.crc32(repr(changes).encode())} | changes
    alone = titanic.post(mine)
    assert alone.status_code == 200, alone.text
    assert titanic.post([mine, *passengers(20, first=70_000_000)]).json()["predictions"][0] == alone.json()
    trace = titanic.get(f"/v1/predictions/{alone.json()['id']}").json()
    given = {name: value for name, value in mine.items() if name != "Survived" and str(value).strip()}
    assert trace["prediction"]["inputs"] == given


@pytest.mark.parametrize("blank", ["", " ", None, "\u00a0"])
@pytest.mark.parametrize("name", ["Cabin", "Age"])
def test_an_empty_text_is_a_missing_value(titanic: Server, name: str, blank: str | None) -> None:
    """The same row, and so the same prediction: no conflict, whichever way it came first."""
    mine = {key: value for key, value in ROW.items() if key != name}
    mine["PassengerId"] = 80_000_000 + zlib.crc32(repr((name, blank)).encode())
    first = titanic.post(mine | {name: blank})
    assert first.status_code == 200, first.text
    assert titanic.post(mine).json() == first.json()
    assert titanic.post([mine | {name: blank}, mine]).json()["predictions"] == [first.json()] * 2


def test_a_byte_order_mark_is_no_part_of_the_body(titanic: Server) -> None:
    body = json.dumps(ROW | {"PassengerId": 81_000_000}).encode()
    plain, marked = titanic.post(body), titanic.post(b"\xef\xbb\xbf" + body)
    assert (plain.status_code, marked.json()) == (200, plain.json())


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "text/plain"}, 415),
        ({"content-type": ""}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-type": "application/json; charset=utf-8"}, 200),
        ({"content-type": "application/vnd.shop+json"}, 200),
        ({"content-type": "APPLICATION/JSON"}, 200),
        ({"content-type": "application/json", "content-encoding": "gzip"}, 200),
        ({"content-type": "application/json", "content-encoding": "br"}, 415),
    ],
)
def test_the_content_type_is_json(titanic: Server, headers: dict[str, str], status: int) -> None:
    with titanic.client() as client:
        body = gzip.compress(row()) if "content-encoding" in headers else row()
        answer = client.post(PREDICT, content=body, headers=headers)
    assert answer.status_code == status
    if status == 415:
        assert answer.json()["errors"][0]["loc"][0] == "header"


POST = f"POST {PREDICT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ".encode()


@pytest.mark.parametrize(
    "request_line",
    [
        POST + b"-1",
        POST + b"" + b"9" * 5000,
        b"POST /v1/systems/%ff%00%0a/predict HTTP/1.1\r\nhost: x\r\ncontent-length: 0",
        b"POST /v1/systems/a%2fb/predict HTTP/1.1\r\nhost: x\r\ncontent-length: 0",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: x",
        b"GET " + b"/x" * 40_000 + b" HTTP/1.1\r\nhost: x",
        b"BREW /health HTTP/1.1\r\nhost: x",
        b"GET /v1/predictions/%E2%80%AE HTTP/1.1\r\nhost: x",
    ],
    ids=["negative length", "endless length", "bytes in a name", "slash in a name", "bytes", "long", "verb", "bidi"],
)
def test_a_hostile_request_is_refused(titanic: Server, request_line: bytes) -> None:
    host, port = titanic.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(request_line + b"\r\nconnection: close\r\n\r\n")
        head, _, body = b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")
    status = int(head.split()[1])
    assert 400 <= status < 500
    assert b"content-type: application/problem+json" in head
    assert json.loads(body)["status"] == status
    assert titanic.get("/health").status_code == 200
