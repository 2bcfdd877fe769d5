"""What Python opens: without a folder, in a notebook, and as errors tell it."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

import headrace as hr
from headrace.api.html import table
from headrace.console.progress import progress
from headrace.errors import NotFoundError, UsageError
from headrace.features import lag
from headrace.models import Forecaster


@pytest.fixture
def plain() -> hr.System:
    return hr.System(
        name="plain",
        contract=hr.Contract(columns=(hr.Column("at", "time", zone="UTC"), hr.Column("y", "float"))),
        time="at",
        step="1h",
        horizon="2h",
        target="y",
        features={"before": lag("y", "24h")},
        model=Forecaster(seasons=("24h",)),
        schedule=hr.Schedule(predict="1h", train="never"),
    )


@pytest.fixture
def facts(tmp_path) -> str:
    begin = datetime(2024, 1, 1, tzinfo=UTC)
    lines = [f"{begin + timedelta(hours=n):%Y-%m-%dT%H:%M:%SZ},{n % 24}" for n in range(24 * 19)]
    (tmp_path / "facts.csv").write_text("\n".join(["at,y", *lines]) + "\n")
    return f"file:{tmp_path / 'facts.csv'}"


def test_a_system_without_a_folder_runs_and_is_backfilled_in_this_process(plain, facts, tmp_path):
    home = hr.open(tmp_path / "home", clock=lambda: datetime(2024, 1, 20, tzinfo=UTC), quiet=True)
    s = home.system(plain)
    run = s.run("2024-01-19T00:00:00Z", source=facts)
    assert (run.model["version"], run.predictions.height) == (1, 2)
    done = s.backfill("2024-01-19T00:00:00Z", "2024-01-19T06:00:00Z", "3h")
    assert (done.runs, done.result.repeated, done.failed) == (3, 1, [])
    shown = s._repr_html_()
    assert not [t for t in ("plain", "before", "lag(y, 1d)", "champion", run.run_id[:8], "last run") if t not in shown]
    assert "predictions" in run._repr_html_()
    assert repr(s.models) == "Models('plain', versions=1, champion=1)"
    assert repr(s) == f"BoundSystem('plain', home={str(tmp_path / 'home')!r})"


def test_settings_go_over_a_system_made_in_a_program(plain, tmp_path):
    home = hr.open(tmp_path / "home")
    changed = home.system(plain, {"horizon": timedelta(hours=6), "schedule.train": "7d"}).declaration
    assert (changed.steps, changed.schedule.train, plain.steps) == (6, timedelta(days=7), 2)


def test_errors_name_arguments(plain, tmp_path):
    s = hr.open(tmp_path / "home", clock=lambda: datetime(2024, 1, 20, tzinfo=UTC)).system(plain)
    for call, where in (
        (lambda: s.run(datetime(2024, 1, 1)), "as_of"),  # noqa: DTZ001
        (lambda: s.run("2024-02-01T00:00:00Z"), "as_of"),
        (lambda: s.backfill("2024-01-02T00:00:00Z", "2024-01-01T00:00:00Z", "1h"), "end"),
        (lambda: s.backfill("2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z", "soon"), "every"),
        (lambda: s.predictions(role="judge"), "role"),
    ):
        with pytest.raises(UsageError) as told:
            call()
        assert told.value.where == where


def test_looking_makes_no_home(plain, tmp_path):
    home = hr.open(tmp_path / "home")
    s = home.system(plain)
    with pytest.raises(NotFoundError):
        s.predictions()
    assert (s.models.champion, s.runs.height, s.quarantine.height, home.systems()) == (None, 0, 0, [])
    assert "none yet" in s._repr_html_()
    assert not (tmp_path / "home").exists()


def test_what_a_notebook_shows_is_escaped_and_short():
    shown = table("<b>", [{"x": f"<{n}>"} for n in range(14)])
    assert "&lt;b&gt;" in shown
    assert "&lt;11&gt;" in shown
    assert "&lt;12&gt;" not in shown
    assert "and 2 more" in shown


def test_progress_is_a_line_in_a_notebook_and_nothing_where_it_is_to_be_quiet(monkeypatch):
    import types

    written: list[str] = []

    class Shown:
        def update(self, data, raw):
            written.append(data["text/plain"])

    class ZMQInteractiveShell:
        pass

    ipython = types.ModuleType("IPython")
    ipython.get_ipython = ZMQInteractiveShell
    ipython.display = types.ModuleType("IPython.display")
    ipython.display.display = lambda data, raw, display_id: Shown()
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", ipython.display)
    with progress("energy") as tell:
        tell("predict", 1, 3)
        tell("predict", 2, 3)  # too soon after the first
    assert written == ["energy: predict, 1 of 3", ""]
    with progress("energy", quiet=True) as tell:
        tell("predict", 1, 3)
    assert len(written) == 2


def test_opening_loads_no_table_library():
    program = "import headrace as hr, sys; hr.open('x'); print({'polars', 'pandas', 'mlflow'} & {*sys.modules})"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "set()"
