"""The notebooks run, cell by cell and in this process; none keeps outputs of a run."""

from __future__ import annotations

import json
import shutil
import traceback
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def cells(notebook: Path) -> list[dict[str, Any]]:
    return json.loads(notebook.read_text(encoding="utf-8"))["cells"]


def test_each_reference_system_has_a_notebook() -> None:
    assert {each.stem for each in NOTEBOOKS} == {path.parent.name for path in (ROOT / "systems").glob("*/system.py")}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_outputs_are_kept(notebook: Path) -> None:
    for cell in cells(notebook):
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder, and so one home, for all notebooks: MLflow's first start costs as much as a notebook."""
    place = tmp_path_factory.mktemp("notebooks")
    shutil.copytree(ROOT / "systems", place / "systems", ignore=shutil.ignore_patterns("__pycache__"))
    return place


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(notebook: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.delenv("HEADRACE_HOME", raising=False)
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(cells(notebook)):
        if cell["cell_type"] != "code":
            continue
        *lines, last = "".join(cell["source"]).rstrip().split("\n")
        place = f"{notebook.name}, cell {number}"
        try:
            if last[:1].isspace() or last[:1] in ")]}":  # the cell ends inside a statement
                exec(compile("\n".join([*lines, last]), place, "exec"), names)
                continue
            exec(compile("\n".join(lines), place, "exec"), names)
            shown = _shown(last, place, names)
        except Exception as error:
            raise AssertionError(f"{place}:\n{''.join(traceback.format_exception(error))}") from error
        html = getattr(shown, "_repr_html_", None)
        assert html is None or html()


def _shown(line: str, place: str, names: dict[str, Any]) -> Any:
    """What the last line of a cell gives; None for a statement."""
    try:
        code = compile(line, place, "eval")
    except SyntaxError:
        exec(compile(line, place, "exec"), names)
        return None
    return eval(code, names)
