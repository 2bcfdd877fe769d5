"""Passwords in URIs that end too early for a parser: refused, and shown nowhere."""

import pytest

from headrace.errors import HeadraceError
from headrace.sinks.address import Address
from headrace.store.online.postgresql import PostgreSQLOnline


@pytest.mark.parametrize("rest", ["bob:hun/ter2@db/shop", "bob:hun?ter2@db/shop", "bob:1/ter2@db/shop"])
@pytest.mark.parametrize("build", [Address.of, lambda uri: PostgreSQLOnline(uri, 1)], ids=["target", "online"])
def test_a_password_that_ends_too_early_is_refused_without_being_shown(build, rest):
    with pytest.raises(HeadraceError) as refused:
        build(f"postgresql://{rest}")
    assert "hun" not in str(refused.value)
    assert "ter2" not in str(refused.value)
    assert "%2F" in refused.value.hint


def test_an_escaped_password_is_masked():
    assert Address.of("postgresql://bob:hun%2Fter2@db/shop/table").shown == "postgresql://bob:***@db/shop/table"
    assert "hun" not in Address.of("https://db/a:hun@b").shown
