"""Rules that say when to train again, tried with facts that are made up; a few of them beside what is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest

from headrace import Column, Contract, Linear, Regressor, Schedule, System
from headrace.config import override
from headrace.contract import MeanBand, Share
from headrace.errors import ConfigError, DeclarationError
from headrace.features import col
from headrace.lineage import iso
from headrace.pipelines.due import due, resting, waiting
from headrace.policy import ContractWarning, NewValues, RecentRows, RetrainRule, Warned
from headrace.registry.history import ModelVersion, VersionEvent
from headrace.registry.records import Timeline

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
RULES = (MeanBand(column="price", maximum=9), Share(column="brand", condition="null", at_most=0.5, severity="stop"))


@dataclass
class Facts:
    """Made up, for any time."""

    recent: dict[str, RecentRows] = field(default_factory=dict)
    warned: Sequence[Warned] = ()
    as_of: datetime = BEGIN
    version: int = 4
    trained_as_of: datetime = BEGIN
    asked: list[datetime] = field(default_factory=list)

    def rows(self) -> int:
        return 900

    def new_values(self, column: str) -> RecentRows:
        return self.recent[column]

    def warnings(self) -> Sequence[Warned]:
        return self.warned

    def at(self, as_of: datetime, last: ModelVersion) -> Facts:
        self.asked.append(as_of)
        return self


def system(**schedule: Any) -> System:
    return System(
        name="listings",
        contract=Contract(
            columns=(
                Column("id", "integer"),
                Column("brand", "category", nullable=True),
                Column("price", "float", nullable=True),
            ),
            rules=RULES,
        ),
        keys=("id",),
        target="price",
        features={"brand": col("brand")},
        model=Regressor(members=(Linear(),)),
        schedule=Schedule(**schedule),
    )


def version(declared: System, number: int = 1, as_of: datetime = BEGIN) -> ModelVersion:
    pins = {"made_from": declared.made_from}
    return ModelVersion("listings", number, "d", f"k{number}", as_of, as_of, "r", pins)


def timeline(declared: System, *more: tuple[str, int, datetime]) -> Timeline:
    """Version 1 is the champion since the beginning; then what else happened."""
    events = [("registered", 1, BEGIN), ("promoted", 1, BEGIN), *more]
    facts = [VersionEvent(event, n, at, at, order) for order, (event, n, at) in enumerate(events)]  # type: ignore[arg-type]
    return Timeline(facts, {f.version: version(declared, f.version, f.as_of) for f in facts if f.event == "registered"})


def test_new_values_past_a_share() -> None:
    rule = NewValues("brand", share=0.02)
    told = rule.reason(Facts({"brand": RecentRows(900, 31, {"Zed": 20, "Yak": 6, "Xi": 4, "Wu": 1})}))
    assert told == "31 of 900 new rows (3.4 %) have a brand that version 4 never saw: 'Zed', 'Yak', 'Xi' and 1 more"
    assert rule.reason(Facts({"brand": RecentRows(900, 17, {"Zed": 17})})) is None, "below the share"
    assert rule.reason(Facts({"brand": RecentRows(3, 1, {"Zed": 1})})) is None, "1 of 3 rows is no reason"
    assert rule.reason(Facts({"brand": RecentRows(0, 0)})) is None


def test_a_warning_of_the_contract() -> None:
    warned = [Warned("mean_band", "price", f"price: the mean is {n}", BEGIN) for n in (8, 9)]
    facts = Facts(warned=[*warned, Warned("share", "brand", "brand: many", BEGIN)])
    assert ContractWarning("mean_band").reason(facts) == "the contract warned: price: the mean is 9"
    assert ContractWarning("mean_band", column="price").reason(facts) is not None
    assert ContractWarning("mean_band", column="brand").reason(facts) is None
    assert ContractWarning("gaps").reason(facts) is None


def test_due_weekly_or_by_a_rule() -> None:
    declared = system(retrain=(NewValues("brand", min_rows=1),))
    facts = Facts({"brand": RecentRows(10, 5, {"Zed": 5})})
    known = timeline(declared)
    assert due(declared, Timeline((), {}), BEGIN, facts) == "there is no champion"
    assert due(declared, known, BEGIN + DAY / 2, facts) is None, "it rests for a day"
    assert not facts.asked, "and nothing is read"
    waits = f"never saw: 'Zed'; waits for the cooldown until {iso(BEGIN + DAY)}"
    assert (resting(declared, known, BEGIN + DAY / 2, facts) or "").endswith(waits)
    assert resting(declared, known, BEGIN + DAY, facts) is None, "it is due, and does not wait"
    assert resting(declared, Timeline((), {}), BEGIN, facts) is None
    assert "5 of 10 new rows" in (due(declared, known, BEGIN + DAY, facts) or "")
    nothing = Facts({"brand": RecentRows(10, 0)})
    assert due(declared, known, BEGIN + 6 * DAY, nothing) is None
    weekly = due(declared, known, BEGIN + 7 * DAY, nothing)
    assert weekly == f"the last training, as of {iso(BEGIN)}, is 7d ago or longer"
    once = system(train="never", retrain=declared.schedule.retrain, cooldown="0h")
    assert due(once, timeline(once), BEGIN, facts) is not None
    assert due(once, timeline(once), BEGIN + 700 * DAY, nothing) is None
    assert due(system(), timeline(system()), BEGIN + DAY, facts) is None, "no rule, no reason"


@pytest.mark.parametrize("event", ["rejected", "held"])
def test_what_a_training_has_answered_is_no_reason_again(event: str) -> None:
    """The rules look at what came since the last training, whatever became of its version."""
    declared = system(retrain=(NewValues("brand", min_rows=1),), promotion="manual")
    facts = Facts({"brand": RecentRows(10, 5, {"Zed": 5})})
    then = BEGIN + 2 * DAY
    known = timeline(declared, ("registered", 2, then), (event, 2, then))
    assert due(declared, known, then, facts) is None
    assert due(declared, known, then + DAY / 2, facts) is None
    asked: list[ModelVersion] = []
    facts.at = lambda as_of, last: asked.append(last) or facts  # type: ignore[method-assign, func-returns-value]
    due(declared, known, then + DAY, facts)
    assert [last.version for last in asked] == [2], "since version 2, not since the champion"


def test_a_version_waits_until_it_is_decided() -> None:
    declared = system(promotion="manual")
    then = BEGIN + DAY
    held = (("registered", 2, then), ("held", 2, then))
    known = timeline(declared, *held)
    assert [v.state for v in known.with_states().values()] == ["champion", "pending"]
    assert known.champion(then).version == 1  # type: ignore[union-attr]
    told = waiting(declared, known, then)
    assert told is not None
    assert "headrace promote listings 2, or headrace reject listings 2" in told
    assert waiting(declared, known, BEGIN) is None, "nor was it known then"
    for event, champion in (("promoted", 2), ("rejected", 1)):
        decided = timeline(declared, *held, (event, 2, then))
        assert waiting(declared, decided, then) is None
        assert decided.champion(then).version == champion  # type: ignore[union-attr]
    again = timeline(declared, *held, ("registered", 3, then + DAY), ("held", 3, then + DAY))
    assert [v.state for v in again.with_states().values()] == ["champion", "archived", "pending"]
    other = timeline(
        declared, ("registered", 2, BEGIN), ("registered", 3, then), ("held", 3, then), ("promoted", 2, then)
    )
    assert waiting(declared, other, then) is None, "it was compared with another champion"


def test_rules_are_configuration_too() -> None:
    entries = [
        {"kind": "new_values", "column": "brand", "share": 0.05},
        {"kind": "contract_warning", "rule": "mean_band"},
    ]
    made = override(system(), {"schedule": {"retrain": entries, "promotion": "manual"}})
    assert made.schedule.retrain == (NewValues("brand", share=0.05), ContractWarning("mean_band"))
    assert made.config()["schedule"]["retrain"][0]["share"] == 0.05
    assert made.config_digest == system().config_digest, "when it is trained shapes no number"
    changed = override(made, {"schedule": {"retrain": {"new_values": {"share": 0.1}}}})
    assert changed.schedule.retrain[0] == NewValues("brand", share=0.1)
    with pytest.raises(ConfigError, match="there is no kind 'drift'"):
        override(system(), {"schedule": {"retrain": [{"kind": "drift"}]}})


@pytest.mark.parametrize(
    ("rule", "where", "text"),
    [
        (NewValues("size"), "schedule.retrain[0].column", "no column 'size'"),
        (ContractWarning("gaps"), "schedule.retrain[0].rule", "does not warn by a rule 'gaps'"),
        (ContractWarning("share"), "schedule.retrain[0].rule", "does not warn by a rule 'share'"),
        (ContractWarning("mean_band", column="brand"), "schedule.retrain[0].rule", "of 'brand'"),
    ],
)
def test_mistakes_are_named(rule: RetrainRule, where: str, text: str) -> None:
    """A rule that refuses is none to train by: what it refuses is not stored."""
    with pytest.raises(DeclarationError) as caught:
        system(retrain=(rule,))
    assert text in caught.value.message
    assert caught.value.where == where


def test_a_rule_of_your_own() -> None:
    class Always(RetrainRule):
        kind: Literal["test_always"] = "test_always"

        def reason(self, facts: Any) -> str | None:
            return f"{facts.rows()} rows came"

    declared = override(system(), {"schedule": {"retrain": [{"kind": "test_always"}]}})
    assert declared.schedule.retrain == (Always(),)
    assert due(declared, timeline(declared), BEGIN + DAY, Facts()) == "900 rows came"
