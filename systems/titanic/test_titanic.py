"""The declaration loads, and says what it promises."""

from pathlib import Path

from headrace.features.compiled import compile_row
from headrace.loading import load_system

FOLDER = str(Path(__file__).parent)
KELLY = {
    "PassengerId": 892,
    "Survived": None,
    "Pclass": 3,
    "Name": "Kelly, Mrs. Mary (Anne O'Hara)",
    "Sex": "female",
    "Age": None,
    "SibSp": 1,
    "Parch": 0,
    "Ticket": "330911",
    "Fare": 8.0,
    "Cabin": None,
    "Embarked": None,
}


def test_rows_are_told_apart_by_passenger() -> None:
    system = load_system(FOLDER)
    assert (system.name, system.keys, system.target, system.forecasts) == (
        "titanic",
        ("PassengerId",),
        "Survived",
        False,
    )


def test_every_feature_has_a_row_form_and_reads_what_it_should() -> None:
    system = load_system(FOLDER)
    compiled = compile_row(system.features, {column.name: column.type for column in system.contract.columns})
    assert compiled.slow == ()
    found = dict(zip(compiled.names, compiled.call(KELLY), strict=True))
    assert (found["title"], found["class"], found["family"], found["embarked"], found["age"]) == (
        "Mrs",
        3,
        2.0,
        "S",
        None,
    )
    assert found["party"].split("\x1f") == ["330911", "Kelly|3", "true|3|false"]
