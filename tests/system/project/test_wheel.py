"""The wheel carries the reference systems: what the README says works where no clone is."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import polars as pl
import pytest

PROGRAM = """
import json, sys
from pathlib import Path
sys.path[:0] = {path!r}  # with -S nothing of the repository is on it
import headrace
from headrace.cli import main
from headrace.loading import installed, load
assert Path(headrace.__file__).is_relative_to({site!r}), headrace.__file__
told = {{name: [load(name).name, str(load(name).folder)] for name in installed()}}
for name in ("energy", "titanic"):
    sys.argv = ["headrace", "init", "my_" + name, "--like", name]
    try:
        main()
    except SystemExit as stop:
        assert not stop.code, stop.code
    told["my_" + name] = [load("my_" + name).name, str(load("my_" + name).folder)]
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as it is installed, without what it depends on."""
    pytest.importorskip("hatchling")
    folder, root = tmp_path_factory.mktemp("wheel"), Path(__file__).resolve().parents[3]
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_installed_systems_run_and_are_copied_outside_of_a_clone(site: Path, tmp_path: Path) -> None:
    path = [str(site), str(Path(pl.__file__).parents[1])]
    program = PROGRAM.format(path=path, site=str(site))
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    for name in ("energy", "live_metrics", "price_alchemy", "titanic"):
        assert told[name] == [name, str(site / "headrace" / "examples" / name)]
    assert told["my_energy"] == ["my_energy", str(tmp_path / "systems" / "my_energy")]
    assert "my_energy" in (tmp_path / "systems" / "my_energy" / "system.py").read_text()
