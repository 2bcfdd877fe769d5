"""The declaration loads, and says what it promises."""

from pathlib import Path

import polars as pl

from headrace.features.compiled import compile_row
from headrace.loading import load_system

FOLDER = str(Path(__file__).parent)
BAG = {
    "train_id": 1,
    "name": "Coach bag",
    "item_condition_id": 1,
    "category_name": "Women/Women's Handbags/Shoulder Bag",
    "brand_name": None,
    "price": None,
    "shipping": 1,
    "item_description": None,
}


def test_listings_are_told_apart_by_their_number() -> None:
    system = load_system(FOLDER)
    assert (system.name, system.keys, system.target, system.forecasts) == (
        "price_alchemy",
        ("train_id",),
        "price",
        False,
    )


def test_every_feature_has_a_row_form_and_missing_texts_have_a_meaning() -> None:
    system = load_system(FOLDER)
    compiled = compile_row(system.features, {column.name: column.type for column in system.contract.columns})
    assert compiled.slow == ()
    found = dict(zip(compiled.names, compiled.call(BAG), strict=True))
    assert (found["top"], found["middle"], found["brand"]) == ("Women", "Women/Women's Handbags", "unbranded")
    assert found["words"] == "Coach bag  Women/Women's Handbags/Shoulder Bag "
    assert found["of_brand"].split("\x1f") == ["unbranded|Women", "unbranded", "Women"]


def test_numbers_of_the_file_of_tests_are_those_of_other_listings() -> None:
    prepare = load_system(FOLDER).source.prepare
    assert prepare is not None
    assert prepare(pl.DataFrame({"test_id": ["0"]}))["train_id"].to_list() == [10_000_000]
    assert prepare(pl.DataFrame({"train_id": ["0"]}))["train_id"].to_list() == ["0"]
