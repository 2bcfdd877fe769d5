"""The declarations read as the documentation writes them, and settings reach their fields."""

from __future__ import annotations

from datetime import timedelta

import pytest

from headrace.config import override
from headrace.contract import Column, Contract
from headrace.errors import ConfigError, UsageError
from headrace.sources import Source, open_source, simulated

ENERGY = Source(
    simulate=simulated.consumption,
    columns={
        "time": "HourUTC",
        "area": "PriceArea",
        "industry": "ConsumerType_DE35",
        "consumption": "TotalCon",
    },
    lag="15d",
)
PASSENGERS = Contract(
    columns=(
        Column("PassengerId", "integer", minimum=1),
        Column("Survived", "integer", values=(0, 1), nullable=True),
        Column("Sex", "category", values=("male", "female")),
        Column("Age", "float", minimum=0, maximum=120, nullable=True),
    )
)


def test_settings_reach_their_fields() -> None:
    assert override(ENERGY, {"lag": "0h"}, "source").lag == timedelta(0)
    contract = override(PASSENGERS, {"columns": {"Age": {"maximum": 99}}, "max_invalid_fraction": 0.5}, "contract")
    assert contract.column("Age").maximum == 99
    assert contract.max_invalid_fraction == 0.5


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"columns": {"Age": {"maximum": -1}}}, "contract.columns[3].minimum"),
        ({"columns": {"Sex": {"type": "sex"}}}, "contract.columns.Sex.type"),
        ({"max_invalid_fraction": 2}, "contract.max_invalid_fraction"),
    ],
)
def test_wrong_settings_name_their_field(change: dict[str, object], where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        override(PASSENGERS, change, "contract")
    assert caught.value.where == where


def test_a_scheme_that_nothing_reads_is_told_with_those_that_are_installed() -> None:
    with pytest.raises(UsageError, match="no source for the scheme 'warm'") as error:
        open_source(Source(uri="warm:listings"))
    assert error.value.hint == (
        "installed: api, bigquery://PROJECT/DATASET, delta:PATH, duckdb:PATH, file:PATH, iceberg:CATALOG/TABLE, "
        "kafka://HOST:PORT/TOPIC, postgresql://USER@HOST/DATABASE, simulated[:?key=value&...], "
        "snowflake://ACCOUNT/DATABASE/SCHEMA, sqlite:PATH"
    )
