"""What every database of the ledger must do: one suite, run over SQLite and over PostgreSQL."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from headrace.errors import ConfigError, KeyConflictError, LedgerError
from headrace.ledger import Ledger
from headrace.testing import LedgerSuite
from headrace.testing.ledger import NOW, PINS, entry, notice

WRITE = st.tuples(st.sampled_from("st"), st.sampled_from("abcdé\x01 \"'"), st.sampled_from("xyz"))
WRITES = st.lists(st.lists(WRITE, max_size=9), max_size=6)


class Databases(LedgerSuite):
    """What the suite does not ask of others' databases."""

    def test_a_newer_ledger_is_refused(self, ledger: Ledger, uri: str) -> None:
        engine = create_engine(uri)
        with engine.begin() as connection:
            connection.execute(text("UPDATE ledger_format SET version = 99"))
        engine.dispose()
        with pytest.raises(LedgerError, match="99"):
            Ledger.open(uri)

    def test_a_ledger_of_an_earlier_headrace_gets_the_columns_that_it_lacks(self, ledger: Ledger, uri: str) -> None:
        ledger.notices.put([notice("a1", "raised")])
        engine = create_engine(uri)
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE notices DROP COLUMN given_up_at"))
        engine.dispose()
        reopened = Ledger.open(uri)
        assert reopened.notices.give_up("energy", [], NOW) == [("mail", 1, NOW)]
        reopened.close()

    @given(WRITES)
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors])
    def test_property_any_writes_are_as_in_a_dictionary(
        self, ledger: Ledger, batches: list[list[tuple[str, str, str]]]
    ) -> None:
        tag = str(len(ledger.read("s", limit=100_000))) + "/" + str(len(ledger.read("t", limit=100_000))) + "/"
        model: dict[tuple[str, str], object] = {}
        for batch in batches:
            entries = [entry(ledger, tag + key, row, system=system) for system, key, row in batch]
            for one, outcome in zip(entries, ledger.write(entries), strict=True):
                stands = model.setdefault((one.system, one.key), one)
                if stands.digest == one.digest:
                    assert outcome == stands
                else:
                    assert isinstance(outcome, KeyConflictError)
        for system in "st":
            stored = [e for _, e in ledger.read(system, limit=100_000) if e.key.startswith(tag)]
            assert stored == [e for (name, _), e in model.items() if name == system]
        for (system, key), one in model.items():
            assert ledger.find(system, key) == one
            assert ledger.get(one.id) == (one, PINS)


class TestSqlite(Databases):
    @pytest.fixture
    def uri(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/new/ledger.db"


class TestPostgresql(Databases):
    @pytest.fixture
    def uri(self, postgres_database: str) -> str:
        return postgres_database


@pytest.mark.parametrize(
    "bad",
    ["", "ledger.db", "mysql://u:sesame@h/d", "sqlite://", "sqlite:///:memory:", "postgresql://u:sesame@h:port/d"],
)
def test_what_is_no_ledger_is_refused_without_its_secrets(bad: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Ledger.open(bad)
    assert "sesame" not in "".join(traceback.format_exception(caught.value))
