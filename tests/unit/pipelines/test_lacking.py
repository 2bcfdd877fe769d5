"""A source that lacks a column is told what it has, and not what was put beside it."""

import pytest
from tests.worlds.flow import NOW, last

from headrace import Column, Contract, Regressor, System
from headrace.errors import ContractBroken
from headrace.features import col
from headrace.flow.run import RunRequest, run
from headrace.home import Home
from headrace.settings import Settings

SYSTEM = System(
    name="sizes",
    contract=Contract(
        columns=(Column("code", "text"), Column("size", "float"), Column("price", "float", nullable=True))
    ),
    keys=("code",),
    target="price",
    features={"size": col("size")},
    model=Regressor(),
)


def test_the_target_of_rows_to_be_scored_is_not_among_what_was_found(tmp_path):
    (tmp_path / "rows.csv").write_text("code\n1\n")
    request = RunRequest(last(), NOW, f"file:{tmp_path}/rows.csv", ("ingest", "validate"))
    with pytest.raises(ContractBroken, match="no column 'size'") as broken:
        run(SYSTEM, Home(Settings(home=tmp_path)), request)
    assert broken.value.hint == "found code"
