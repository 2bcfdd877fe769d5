"""Rules of monitoring as configuration gives them, and those that cannot watch a system."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.worlds.flow import system_of

from headrace import Column, Contract, Monitoring
from headrace.config import override
from headrace.errors import ConfigError, DeclarationError
from headrace.loading import load_system
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
        ([MAPE | {"alarm": float("nan")}], "monitoring.rules[0].alarm", "nan is no number"),
        ([MAPE | {"window": "0d"}], "monitoring.rules[0].window", "no time at all"),
        ([MAPE | {"window": "999999d"}], "monitoring.rules[0].window", "longer than a hundred years"),
        ([MAPE | {"grace": "-1d"}], "monitoring.rules[0].grace", "no time at all"),
        ([MAPE | {"by": ["series", "horizon"]}], "monitoring.rules[0].by", "not kept by 'horizon'"),
    ],
)
def test_what_cannot_be_a_rule_is_named(rules: Any, where: str, message: str) -> None:
    with pytest.raises((ConfigError, DeclarationError)) as told:
        with_rules(rules)
    assert message in str(told.value)
    assert (told.value.where or "").startswith(where)


@pytest.mark.parametrize(
    ("rule", "where", "message"),
    [
        ({"kind": "drifted", "column": "Agge"}, "column", "'Agge' is not measured"),
        ({"kind": "stale_source", "by": "series"}, "by", "rows has no series"),
    ],
)
def test_a_system_of_rows_refuses_what_it_does_not_have(rule: dict[str, Any], where: str, message: str) -> None:
    titanic = load_system(str(Path(__file__).parents[3] / "systems" / "titanic"))
    with pytest.raises((ConfigError, DeclarationError), match=message) as refused:
        override(titanic, {"monitoring": {"rules": [rule]}})
    assert refused.value.where == f"monitoring.rules[0].{where}"
    measured = {"kind": "drifted", "column": titanic.target}
    assert override(titanic, {"monitoring": {"rules": [measured, {"kind": "stale_source"}]}}).monitoring.rules


def test_drift_of_a_column_is_of_what_an_origin_has() -> None:
    with pytest.raises((ConfigError, DeclarationError), match="'laod' is not measured") as refused:
        with_rules([{"kind": "drifted", "column": "laod"}])
    assert system_of().target in str(refused.value.hint)
    assert with_rules([{"kind": "drifted", "column": system_of().target}]).rules is not None


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


@pytest.mark.parametrize("path", ["window", "every", "at_most.per", "retry"])
def test_times_that_mean_nothing_are_refused(path: str) -> None:
    first, _, rest = path.partition(".")
    with pytest.raises((ConfigError, DeclarationError), match="no time at all") as told:
        override(system_of(), {"monitoring": {first: {rest: "-1d"} if rest else "-1d"}})
    assert told.value.where == f"monitoring.{path}"


@pytest.mark.parametrize("notify", [["json://me:s3cr3t@host/hook"], "slack://s3cr3t", ["OPS", "a s3cr3t"]])
def test_an_address_in_the_place_of_a_channel_is_refused_and_not_repeated(notify: Any) -> None:
    with pytest.raises((ConfigError, DeclarationError), match="no name of a variable") as told:
        override(system_of(), {"monitoring": {"notify": notify}})
    assert "s3cr3t" not in f"{told.value} {told.value.hint}"
    assert override(system_of(), {"monitoring": {"notify": "OPS"}}).monitoring.notify == ("OPS",)


@pytest.mark.parametrize("name", ["rank", "n", "value", "mape"])
def test_a_scope_is_not_called_as_what_is_measured(name: str) -> None:
    columns = (Column(name, "category"), Column("time", "time"), Column("y", "float"))
    rules = (Threshold("mape", warn=1, by="series"),)
    with pytest.raises(DeclarationError, match=f"by a column '{name}'"):
        Monitoring(rules=rules).check(Contract(columns=columns), scopes=(name,))
