from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from mlflow import MlflowClient

from headrace.errors import RegistryError, UsageError
from headrace.registry.tracking import Tracking, safe_uri


def log(tracking: Tracking, folder: Path, key: str) -> tuple[int, str]:
    metrics = {"good": 1.0, "none": None, "nan": float("nan")}
    return tracking.log_version(
        "energy", folder, key=key, params={"a": {"b": "x" * 7000}}, metrics=metrics, tags={"pins": {"v": 1}}
    )


@pytest.fixture(params=["sqlite", "file"])
def tracking(request: pytest.FixtureRequest, home: Path, monkeypatch: pytest.MonkeyPatch) -> Tracking:
    (home / "elsewhere").mkdir()
    monkeypatch.chdir(home / "elsewhere")
    if request.param == "file":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
        monkeypatch.delenv("MLFLOW_TRACKING_URI")  # Tracking sets it: undone after the test
        return Tracking(f"file://{home}/server")
    return Tracking(f"sqlite:///{home}/mlflow.db", home / "mlruns")


def test_versions_aliases_files(tracking: Tracking, folder: Callable[[str], Path], tmp_path: Path) -> None:
    first = log(tracking, folder("a"), "k1")
    assert first[0] == 1
    assert log(tracking, folder("a"), "k1") == first
    assert log(tracking, folder("b"), "k2")[0] == 2
    tracking.set_alias("energy", "champion", 2)
    tracking.set_alias("energy", "champion", None)
    tracking.set_alias("energy", "champion", None)
    tracking.download("energy", 2, tmp_path / "got")
    assert (tmp_path / "got" / "model.txt").read_text() == "b"
    assert (tmp_path / "got" / "part" / "scales.json").is_file()
    with pytest.raises(RegistryError, match="not found"):
        tracking.download("energy", 9, tmp_path / "none")
    with pytest.raises(RegistryError):
        tracking.set_alias("energy", "champion", 9)
    with pytest.raises(UsageError, match="key"):
        log(tracking, folder("a"), "it's")
    assert list(Path.cwd().iterdir()) == []  # MLflow's default would be a database and a folder here


def test_an_unreachable_server_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, folder: Callable[[str], Path]
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    tracking = Tracking("http://user:s3cr3t@127.0.0.1:9/mlflow")
    with pytest.raises(RegistryError) as caught:
        log(tracking, folder("a"), "k1")
    assert caught.value.where == "http://127.0.0.1:9/mlflow"
    assert "s3cr3t" not in str(caught.value)
    for password in ("p", "p/w", "p@w", "p?w"):
        assert safe_uri(f"postgresql://u:{password}@h/db") == "postgresql://h/db"
    assert safe_uri("sqlite:////home/a@b/mlflow.db") == "sqlite:////home/a@b/mlflow.db"


def test_a_copied_home_keeps_its_files_to_itself(home: Path, folder: Callable[[str], Path], tmp_path: Path) -> None:
    """MLflow names files by their full path: the copy's are named anew with its first training."""
    log(Tracking(f"sqlite:///{home}/mlflow.db", home / "mlruns"), folder("a"), "k1")
    copied = Path(shutil.copytree(home, tmp_path / "a copy"))
    files = {path: path.read_bytes() for path in (home / "mlruns").rglob("*") if path.is_file()}
    tracking = Tracking(f"sqlite:///{copied}/mlflow.db", copied / "mlruns")
    assert log(tracking, folder("b"), "k2")[0] == 2
    assert {path: path.read_bytes() for path in (home / "mlruns").rglob("*") if path.is_file()} == files
    shutil.rmtree(home / "mlruns")
    for version, text in ((1, "a"), (2, "b")):
        tracking.download("energy", version, tmp_path / text)
        assert (tmp_path / text / "model.txt").read_text() == text
    client = MlflowClient(tracking_uri=tracking.uri, registry_uri=tracking.uri)
    for version in client.search_model_versions("name = 'energy'"):
        assert client.get_run(version.run_id).info.artifact_uri.startswith((copied / "mlruns").as_uri())
        assert Path(unquote(urlsplit(version.source).path), "model.txt").is_file()


def test_a_damaged_database_is_a_typed_error(home: Path, folder: Callable[[str], Path]) -> None:
    (home / "damaged.db").write_bytes(b"not a database" * 100)
    with pytest.raises(RegistryError, match="not a database") as caught:
        log(Tracking(f"sqlite:///{home}/damaged.db", home / "mlruns"), folder("a"), "k1")
    assert "damaged.db" in str(caught.value.where)


def test_a_copied_home_that_cannot_be_written_is_a_typed_error(
    home: Path, folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log(Tracking(f"sqlite:///{home}/mlflow.db", home / "mlruns"), folder("a"), "k1")
    copied = Path(shutil.copytree(home, tmp_path / "copy"))

    def refused(*_: object) -> None:
        raise sqlite3.OperationalError("attempt to write a readonly database")

    monkeypatch.setattr("headrace.registry.tracking.follow", refused)
    with pytest.raises(RegistryError, match="readonly"):
        log(Tracking(f"sqlite:///{copied}/mlflow.db", copied / "mlruns"), folder("b"), "k2")
