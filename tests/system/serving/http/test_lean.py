"""What a refresh and a server of rows do not import: start, memory and the CPU of an hourly refresh depend on it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from tests.servers import ENERGY, TITANIC, passengers

HEAVY = {"alembic", "lightgbm", "mlflow", "optuna", "pandas", "scipy", "sklearn"}
"""Without pyarrow: polars imports it by itself wherever it is installed, and headrace does not require it."""
REPORT = """
import json, sys
print(json.dumps(sorted(sys.modules)))
"""
PREDICT = """
import contextlib, io, sys
from headrace.cli import main
sys.argv = ["headrace", "predict", *sys.argv[1:], "--as-of", "2026-03-02T13:00:00Z", "--json"]
with contextlib.redirect_stdout(io.StringIO()):
    try:
        main()
    except SystemExit as stop:
        assert not stop.code, stop.code
"""
SERVE = """
import json, sys
import headrace.serving.http.server, headrace.serving.http.app
from pathlib import Path
from headrace.home import Home
from headrace.loading import load_system
from headrace.serving.http.served import ServedSystem
from headrace.settings import Settings
served = ServedSystem(load_system(sys.argv[1]), Home(Settings(home=Path(sys.argv[2]))), logged=True)
served.refresh()
assert served.reason is None, served.reason
row, errors = served.decoder(json.loads(sys.argv[3]))
assert not errors, errors
assert served.champion.predictor.answer(row)["probability"] > 0
"""


def loaded(program: str, *arguments: object) -> set[str]:
    """The modules that are there after a program."""
    command = [sys.executable, "-c", program + REPORT, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    found: set[str] = set(json.loads(done.stdout.splitlines()[-1]))
    return found


def test_a_refresh(energy_home: Path, tmp_path: Path) -> None:
    home = shutil.copytree(energy_home, tmp_path / "home")
    found = loaded(PREDICT, ENERGY, "--home", home)
    unneeded = {"asyncio", "fastapi", "httpx", "msgspec", "rich", "sqlalchemy", "uvicorn", "holidays.countries"}
    assert not found & (HEAVY | unneeded)
    rooms = {"serving", "ledger", "contract.checking", "store.online"}
    rooms |= {f"tasks.{task}.{step}" for task in ("forecast", "rows") for step in ("monitoring", "training")}
    assert not found & {f"headrace.{room}" for room in rooms}
    assert {"polars", "deltalake"} <= found


def test_a_server_of_rows(titanic_home: Path, tmp_path: Path) -> None:
    home = shutil.copytree(titanic_home, tmp_path / "home")
    found = loaded(SERVE, TITANIC, home, json.dumps(passengers(1)[0]))
    assert not found & (HEAVY | {"polars", "deltalake", "arro3", "holidays", "rich"})
    assert "sqlalchemy" in found
