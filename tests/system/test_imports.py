"""Starting is cheap: the command line's help loads no large library; and no module goes round the layers."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "alembic",
    "deltalake",
    "fastapi",
    "lightgbm",
    "mlflow",
    "msgspec",
    "numpy",
    "optuna",
    "pandas",
    "polars",
    "pydantic",
    "rich",
    "scipy",
    "sklearn",
    "sqlalchemy",
}

IMPORT = "import headrace"
HELP = """
import contextlib, io, sys
from headrace.cli import main
sys.argv = ["headrace", "--help"]
with contextlib.redirect_stdout(io.StringIO()) as text:
    try:
        status = main()
    except SystemExit as stop:
        status = stop.code
assert not status, status
assert "run" in text.getvalue(), text.getvalue()
"""
REPORT = """
import json, sys
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


@pytest.mark.parametrize("program", [IMPORT, HELP], ids=["import", "help"])
def test_start_loads_no_heavy_library(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program + REPORT], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout))
    assert not loaded & HEAVY


def test_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "headrace", "--help"], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "headrace" in done.stdout


def test_no_room_imports_the_front_door(root: Path) -> None:
    """`from headrace import X` inside the package would reach every layer from every other."""
    package = root / "src" / "headrace"
    rooms = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    found = []
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "headrace":
                names = {alias.name for alias in node.names} - rooms - {"__version__"}
                found += [f"{path.relative_to(root)}:{node.lineno}: {name}" for name in sorted(names)]
    assert not found
