"""Templates with all that an answer can hold: what a served home of the tests does not have."""

from types import SimpleNamespace

import pytest

from headrace.dashboard.assets import Assets
from headrace.dashboard.options import DashboardOptions
from headrace.dashboard.rendering import Rendering

VIEW = SimpleNamespace(
    now=None,
    access={"open": True, "name": "x"},
    path=lambda *parts, **_: "/" + "/".join(parts),
    again=lambda **_: "?again",
)
FRAME = {"view": VIEW, "name": "a", "tabs": [], "form_token": "t", "notice": ""}
FINDING = {"what": "topic", "status": "ok", "said": "it is there"}
LETTER = {"partition": 0, "offset": 4, "at": "2026-01-01T00:00:00Z", "reason": "bad", "value": "<b>"}
STREAM = {
    "chosen": {"reason": "bad", "cursor": None, "late": None},
    "late": False,
    "may_resend": True,
    "report": {
        "reachable": True,
        "says": "3 events wait",
        "lag": 3,
        "partitions": [{"partition": 0, "first": 0, "end": 9, "committed": 6, "lag": 3}],
        "findings": [FINDING],
    },
    "letters": {
        "rows": [LETTER],
        "kinds": [{"reason": "bad", "count": 1, "newest": LETTER["at"]}],
        "next": "more",
    },
}
DAMAGED = {
    "declared": {"ready": False, "reason": "the log is gone"},
    "checked": {"tables": [{"name": "raw", "rows": None, "ok": False, "problems": ["a file is gone"]}], "ok": False},
    "deep": True,
}
DRIFT = {
    "drift": {
        "as_of": LETTER["at"],
        "since": LETTER["at"],
        "rows": 9,
        "judged": True,
        "drifted": True,
        "share": 0.5,
        "reason": "",
        "reference": {"model_version": 1, "rows": 9, "as_of": LETTER["at"]},
        "features": [],
        "segments": [{"shop": "south", "drifted": 1}],
    },
    "features": [],
}


@pytest.mark.parametrize(
    ("template", "context", "texts"),
    [
        ("stream.html", STREAM, ("3 events wait", "&lt;b&gt;", "Send these again")),
        ("health.html", DAMAGED, ("the log is gone", "a file is gone")),
        ("drift.html", DRIFT, ("south",)),
    ],
)
def test_a_page_shows_all_of_it(template, context, texts):
    request = SimpleNamespace(scope={"root_path": "", "path": "/systems/a"}, url=SimpleNamespace(query=""))
    body, _ = Rendering(Assets(), DashboardOptions()).page(request, template, FRAME | {"tab": "x"} | context)
    page = body.decode()
    assert [text for text in texts if text not in page] == []
