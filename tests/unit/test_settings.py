"""The environment, and the file `.env` below it."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.errors import ConfigError
from headrace.settings import load_settings


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HEADRACE_HOME", raising=False)


def test_the_environment_counts_more_than_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("HEADRACE_THREADS=3\nheadrace_home='from the file'\nHEADRACE_OTHER=1\nTHREADS=9\n")
    monkeypatch.setenv("HEADRACE_THREADS", "4")
    monkeypatch.setenv("HEADRACE_KAFKA", '{"security.protocol": "SASL_SSL"}')
    found = load_settings()
    assert (found.threads, found.home) == (4, Path("from the file"))
    assert found.kafka["security.protocol"].get_secret_value() == "SASL_SSL"
    assert load_settings(Path("given")).home == Path("given")


@pytest.mark.parametrize(
    ("name", "value"),
    [("THREADS", "-1"), ("LEDGER_TIMEOUT", "soon"), ("KAFKA", "{not JSON"), ("TOKENS", "[]")],
)
def test_a_value_that_does_not_fit_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"HEADRACE_{name}", value)
    with pytest.raises(ConfigError) as refused:
        load_settings()
    assert refused.value.where == f"HEADRACE_{name}"


def test_a_file_that_is_no_text_is_named() -> None:
    Path(".env").write_bytes(b"HEADRACE_HOME=\xff\n")
    with pytest.raises(ConfigError) as refused:
        load_settings()
    assert refused.value.where == ".env"


def test_no_token_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_TOKENS", '{"sesame": "*:read"}')
    with pytest.raises(ConfigError) as refused:
        load_settings()
    assert "sesame" not in str(refused.value).lower()
