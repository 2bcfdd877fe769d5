"""What an answer has beside its number: each member's value, and notes on what no row of the training had."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from headrace import Boosting, Column, Contract, Linear, Regressor, Source, System
from headrace.errors import DeclarationError
from headrace.features import Features, col, frequency, join, target_mean
from headrace.sources.messages.fields import avro_reader, avro_schema, avro_writer, json_schema
from headrace.tasks.rows.explained import RowExplainer
from headrace.tasks.rows.fitting import Rows, fit
from headrace.tasks.rows.form import RowForm
from headrace.tasks.rows.model import RowModel
from headrace.tasks.rows.outputs.declared import output_with
from headrace.tasks.rows.training import learnable

COLUMNS = (
    Column("id", "text"),
    Column("brand", "category", nullable=True),
    Column("kind", "category"),
    Column("weight", "float", nullable=True),
    Column("said", "text", nullable=True),
    Column("price", "float", minimum=0, nullable=True),
)
FEATURES = Features(
    {
        "brand": col("brand"),
        "kind": col("kind"),
        "weight": col("weight"),
        "often": frequency(col("brand")),
        "mean": target_mean(join(col("brand"), col("kind")), prior=2.0, towards=target_mean(col("kind"), prior=2.0)),
    }
)
NOTES = {
    "brand": "priced by kind",
    "often": "taken as rare",
    "kind": "priced by weight",
    "weight": "taken as it is",
    "mean": "priced by kind",
}
TYPES = {"brand": "category", "kind": "category", "weight": "float"}


def frame(count: int = 300, seed: int = 0, **held: Any) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    brand, kind, weight = random.integers(0, 6, count), random.integers(0, 3, count), random.uniform(1, 9, count)
    data: dict[str, Any] = {
        "brand": [None if n == 5 else f"b{n}" for n in brand],
        "kind": [f"k{n}" for n in kind],
        "weight": weight.round(2),
        "price": np.exp(1 + 0.3 * kind + 0.1 * weight + 0.2 * random.normal(size=count)),
    }
    return pl.DataFrame(data | held, schema_overrides={"brand": pl.String})


def system(**settings: Any) -> System:
    members = (Linear(), Boosting(n_estimators=20))
    model = Regressor(members=members, folds=3, repeats=1, **{"scale": "log", "notes": NOTES, **settings})
    return System(
        name="prices",
        source=Source(uri="file:prices.csv"),
        contract=Contract(columns=COLUMNS),
        keys=("id",),
        target="price",
        features=dict(FEATURES.items()),
        model=model,
    )


def fitted(rows: pl.DataFrame | None = None, **settings: Any) -> RowModel:
    of = system(**settings)
    assert isinstance(of.model, Regressor)
    return fit(of.model, output_with(of, ()), FEATURES, Rows(frame() if rows is None else rows, "price", TYPES)).model


USUAL: dict[str, Any] = {"brand": "b1", "kind": "k1", "weight": 5.0}


def test_what_no_row_of_the_training_had_is_said() -> None:
    model = fitted()

    def notes(**changes: Any) -> list[str]:
        said: list[str] = model.answer(USUAL | changes)["notes"]
        return said

    assert notes() == []
    assert notes(brand=None) == [], "the training had rows without a brand"
    assert notes(brand="new") == [
        "unseen brand: priced by kind",
        "unseen often: taken as rare",
        "unseen mean: priced by kind",
    ]
    unseen = "unseen kind: priced by weight"
    assert notes(kind="new") == [unseen, "unseen mean: priced by kind"]
    assert notes(kind=None)[0] == "no kind: priced by weight"
    assert notes(weight=None) == ["no weight: taken as it is"]
    assert notes(weight=1000.0) == ["weight of 1000 lies beyond 1.04 to 9: taken as it is"]


def test_every_form_of_an_answer_has_the_same_members_and_notes(tmp_path: Path) -> None:
    model = fitted(tell_members=True, intervals_by="kind")
    model.save(tmp_path)
    model = RowModel.load(tmp_path)
    odd = [USUAL, {"brand": "new", "kind": None, "weight": float("inf")}, {"brand": None, "kind": "", "weight": -1e300}]
    new = frame(40, seed=1).drop("price").to_dicts() + odd
    answers = [model.answer(row) for row in new]
    table = pl.DataFrame(new, schema=model.schema(), orient="row")
    assert model.answers_of_frame(table) == answers
    for count in (1, 5, len(new)):
        columns = {name: [row[name] for row in new[:count]] for name in TYPES}
        assert model.answers(columns) == answers[:count]
    assert [told.answer for told in RowExplainer(model, 1).explain(table)] == answers
    assert list(answers[0]) == ["price", "lower", "upper", "members", "notes"]
    assert list(answers[0]["members"]) == list(model.names)
    assert model.answers({name: [] for name in TYPES}) == []
    assert list(model.answer_columns({name: [] for name in TYPES})) == list(answers[0])


def test_members_have_the_unit_of_the_target() -> None:
    model = fitted(tell_members=True)
    answer = model.answer(USUAL)
    logs = np.log1p(list(answer["members"].values()))
    assert np.log1p(answer["price"]) == pytest.approx(model.blend.offset + np.dot(model.weights, logs))


def test_columns_of_answers_are_declared_and_stored_as_json() -> None:
    plain, told = output_with(system(notes={}), ()), output_with(system(tell_members=True), ())
    assert list(plain.columns_beside) == ["lower", "upper"]
    assert told.columns_beside == {"lower": "float", "upper": "float", "members": "object", "notes": "texts"}
    assert told.schema_beside()["notes"]["items"] == {"type": "string"}
    answer = {"price": 2.0, "lower": 1.0, "upper": 3.0, "members": {"0_linear": 2.0}, "notes": ["no kind: by weight"]}
    stored = told.frame([answer], pl.Float64)
    assert stored["notes"].to_list() == ['["no kind: by weight"]']
    assert told.told(stored.row(0, named=True)) == answer


def test_a_column_without_any_value_is_learnt_from_and_one_category_too() -> None:
    rows = frame(brand=[None] * 300, kind=["k"] * 300)
    model = fitted(rows)
    assert model.answer(USUAL | {"brand": "b1", "kind": "k"})["notes"] == [
        "unseen brand: priced by kind",
        "unseen often: taken as rare",
        "unseen mean: priced by kind",
    ]
    assert model.answer(USUAL | {"brand": None, "kind": "k"})["notes"] == []


def test_a_note_on_what_is_no_feature_is_refused() -> None:
    with pytest.raises(DeclarationError, match="'colour' is no feature"):
        system(notes={"colour": "priced by kind"})
    with pytest.raises(DeclarationError, match="'colour' is no feature"):
        system(intervals_by="colour")


def test_rows_that_are_set_apart_are_not_learnt_from() -> None:
    rows = pl.concat([frame(), frame(30, seed=3, price=[0.0] * 30)])
    of = system(learn_from=col("price") > 0)
    kept = learnable(of, rows)
    assert kept.height == 300
    assert fitted(kept).answer(USUAL) == fitted().answer(USUAL)
    model = Regressor.model_validate(of.model.model_dump(mode="json"))
    again = System(**{**vars(of), "model": model})
    assert learnable(again, rows).equals(kept), "from configuration, too"
    with pytest.raises(DeclarationError, match="cost"):
        system(learn_from=col("cost") > 0)


def test_members_and_notes_are_numbers_by_name_and_texts_on_a_topic() -> None:
    fields = [
        field for field in RowForm(system(tell_members=True)).topic_fields() if field.name in ("members", "notes")
    ]
    assert [field.kind for field in fields] == ["numbers", "texts"]
    document = {"members": {"0_linear": 2.5}, "notes": ["no kind: priced by weight", "unseen brand: priced by kind"]}
    read = avro_reader(json.dumps(avro_schema("Answer", fields)))
    assert read(avro_writer("Answer", fields)(document)) == document
    assert json_schema("Answer", fields)["properties"]["notes"] == {"type": "array", "items": {"type": "string"}}
