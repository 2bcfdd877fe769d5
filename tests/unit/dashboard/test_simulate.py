"""The pages of simulations without a browser: the form, its faults, what is under way, and what came of it."""

import re

import pytest
from tests.unit.dashboard.test_pages import Browser
from tests.worlds.answers import HOSTILE, SIMULATION, Answers

PATH = "/systems/load/simulate"
FORM = {"start": "2026-02-01T00:00", "end": "2026-03-01T00:00", "every": "1d", "beside": ["never", "7d"]}


@pytest.fixture
def api():
    return Answers()


@pytest.fixture
def browser(api):
    found = Browser(api)
    assert found.login().status_code == 303
    return found


def begin(browser, **more):
    return browser.ask("POST", PATH, data={**FORM, "form_token": browser.form_token(PATH), **more})


def test_the_form_begins_with_what_is_known_and_asks_for_one_simulation(api, browser):
    page = browser.get(PATH).text
    assert 'value="2026-02-16T00:00"' in page
    assert 'value="2026-03-02T00:00"' in page
    own = {"name.0": "careful", "policy.0": "schedule: {train: 3d}"}
    assert begin(browser, **own).headers["location"] == f"{PATH}/s1"
    assert api.posted == [
        (
            "/v1/systems/load/simulations",
            {
                "start": "2026-02-01T00:00:00Z",
                "end": "2026-03-01T00:00:00Z",
                "every": "1d",
                "policies": {"declared": {}, "careful": {"schedule": {"train": "3d"}}},
                "beside": ["never", "7d"],
            },
        )
    ]
    assert "waits for its turn" in browser.get(f"{PATH}/s1").text
    begin(browser, **own)
    begin(browser)
    first, again, other = api.keys
    assert first == again != other


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("schedule: {train: [", "is not YAML"),
        ("a: &a [1, 1]\nb: *a", "has anchors"),
        ("- one", "fields with values"),
    ],
)
def test_a_policy_that_is_none_is_said_at_its_field(api, browser, text, words):
    page = begin(browser, **{"policy.1": text, "name.1": HOSTILE}).text
    assert api.posted == []
    assert words in page
    assert 'aria-describedby="wrong-policy-1"' in page
    assert 'id="wrong-policy-1"' in page
    assert 'value="2026-02-01T00:00"' in page, "what was filled in is kept"


def test_what_is_under_way_is_shown_and_can_be_cancelled(api, browser):
    progress = {"stage": "never again: predict", "count": 3, "total": 29}
    api.answers["/v1/systems/load/simulations/s1"] = SIMULATION | {
        "state": "running",
        "progress": progress,
        "result": None,
    }
    page = browser.get(f"{PATH}/s1").text
    assert 'hx-trigger="every 2s' in page
    assert '<progress value="3" max="29"' in page
    assert "simulated_error" not in page
    token = browser.form_token(f"{PATH}/s1")
    assert browser.ask("POST", f"{PATH}/s1/cancel", data={"form_token": "forged"}).status_code == 403
    assert api.posted == []
    browser.ask("POST", f"{PATH}/s1/cancel", data={"form_token": token})
    assert api.posted == [("/v1/systems/load/simulations/s1", None)]


def test_what_failed_says_why(api, browser):
    why = {"state": "failed", "reason": "interrupted: the server ended", "result": None}
    api.answers["/v1/systems/load/simulations/s1"] = SIMULATION | why
    page = browser.get(f"{PATH}/s1").text
    assert "interrupted: the server ended" in page
    assert "hx-trigger" not in page


def test_what_came_of_it_is_a_verdict_a_chart_tables_and_csv(browser):
    page = browser.get(f"{PATH}/s1", params={"policy": "never again"}).text
    assert "The baseline naive 7d is better than all of them: 4.0 %." in page
    assert "Trainings of never again" in page
    figure = "/systems/load/figures/simulated_{}.{}".format
    query = {"simulation": "s1", "policy": "never again"}
    drawn = browser.get(figure("error", "json"), params=query).json()
    assert [line["role"] for line in drawn["lines"]] == ["ours", "other", "naive", "naive"]
    assert (drawn["lines"][0]["y"][0], drawn["lines"][2]["label"], len(drawn["marks"])) == (0.05, "naive 7d", 1)
    alerts = browser.get(figure("alerts", "csv"), params=query).text.splitlines()
    assert alerts[0] == "at,severity,rule,scope,value,threshold,closed_at,outcome,why"
    assert "retune promoted" in alerts[1]
    assert ",'=1+1," in browser.get(figure("trainings", "csv"), params=query).text
    assert browser.get(figure("alerts", "html"), params=query).status_code == 200
    assert browser.get(figure("error", "json"), params={"simulation": "gone"}).status_code == 404


def test_who_may_only_look_sees_no_form(api):
    browser = Browser(api, read_only=True)
    browser.login()
    page = browser.get(PATH).text
    assert "datetime-local" not in page
    token = re.search(r'form_token" value="([0-9a-f]+)"', page)[1]
    assert browser.ask("POST", PATH, data=FORM | {"form_token": token}).status_code == 403
    assert api.posted == []
