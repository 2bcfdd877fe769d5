"""Alerts folded on from where an earlier fold stood, beside a fold over all readings."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Literal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.effort import rounds
from tests.worlds.flow import system_of

import headrace
from headrace import Monitoring
from headrace.loop import folded as memory_of
from headrace.loop import readings as table_of_readings
from headrace.loop.evaluate import policy_of
from headrace.loop.folded import folded
from headrace.policy.folding import AlertFold, fold
from headrace.policy.monitoring import LEVELS, MonitoringFacts, MonitorRule, Reading, ScopeReading

DAY = timedelta(days=1)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_names = count()


class Dial(MonitorRule):
    """A rule whose readings are made up."""

    about_model = True
    kind: Literal["test_dial"] = "test_dial"

    def measure(self, facts: MonitoringFacts) -> pl.DataFrame:
        """Nothing."""
        return pl.DataFrame(schema={"time": pl.Datetime("us", "UTC"), "value": pl.Float64})


RULES = (Dial(name="a"), Dial(name="b", consecutive=2, grace=DAY), Dial(name="c", consecutive=3))
scopes = st.tuples(st.sampled_from(["ok", "warning", "alarm", "unknown"]), st.sampled_from(["ok", "warning", "alarm"]))
measured = st.dictionaries(st.sampled_from(["x", "y"]), scopes, max_size=2)
day_of_rules = st.lists(st.one_of(st.none(), measured), min_size=3, max_size=3)
"""Of each rule: unknown, or what it measured in some scopes."""
days = st.lists(day_of_rules, min_size=1, max_size=6)


def readings_of(day: int, rules: list[dict[str, tuple[str, str]] | None], value: float = 1.0) -> list[Reading]:
    result = []
    for rule, several in zip(RULES, rules, strict=True):
        if several is None:
            result.append(Reading(BEGIN + day * DAY, rule.called, "unknown"))
            continue
        listed = []
        for key, (level, kept_level) in sorted(several.items()):
            worse = max(level, kept_level, key=[*LEVELS, "unknown"].index)
            kept = level if level == "unknown" else worse  # the hysteresis keeps a level, and makes none better
            listed.append(ScopeReading({"k": key}, level, kept, value / 3, 0.1, 5, {"e": value}))
        worst = max((s.level for s in listed if s.level in LEVELS), key=LEVELS.index, default="ok")
        result.append(Reading(BEGIN + day * DAY, rule.called, worst, value, 0.1, 5, tuple(listed)))
    return result


@given(before=days, after=days, promoted=st.sets(st.integers(0, 11), max_size=3))
def test_a_fold_goes_on_from_its_state(before, after, promoted):
    first = [r for n, rules in enumerate(before) for r in readings_of(n, rules)]
    then = [r for n, rules in enumerate(after) for r in readings_of(len(before) + n, rules)]
    starts = [BEGIN + n * DAY for n in sorted(promoted)]
    state = AlertFold()
    state.add("s", first, RULES, starts)
    kept = memory_of.FoldState.of(state, first[-1].time)
    text = json.dumps([memory_of._alert_fields(alert) for alert in state.closed]), json.dumps(kept.tracks)
    closed = [memory_of._alert(each) for each in json.loads(text[0])]
    resumed = memory_of.FoldState(kept.time, kept.closed, kept.last, json.loads(text[1])).resumed(closed)
    resumed.add("s", then, RULES, starts)
    assert resumed.alerts == fold("s", [*first, *then], RULES, starts)


class History:
    """A system whose readings are made up, in a store, under the name that it has by then."""

    def __init__(self, home) -> None:
        self.home, self.name = home, f"s{next(_names)}"
        self.first, self.day, self.version, self.promotions = self.name, 0, 0, list[datetime]()
        self.resumed = 0

    @property
    def system(self):
        return system_of().model_copy(update={"name": self.name, "monitoring": Monitoring(rules=RULES)})

    def evaluate(self, several, back: int) -> None:
        """The readings of further days, and those of some days before made anew, as late facts have it."""
        start = max(self.day - back, 0)
        self.version += 1
        made = [r for n, rules in enumerate(several) for r in readings_of(start + n, rules, self.version)]
        self.day = max(self.day, start + len(several))
        last = BEGIN + (self.day - 1) * DAY
        seen = {"raw": self.version}
        table_of_readings.write(self.home, self.name, policy_of(self.system), made, last, seen)
        self.alerts().keep(self.home, self.name)

    def rename(self) -> None:
        self.home.store.folders.move(self.name, f"{self.name}n")
        self.name += "n"

    def alerts(self, as_of: datetime | None = None):
        return folded(self.home, self.system, self.first, self._known(as_of), as_of)

    def _known(self, as_of: datetime | None) -> list[datetime]:
        return sorted(time for time in self.promotions if as_of is None or time <= as_of)

    def check(self, as_of: datetime | None) -> None:
        readings = table_of_readings.read(self.home, self.name, policy_of(self.system), as_of)
        assert self.alerts(as_of).alerts == fold(self.first, readings, RULES, self._known(as_of))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return headrace.open(tmp_path_factory.mktemp("folded")).reading


@pytest.fixture(autouse=True, scope="module")
def small():
    """States after few readings, and few of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory_of, "SPACING", 4)
        patch.setattr(memory_of, "STATES", 3)
        yield


step = st.one_of(
    st.tuples(st.just("evaluate"), days, st.sampled_from([0, 0, 0, 2, 5])),
    st.tuples(st.just("promote"), st.integers(-6, 0)),
    st.tuples(st.just("rename")),
)


@settings(max_examples=rounds(3, 40))
@given(steps=st.lists(step, min_size=2, max_size=5), looks=st.lists(st.integers(0, 20), min_size=2, max_size=2))
def test_what_is_remembered_changes_nothing(home, steps, looks):
    history = History(home)
    history.evaluate([[{"x": ("alarm", "alarm")}, None, {}]] * 3, 0)
    for what, *details in steps:
        if what == "promote":
            history.promotions.append(BEGIN + max(history.day + details[0], 0) * DAY)
        else:
            getattr(history, what)(*details)
        history.check(None)
    for look in looks:
        history.check(BEGIN + look * DAY)


def test_only_new_readings_are_folded_and_only_where_the_past_stands(home, monkeypatch):
    history, folded_readings = History(home), []
    add = AlertFold.add
    monkeypatch.setattr(
        AlertFold, "add", lambda self, s, r, *rest: (folded_readings.append(len(r)), add(self, s, r, *rest))
    )
    alarm = [[{"x": ("alarm", "alarm")}, None, None]]
    for _ in range(6):
        history.evaluate(alarm, 0)
    history.check(None)
    assert max(folded_readings[:-2]) <= 6 < 18, "the first is the check's own"
    history.evaluate(alarm, 4)  # known before the last states: begun earlier
    assert folded_readings[-1] > 6
    for file in history.home.path.rglob(f"{history.name}/{memory_of.FILE}"):
        file.write_bytes(file.read_bytes()[:-20])
        history.check(None)
        return
    raise AssertionError("nothing was kept")
