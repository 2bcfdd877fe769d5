"""Conformance suites: what headrace asks of a part, as tests that you run on a part of your own.

Subclass a suite in a test file of yours, and give it the part by overriding its fixtures; pytest does the rest.
headrace runs the same suites on the parts that it brings. The suites need pytest; nothing else of headrace does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace.testing.databases import DatabaseSuite
    from headrace.testing.executors import ExecutorSuite
    from headrace.testing.ledger import LedgerSuite
    from headrace.testing.models import ForecasterSuite, LearnerSuite
    from headrace.testing.sources import SourceSuite
    from headrace.testing.store import StoreSuite

__all__ = [
    "DatabaseSuite",
    "ExecutorSuite",
    "ForecasterSuite",
    "LearnerSuite",
    "LedgerSuite",
    "SourceSuite",
    "StoreSuite",
]

_MODULES = {
    "DatabaseSuite": "databases",
    "ExecutorSuite": "executors",
    "ForecasterSuite": "models",
    "LearnerSuite": "models",
    "LedgerSuite": "ledger",
    "SourceSuite": "sources",
    "StoreSuite": "store",
}


def __getattr__(name: str) -> Any:
    """A suite, imported when it is asked for: one of sources needs none of what the others do."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import pytest

    module = f"{__name__}.{_MODULES[name]}"
    pytest.register_assert_rewrite(module)
    return getattr(import_module(module), name)
