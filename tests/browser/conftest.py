"""A real Chromium, once for the tests of a file, and a home that is served to it, once for all of a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser
from tests.browser.home import browsed
from tests.browser.window import chromium as started
from tests.servers import Server


@pytest.fixture(scope="module")  # while it is open, its loop keeps other tests from having one
def chromium() -> Iterator[Browser]:
    with started() as browser:
        yield browser


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with browsed(tmp_path_factory.getbasetemp(), tmp_path_factory.mktemp("browsed") / "copy") as found:
        yield found
