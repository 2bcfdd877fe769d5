"""Homes with trained systems, made once and copied, and one server for the tests that change nothing of it."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.servers import ENERGY, Server, energy_template, live_template, serving, titanic_template
from tests.services import missing


@pytest.fixture(scope="session")
def titanic_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return titanic_template(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def energy_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("energy") / "home"
    return Path(shutil.copytree(energy_template(tmp_path_factory.getbasetemp()), home))


@pytest.fixture(scope="session")
def live_template_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return live_template(tmp_path_factory.getbasetemp())


@pytest.fixture
def live_home(live_template_home: Path, tmp_path: Path) -> Path:
    """A copy of the live_metrics home, the test's own."""
    return Path(shutil.copytree(live_template_home, tmp_path / "live"))


@pytest.fixture
def home(titanic_home: Path, tmp_path: Path) -> Path:
    """A copy of the titanic home, the test's own."""
    return Path(shutil.copytree(titanic_home, tmp_path / "home"))


@pytest.fixture(scope="session")
def titanic(titanic_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of titanic that tests share: each takes keys of its own."""
    home = Path(shutil.copytree(titanic_home, tmp_path_factory.mktemp("served") / "home"))
    with serving(home, "--cors", "https://shop.example") as server:
        yield server


@pytest.fixture(scope="session")
def energy(energy_home: Path) -> Iterator[Server]:
    """A server of energy that tests share."""
    with serving(energy_home, systems=(ENERGY,)) as server:
        yield server


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and certificates of a server and of a client by it."""
    if shutil.which("openssl") is None:
        missing("needs openssl")
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "2")
    for name in ("server", "client"):
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (folder / "names").write_text("subjectAltName=IP:::1,IP:127.0.0.1,DNS:localhost\n")
        by = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names", "-days", "2")
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *by)
    return folder
