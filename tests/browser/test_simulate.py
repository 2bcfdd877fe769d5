"""The pages of simulations in a real browser: begun by a form, watched while they go on, read when they are over."""

import pytest
from playwright.sync_api import expect
from tests.browser.test_dashboard import WINDOWS
from tests.browser.window import Window, shown
from tests.worlds.answers import SIMULATION, Answers

ONE = "/v1/systems/load/simulations/s1"


@pytest.mark.parametrize(("scheme", "width"), WINDOWS)
def test_policies_are_tried_watched_and_read(chromium, scheme, width):
    api = Answers()
    names = ["declared", "careful", "never again"]
    result = [
        {**document, "policy": name}
        for name, document in zip(names, [*api.answers[ONE]["result"], api.answers[ONE]["result"][1]], strict=True)
    ]
    progress = {"stage": "careful: predict", "count": 12, "total": 29}
    plain = SIMULATION | {"names": names, "by": "ann"}
    api.answers[ONE] = plain | {"state": "running", "progress": progress, "result": None}
    api.answers["/v1/systems/load/simulations"] = {"simulations": [plain], "next": None}
    with shown(api) as url:
        window = Window(chromium, url, scheme=scheme, width=width)
        page, faults = window.page, []

        def look(name):
            window.shoot(name)
            faults.extend([*window.faults(), *(["too wide"] if window.overflow() > 0 else [])])

        window.login("secret")
        window.open("/systems/load/simulate")
        page.click("text=A policy of your own")
        page.fill("#name-0", "careful")
        page.fill("#policy-0", "schedule: {train: [")
        page.click("text=Try them")
        expect(page.locator("#policy-0")).to_have_attribute("aria-invalid", "true")
        look("simulate")
        page.fill("#policy-0", "schedule: {train: 3d}")
        page.check("text=weekly")
        page.click("text=Try them")
        expect(page.locator("progress")).to_have_attribute("value", "12")
        assert api.posted[-1][1]["policies"] == {"declared": {}, "careful": {"schedule": {"train": "3d"}}}
        assert api.posted[-1][1]["beside"] == ["never", "7d"]
        look("simulation-running")
        api.answers[ONE] = plain | {"result": result}
        expect(page.locator("figure[data-ready] .u-wrap")).to_have_count(1, timeout=15_000)
        look("simulation")
        page.click(".pills >> text=careful")
        expect(page.locator("#trainings-head")).to_contain_text("careful")
        assert faults == []
        assert window.troubles == []
        window.context.close()
