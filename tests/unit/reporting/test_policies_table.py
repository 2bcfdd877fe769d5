"""Policies side by side in a terminal of 80 columns: what one costs is there, whatever policies are called."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from headrace.console.simulations import _policies


@pytest.mark.parametrize(
    "policies", [("never", "b"), ("policies/cost_aware_with_weekly.yaml", "cusum of errors by day")]
)
def test_the_cost_stands_in_eighty_columns(policies, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    tried = []
    for name in policies:
        row = {"policy": name, "wape": 0.04349, "baseline": 0.03669, "coverage": 0.8012}
        row |= {"retrainings": 12, "retunings": 1, "promotions": 3, "alarms": 14, "right": 0.9167, "caught": 0.5}
        tried.append(SimpleNamespace(metric="wape", row=lambda row=row: row | {"cpu_seconds": 1234.5}))
    _policies(tried)
    out = capsys.readouterr().out
    header = next(line for line in out.splitlines() if "wape" in line)
    names = [name.strip() for name in header.strip("┃").split("┃")]
    assert {"wape", "baseline", "trained", "tuned", "alarms", "CPU s"} <= set(names)
    assert "1,23" in out
    assert max(map(len, out.splitlines())) <= 80
