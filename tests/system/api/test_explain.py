"""`system.explain` of a system of rows: rows from a file, from Python, and stored ones."""

from __future__ import annotations

import json
import math
import shutil

import polars as pl
import pytest
from tests.servers import TITANIC, passengers, titanic_template

import headrace as hr
from headrace.errors import ExplainError, NotFoundError, UsageError
from headrace.tasks.rows.explained import RowExplainer


@pytest.fixture(scope="module")
def titanic(tmp_path_factory: pytest.TempPathFactory) -> hr.BoundSystem:
    home = tmp_path_factory.mktemp("titanic") / "home"
    shutil.copytree(titanic_template(tmp_path_factory.getbasetemp()), home)
    return hr.open(home, quiet=True).system(TITANIC)


def test_rows_are_the_same_from_a_file_a_frame_and_a_list(titanic, tmp_path):
    rows = passengers(20, first=800_001)
    lines = [json.dumps(row) for row in rows]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n")
    listed = titanic.explain(data=rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    frame = pl.DataFrame([{name: row.get(name) for name in names} for row in rows], infer_schema_length=None)
    assert titanic.explain(data=str(tmp_path / "rows.jsonl")) == listed == titanic.explain(data=frame)
    assert titanic.explain(data=rows[4]) == listed[4:5]
    assert [item.keys["PassengerId"] for item in listed] == [row["PassengerId"] for row in rows]
    for item in listed:
        total = item.base + sum(part.contribution for part in item.contributions)
        assert 1 / (1 + math.exp(-total)) == pytest.approx(item.value, abs=1e-9) == item.answer["probability"]
        assert item.frame.height == len(item.contributions)


def test_what_cannot_be_explained_says_so(titanic):
    rows = passengers(2, first=800_101)
    cases = [
        ({"data": rows * 501}, UsageError, "1,002 predictions are more than the 1,000"),
        ({"data": [rows[0], rows[1] | {"Pclass": 9}]}, UsageError, "Pclass"),
        ({"data": rows, "label": 3}, UsageError, "there is no class 3"),
        ({"data": rows, "where": {"PassengerId": 1}}, UsageError, "exclude each other"),
        ({"where": {"PassengerId": 999_999_999}}, NotFoundError, "has no row 999999999"),
        ({"prediction_id": "0185cfa3-2c00-7000-8000-000000000000"}, NotFoundError, "no prediction"),
    ]
    for arguments, error, message in cases:
        with pytest.raises(error, match=message):
            titanic.explain(**arguments)


def test_a_file_with_a_bad_row_is_refused_whole(titanic, tmp_path):
    rows = [row | {"Pclass": 9 * (place == 2) or 3} for place, row in enumerate(passengers(3, first=800_201))]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    with pytest.raises(UsageError, match=r"1 of 3 rows break the contract: .*Pclass"):
        titanic.explain(data=str(tmp_path / "rows.jsonl"))


def test_a_stored_answer_that_cannot_be_taken_apart_is_refused_with_its_id(titanic, monkeypatch):
    name = titanic.predictions()["id"][0]

    def no_number(*_):
        return math.fsum([math.inf, -math.inf])

    monkeypatch.setattr(RowExplainer, "_explanation", no_number)
    with pytest.raises(ExplainError, match="cannot be taken apart") as refusal:
        titanic.explain(name)
    assert refusal.value.where == name
    with pytest.raises(ExplainError, match="cannot be taken apart"):  # of rows that are not stored too: no traceback
        titanic.explain(data=passengers(1, first=800_301))
