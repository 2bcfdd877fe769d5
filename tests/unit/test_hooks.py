"""Which events a hook is told, and that nothing a hook does changes what is told to others."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from headrace.errors import DeclarationError, HookError
from headrace.hooks import HOOKS, Calls, HookEvent, IngestedEvent, PredictedEvent, PromotedEvent, ScoredEvent, hears

AT = datetime(2026, 1, 1, tzinfo=UTC)
PROMOTED = PromotedEvent("energy", AT, version=2, before=1, reason="better")
SCORED = ScoredEvent("energy", AT, matured=3, metrics={})


def test_a_function_hears_what_its_argument_is_annotated_with():
    def one(event: PromotedEvent): ...
    def two(event: PromotedEvent | ScoredEvent): ...
    def all_of_them(event: HookEvent): ...

    assert [len(hears(hook, "hooks[0]")) for hook in (one, two, all_of_them)] == [1, 2, 8]


def test_an_object_hears_by_the_names_of_its_methods():
    class Mine:
        def promoted(self, event):
            heard.append(event)

        def ingested(self, event): ...

    heard = []
    assert set(hears(Mine(), "hooks[0]")) == {PromotedEvent, IngestedEvent}
    Calls("energy", (Mine(),), None)(PROMOTED)
    Calls("energy", (Mine(),), None)(SCORED)
    assert heard == [PROMOTED]


@pytest.mark.parametrize("hook", [3, lambda event: None, PredictedEvent, "print"])
def test_what_hears_nothing_is_refused(hook):
    with pytest.raises(DeclarationError) as error:
        hears(hook, "hooks[1]")
    assert error.value.where == "hooks[1]"


def test_an_exception_is_counted_and_the_next_hook_is_told(caplog):
    def broken(event: PromotedEvent):
        raise ValueError("no")

    def next_one(event: PromotedEvent):
        heard.append(event)

    heard = []
    calls = Calls("energy", (broken, next_one), None)
    calls(PROMOTED)
    assert heard == [PROMOTED]
    (text,) = calls.failed
    assert text.endswith("broken failed on PromotedEvent: ValueError: no")
    assert "Traceback" in caplog.text
    with pytest.raises(HookError, match="ValueError: no"):
        Calls("energy", (broken,), None, strict=True)(PROMOTED)


def test_a_hook_that_exits_is_a_failed_hook_and_an_interruption_is_none():
    def ends(event: PromotedEvent):
        raise SystemExit(7)

    def interrupted(event: PromotedEvent):
        raise KeyboardInterrupt

    calls = Calls("energy", (ends,), None)
    calls(PROMOTED)
    assert calls.failed[0].endswith("ends failed on PromotedEvent: SystemExit: 7")
    with pytest.raises(HookError, match="SystemExit: 7"):
        Calls("energy", (ends,), None, strict=True)(PROMOTED)
    with pytest.raises(KeyboardInterrupt):
        Calls("energy", (interrupted,), None)(PROMOTED)


PACKAGE = """
from headrace.hooks import PromotedEvent

HEARD = []

def tell(event: PromotedEvent):
    HEARD.append(event)
"""


def test_packages_bring_hooks_and_a_broken_package_does_no_harm(distribution):
    entries = {"tell": "acme_hooks:tell", "gone": "acme_gone:tell"}
    distribution("acme", "1.2", {"headrace.hooks": entries})
    (distribution.folder / "acme_hooks.py").write_text(PACKAGE)
    calls = Calls("energy", (), HOOKS)
    calls(PROMOTED)
    from acme_hooks import HEARD

    assert HEARD == [PROMOTED]
    assert calls.failed == [
        "the hook gone of acme 1.2 cannot be used: ModuleNotFoundError: No module named 'acme_gone'"
    ]
    assert replace(PROMOTED, before=None) != PROMOTED
