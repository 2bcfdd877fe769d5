"""Errors of rows by a column of their contract, on the page of the system."""

import httpx
from tests.unit.dashboard.test_pages import Browser
from tests.worlds.answers import HOSTILE, SCORES, SYSTEM, Answers

PATH = "/v1/systems/load"
ROWS = [
    {"brand": HOSTILE, "n": 9, "wape": 0.2, "naive_7d_wape": 0.1, "baseline": "naive_7d", "skill": -1.0},
    {"brand": "other", "n": 5, "wape": 0.05, "naive_7d_wape": 0.1, "baseline": "naive_7d", "skill": 0.5},
]


def shown(by, trouble=None):
    api = Answers()
    properties = {"id": {}, "brand": {}, "name": {}, "load": {}}
    api.answers[PATH] = SYSTEM | {"horizon": None, "keys": ["id"], "contract": {"properties": properties}}
    api.answers[f"{PATH}/scores"] = SCORES | {"by": by, "columns": [by], "rows": ROWS}
    browser = Browser(api)
    browser.login()
    api.trouble = trouble
    return browser.get("/systems/load", params={"by": by}).text


def test_segments_stand_beside_the_baseline_and_what_is_none_says_so():
    page = shown("brand")
    assert "Errors by brand" in page
    assert "<script>alert" not in page
    assert [f"<option{mark}>{name}</option>" in page for name, mark in (("brand", " selected"), ("name", ""))] == [1, 1]
    assert "<option>id</option>" not in page
    assert "<option>load</option>" not in page
    assert "20.0 %" in page
    assert "+50.0 %" in page

    def refuse(request):
        said = {"title": "no", "detail": "name has another value for almost every row"}
        return httpx.Response(422, json=said) if request.url.path.endswith("/scores") else None

    assert "another value for almost every row" in shown("name", refuse)
    assert 'data-chart="/systems/load/figures/error.json' in shown("version")
