"""Rules of monitoring as configuration gives them, and those that cannot watch a system."""

from __future__ import annotations

from typing import Any

import pytest
from tests.worlds.flow import system_of

from headrace import Monitoring
from headrace.config import override
from headrace.errors import ConfigError, DeclarationError
from headrace.policy.monitoring import Coverage, Threshold

MAPE = {"kind": "threshold", "metric": "mape", "warn": 0.2, "alarm": 0.3, "by": "series"}


def with_rules(rules: Any) -> Monitoring:
    return override(system_of(), {"monitoring": {"rules": rules}}).monitoring


def test_rules_come_from_configuration_and_are_changed_by_it() -> None:
    made = with_rules([MAPE, {"kind": "coverage"}])
    assert made.watched == (Threshold("mape", warn=0.2, alarm=0.3, by="series"), Coverage())
    base = system_of().model_copy(update={"monitoring": made})
    assert made.policy != system_of().monitoring.policy
    assert override(base, {"monitoring": {"rules": {"coverage": {"warn": 0.05}}}}).monitoring.watched[1].warn == 0.05
    assert with_rules([]).watched == ()


@pytest.mark.parametrize(
    ("rules", "where", "message"),
    [
        ([{"kind": "tresholds"}], "monitoring.rules", "there is no kind 'tresholds'"),
        ([{"warn": 1}], "monitoring.rules", "says its kind"),
        ([MAPE | {"wran": 1}], "monitoring.rules", "wran"),
        ([MAPE | {"warn": "much"}], "monitoring.rules", "number"),
        ([{"kind": "threshold", "warn": 1}], "monitoring.rules", "metric"),
        ([MAPE | {"warn": 0.5}], "monitoring.rules[0].warn", "a warning comes before an alarm"),
        ([MAPE, MAPE], "monitoring.rules[1]", "two rules are called 'mape by series'"),
        ([MAPE | {"metric": "maep"}], "monitoring.rules[0].metric", "no metric 'maep'"),
        ([{"kind": "worse_than_held_out", "metric": "auc"}], "monitoring.rules[0].metric", "no metric 'auc'"),
        ([MAPE | {"by": "plaze"}], "monitoring.rules[0].by", "no column 'plaze'"),
        ([MAPE | {"by": "warmth"}], "monitoring.rules[0].by", "not kept by 'warmth'"),
        ([MAPE | {"by": ["series", "horizon"]}], "monitoring.rules[0].by", "not kept by 'horizon'"),
    ],
)
def test_what_cannot_be_a_rule_is_named(rules: Any, where: str, message: str) -> None:
    with pytest.raises((ConfigError, DeclarationError)) as told:
        with_rules(rules)
    assert message in str(told.value)
    assert (told.value.where or "").startswith(where)


@pytest.mark.parametrize(
    ("entry", "field"), [({"kind": "new_values"}, "column"), ({"kind": "new_values", "column": "place", "x": 1}, "x")]
)
def test_rules_of_retraining_name_their_fields_too(entry: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError) as told:
        override(system_of(), {"schedule": {"retrain": [entry]}})
    assert told.value.where == f"schedule.retrain[0].{field}"


@pytest.mark.parametrize("by", ["place", "series", "horizon", "system"])
def test_errors_of_forecasts_have_these_scopes(by: str) -> None:
    assert with_rules([MAPE | {"by": by}]).watched[0].called.startswith("mape")
