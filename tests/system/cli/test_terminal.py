"""What people see in a terminal of 80 and of 130 columns, and in a pipe."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.commands import AS_OF, ENERGY, SMALL, energy, headrace, hours, rows, write

from headrace.console.table import TableStyle, chosen, print_table, terminal
from headrace.legible import legible

TITANIC = str(Path(ENERGY).with_name("titanic"))
WIDTHS = (80, 130)


@pytest.fixture(params=WIDTHS)
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("COLUMNS", str(request.param))
    return int(request.param)


def shown(text: str) -> list[str]:
    """The headings of the first table."""
    line = next(line for line in text.splitlines() if line.startswith("┃"))
    return [part.strip() for part in line.strip("┃").split("┃")]


def fits(text: str, width: int) -> None:
    assert max(map(len, (line for line in text.splitlines() if line[:1] in "┏┃┡│└"))) <= width
    assert "┃┃" not in text, "a column without a width"
    assert "…" not in text


def test_predictions_show_what_matters_newest_first(home: Path, width: int) -> None:
    energy("predict", home, as_of=AS_OF + timedelta(hours=2))
    text = headrace("predictions", ENERGY, "--home", home).out
    fits(text, width)
    assert {"area", "industry", "time", "value", "lower", "upper"} <= set(shown(text))
    first = next(line for line in text.splitlines() if line.startswith("│"))
    assert "2023-01-20 17:00" in first
    assert "180 more rows" in text
    assert "--format csv or json shows all" in " ".join(text.split())  # a long note folds
    listed = headrace("predictions", ENERGY, "--home", home, "--json").json
    assert listed[0]["as_of"] < listed[-1]["as_of"]  # programs read the oldest first
    assert "headrace trace" in text
    named = re.search(r"headrace trace (\S+)", text)
    assert named is not None
    assert headrace("trace", named[1], "--home", home).code == 0


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("predictions", ENERGY, "--format", "csv"), 141),
        (("predictions", ENERGY), 141),
        (("models", ENERGY, "--json"), 141),
        (("trace", "nothing", "--json"), 2),
    ],
)
def test_a_closed_pipe_ends_a_command_quietly(home: Path, words: tuple[str, ...], status: int) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "headrace", *words, "--home", str(home)]
    ran = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert ran.returncode == status
    assert ("NotFoundError" if status == 2 else "") == ran.stderr.partition(":")[0]
    assert "Broken" not in ran.stderr


def test_a_run_its_models_and_runs(tmp_path: Path, width: int) -> None:
    home, source = tmp_path / "home", "simulated:?series=4&days=30"
    ran = headrace("run", ENERGY, "--home", home, *SMALL, "--source", source, "--as-of", AS_OF.isoformat())
    fits(ran.out, width)
    assert {"area", "industry", "next", "value"} <= set(shown(ran.out))
    models = headrace("models", ENERGY, "--home", home).out
    fits(models, width)
    assert {"version", "state", "reason", "wape"} <= set(shown(models))
    energy("run", home, "--source", "file:nowhere.csv")
    for failed in ((), ("--failed",)):
        text = headrace("runs", ENERGY, "--home", home, *failed).out
        fits(text, width)
        assert {"as_of", "status", "error"} <= set(shown(text))
    assert "--format" not in models + text


def test_evaluate_says_why_there_is_no_wape(home: Path, width: int) -> None:
    lines = [f"{hour.isoformat()},DK1,111,{9 * (n % 5 == 0)}" for n, hour in enumerate(hours(AS_OF, 24 * 20))]
    seldom = write(home / "seldom.csv", lines)
    stretch = ("--start", "2023-02-08T00:00:00Z", "--end", "2023-02-08T12:00:00Z", "--every", "12h")
    text = headrace("evaluate", ENERGY, "--home", home / "sales", *SMALL, "--source", seldom, *stretch).out
    fits(text, width)
    assert "because most values are zero" in " ".join(text.split())
    assert "naive_last_rmsse" in text


def test_evaluate_and_monitor_print_their_metrics(home: Path, width: int) -> None:
    stretch = ("--start", "2023-01-18T00:00:00Z", "--end", "2023-01-18T12:00:00Z", "--every", "12h")
    text = headrace("evaluate", ENERGY, "--home", home, *SMALL, *stretch).out
    fits(text, width)
    assert {"forecast", "wape", "mape"} <= set(shown(text))
    assert "--format" not in text
    nothing = headrace("monitor", ENERGY, "--home", home, *SMALL, "--as-of", AS_OF.isoformat()).out
    assert "no truth is known yet" in nothing
    more, later = write(home / "more.csv", rows(AS_OF, 48)), AS_OF + timedelta(days=2)
    told = ("monitor", ENERGY, "--home", home, *SMALL, "--source", more, "--as-of", later.isoformat())
    text = headrace(*told).out
    fits(text, width)
    assert {"forecast", "wape", "mape", "coverage"} <= set(shown(text))
    assert "naive_1d" in text


def test_a_pipe_breaks_no_line(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    text = headrace("predictions", ENERGY, "--home", home).out
    lines = [line for line in text.splitlines() if line.startswith("│")]
    assert len(lines) == 12
    assert {len(line) for line in lines} == {len(lines[0])}
    assert "model_digest" in shown(text)


def test_who_is_champion_is_said(home: Path) -> None:
    already = headrace("promote", ENERGY, 1, "--home", home).out
    assert already.startswith("energy: version 1 was the champion already, from 2023-01-20T16:00:00Z on")
    energy("train", home, "--set", "model.n_estimators=3", as_of=AS_OF + timedelta(hours=1))
    headrace("promote", ENERGY, 2, "--home", home)
    back = headrace("promote", ENERGY, 1, "--home", home, "--as-of", "2023-01-20T19:00:00Z").out
    assert back.startswith("energy: now version 1, from 2023-01-20T19:00:00Z on, in place of version 2")
    assert headrace("rollback", ENERGY, "--home", home).out.startswith("energy: now version 2, from ")


def test_who_decided_is_said(home: Path) -> None:
    energy("train", home, "--set", "model.n_estimators=3", as_of=AS_OF + timedelta(hours=1))
    headrace("promote", ENERGY, 1, "--home", home, "--by", "bob", "--reason", "it is known")
    rejected = headrace("reject", ENERGY, 2, "--home", home, "--by", "ann", "--reason", "odd")
    assert rejected.out.startswith("energy: version 2 is rejected by ann; the champion goes on")
    second = headrace("models", ENERGY, "--home", home, "--json").json["versions"][1]
    assert (second["state"], second["decided_by"], second["decision"]) == ("rejected", "ann", "by hand; odd")
    assert second["reason"] != second["decision"], "what the gate said stays"
    again = headrace("reject", ENERGY, 2, "--home", home, "--by", "bob").out
    assert again.startswith(f"energy: version 2 was rejected by ann already, at {second['decided_at'][:10]} ")
    assert {"reason", "decision"} <= set(shown(again))
    assert headrace("rollback", ENERGY, "--home", home).code == 2, "there is none but what was rejected"
    assert headrace("reject", ENERGY, 1, "--home", home).code == 2, "the champion is rolled back, not rejected"


def test_trace_says_the_id_once(home: Path) -> None:
    name = headrace("predictions", ENERGY, "--home", home, "--json").json[0]["id"]
    assert headrace("trace", name, "--home", home).out.count(name) == 1


def test_init_lists_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = headrace("init", "wind").out.splitlines()
    assert [line.split()[0] for line in lines] == ["made"] * 4 + ["next"]
    assert lines[0].split()[1] == "systems/wind/system.py"


@given(
    widths=st.lists(st.tuples(st.integers(1, 60), st.booleans(), st.booleans()), min_size=1, max_size=14),
    room=st.integers(20, 200),
)
def test_chosen_columns_fit(widths: list[tuple[int, bool, bool]], room: int) -> None:
    cells = {f"c{i}": ["x" * size] for i, (size, _, _) in enumerate(widths)}
    folding = [f"c{i}" for i, (_, folds, _) in enumerate(widths) if folds]
    columns = chosen(cells, TableStyle("", folding=folding), room)
    taken = sum(3 + (len(cells[n][0]) if w is None else w) for n, w in columns.items())
    taken += sum(max(len(n) - len(cells[n][0]), 0) for n, w in columns.items() if w is None)
    assert taken + 1 <= room
    assert list(columns) == [name for name in cells if name in columns]
    assert all(width is None or width > 0 for width in columns.values())


def test_a_bound_is_not_shown_alone() -> None:
    cells = {name: ["1,234"] for name in ("value", "lower", "upper", "n")}
    assert list(chosen(cells, TableStyle("", first=("value", "lower", "upper")), 18)) == ["value", "n"]
    assert list(chosen(cells, TableStyle("", first=("value", "lower", "upper")), 25)) == ["value", "lower", "upper"]


def test_times_and_numbers() -> None:
    from headrace.console.table import cell

    assert cell(datetime(2026, 1, 2, 3, 4, tzinfo=UTC)) == "2026-01-02 03:04"
    assert cell(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == "2026-01-02 03:04:05"
    assert [cell(each) for each in (None, 0.123456, 1234567.8, 3, "x")] == ["-", "0.1235", "1,234,568", "3", "x"]


def test_reading_makes_no_home_and_says_where_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    identifier = "01a1fc0e-de74-7f9a-87e8-8f2bb8e5fd62"
    for command in (
        *(("predictions", ENERGY), ("report", ENERGY), ("trace", identifier), ("replay", identifier)),
        *(
            ("runs", ENERGY),
            ("models", ENERGY),
            ("lookup", "energy", "x"),
            ("promote", ENERGY, 1),
            ("rollback", ENERGY),
        ),
        *(("predictions", TITANIC), ("report", TITANIC), ("evaluate", TITANIC, "--data", "x.csv"), ("doctor",)),
    ):
        done = headrace(*command)
        if command[0] != "doctor":
            assert f"{tmp_path}/.headrace" in done.out + done.err, command
        assert not list(tmp_path.iterdir()), command


def test_rows_have_no_runs_of_the_past(tmp_path: Path) -> None:
    stretch = ("--start", "2026-02-01T00:00:00Z", "--end", "2026-02-02T00:00:00Z", "--every", "6h")
    done = headrace("backfill", TITANIC, "--home", tmp_path / "home", *stretch)
    assert done.code == 2
    assert "declare step" not in done.err
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    "value", ["[/closed] twice", "[red]gone[/red]", "\x1b[2J\x1b]0;title\x07", "a\nb\rforged \u202e"]
)
def test_what_came_with_data_is_shown_as_a_text(
    value: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    frame = pl.DataFrame({"site": [value, "x" * 100_000]})
    print_table(frame, TableStyle(f"[/]{value}", ("site",)))
    terminal().print(f"warning  {value}")
    out = capsys.readouterr().out
    assert "".join(sign for sign in legible(value) if sign != " ") in out.replace(" ", "")
    assert all(sign.isprintable() for sign in out.replace("\n", ""))
    assert len(out) < 10_000
