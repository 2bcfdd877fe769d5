"""The dashboard in a real browser: every page and every write."""

from __future__ import annotations

import httpx
import pytest
from tests.browser.pictures import pages_of
from tests.browser.window import Window, shown
from tests.servers import passengers
from tests.worlds.answers import SCORES, Answers

WINDOWS = (("light", 1440), ("dark", 360))


@pytest.mark.parametrize(("scheme", "width"), WINDOWS)
def test_every_page_is_whole_and_can_be_used_by_everybody(chromium, server, scheme, width):
    window = Window(chromium, server.url, scheme=scheme, width=width)
    window.login()
    found = {}
    for name, path in pages_of(server).items():
        window.open(path)
        window.shoot(name)
        found[name] = [*window.faults(), *([f"{window.overflow()} too wide"] if window.overflow() > 0 else [])]
        found[name] += ["it failed"] if "The page failed" in window.page.inner_text("body") else []
    assert {name: faults for name, faults in found.items() if faults} == {}
    assert [trouble for trouble in window.troubles if "404" not in trouble] == []
    window.context.close()


def test_a_run_tells_its_steps(chromium, server):
    window = Window(chromium, server.url)
    window.login()
    window.open("/systems/energy/runs")
    window.page.click("tbody a >> nth=0")
    assert "train" in window.page.inner_text("section[aria-labelledby=steps-head]")
    assert window.faults() == []
    window.context.close()


def test_a_version_is_promoted_and_the_open_page_shows_it(chromium, server):
    window, other = Window(chromium, server.url), Window(chromium, server.url)
    for each in (window, other):
        each.login()
        each.open("/systems/energy/models")
    champion = other.page.locator("tr", has=other.page.locator(".badge.good")).locator("th").inner_text()
    row = window.page.locator("tbody tr", has_text="Promote").first
    version = row.locator("th").inner_text()
    row.locator("summary").first.click()
    row.locator("input[name=reason]").first.fill("looks better <b>")
    row.locator("form button").first.click()
    assert f"{version.capitalize()} of energy is the champion now." in window.page.inner_text(".banner.good")
    window.shoot("promoted")
    other.page.evaluate("htmx.trigger(document.body, 'look')")
    other.page.locator("tr", has=other.page.locator(".badge.good")).locator("th", has_text=version).wait_for()
    assert version != champion
    window.page.click("text=Roll back…")
    window.page.click("text=Make the champion before it")
    assert f"{champion.capitalize()} of energy is the champion again." in window.page.inner_text(".banner.good")
    for each in (window, other):
        each.context.close()


def test_a_row_is_asked_for_explained_traced_and_replayed(chromium, server):
    window = Window(chromium, server.url)
    window.login()
    window.open("/systems/titanic/rows")
    row = passengers(3, first=900_000)[2]
    for name in ("PassengerId", "Name", "SibSp", "Ticket"):
        window.page.fill(f"[name='row.{name}']", str(row[name]))
    for name in ("Pclass", "Sex"):
        window.page.select_option(f"[name='row.{name}']", str(row[name]))
    window.page.fill("[name='row.Parch']", "two")
    window.page.click("text=Predict and explain")
    assert "Parch" in window.page.inner_text("p[role=alert]")
    assert window.page.get_attribute("[name='row.Parch']", "aria-invalid") == "true"
    assert window.faults() == []
    window.page.fill("[name='row.Parch']", "0")
    window.page.click("text=Predict and explain")
    assert "probability" in window.page.inner_text(".answer")
    window.shoot("answered")
    assert window.faults() == []
    window.page.click("text=trace it")
    window.page.click("button:has-text('Replay')")
    assert "identical" in window.page.inner_text("section[aria-labelledby=replay-head]")
    assert window.faults() == []
    window.shoot("prediction")
    window.context.close()


def test_rows_set_apart_are_browsed_and_released(chromium, server):
    window = Window(chromium, server.url)
    window.login()
    window.open("/systems/titanic/data")
    window.page.click("section[aria-labelledby=apart-head] a:has-text('only these') >> nth=0")
    assert "<script>alert(1)" in window.page.inner_text("section[aria-labelledby=apart-head]")
    window.page.click("text=release the good ones")
    window.page.click("text=Check and release")
    assert "5 kept" in window.page.inner_text(".banner.good")
    window.shoot("released")
    window.context.close()


def test_who_may_only_look_sees_no_button(chromium, server):
    window = Window(chromium, server.url)
    window.login("to-look")
    for path in ("/systems/energy/models", "/systems/titanic/data", "/systems/titanic/rows"):
        window.open(path)
        assert window.page.locator("main form[method=post]").count() == 0
    window.context.close()


def test_the_keyboard_reaches_everything(chromium, server):
    window = Window(chromium, server.url)
    window.login()
    window.open("/systems/energy/series")
    window.page.keyboard.press("Tab")
    assert window.page.evaluate("document.activeElement.className") == "skip"
    window.page.keyboard.press("Enter")
    assert window.page.evaluate("document.activeElement.id") == "main"
    window.page.keyboard.press("/")
    window.page.keyboard.type("DK1")
    window.page.keyboard.press("Enter")
    window.page.wait_for_url("**/series?q=DK1*")
    window.open("/systems/energy")
    slider = window.page.locator("input[type=range]")
    slider.press("ArrowLeft")
    window.page.wait_for_url("**as_of=2026-03-02T12*")
    window.context.close()


def test_pages_are_small_and_long_charts_are_drawn(chromium):
    api = Answers(token="")
    api.answers["/v1/access"]["open"] = True
    row = SCORES["rows"][0]
    rows = [
        {**row, "time": f"{2000 + n // 300}-{n // 25 % 12 + 1:02}-{n % 25 + 1:02}T00:00:00Z"} for n in range(10_000)
    ]
    api.answers["/v1/systems/load/scores"] = {**SCORES, "rows": rows}
    with shown(api) as url:
        window = Window(chromium, url)
        window.open("/systems/load")
        sizes = window.page.evaluate(
            "[performance.getEntriesByType('navigation')[0], ...performance.getEntriesByType('resource')]"
            ".filter(each => !each.name.includes('/figures/')).map(each => each.transferSize)"
        )
        assert 0 < sum(sizes) < 120_000
        seconds = window.page.evaluate(
            "() => { const began = performance.now(); document.dispatchEvent(new Event('headrace:theme'));"
            " return (performance.now() - began) / 1000; }"
        )
        assert seconds < 1, "three charts, of 10,000 points two, are drawn anew"
        window.context.close()


def test_a_page_says_what_is_wrong_and_recovers_by_itself(chromium):
    api = Answers(token="secret")
    with shown(api) as url:
        window = Window(chromium, url)
        window.login("secret")
        window.open("/systems/load/models")
        api.trouble = lambda request: httpx.Response(503, json={"title": "Busy", "detail": "too many wait"})
        window.page.wait_for_selector("#away:not([hidden])")
        assert "No answer since" in window.page.inner_text("#away")
        window.shoot("away")
        window.page.reload()
        assert "too many wait" in window.page.inner_text("main")
        assert window.faults() == []
        window.shoot("refused")
        api.trouble = None
        window.page.wait_for_selector("text=Versions, by WAPE")
        api.token = "another"
        window.page.wait_for_url("**/login?next=*models")
        window.context.close()
