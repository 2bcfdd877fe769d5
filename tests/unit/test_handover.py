"""What processes are handed: systems as where they are found, and settings."""

import pickle

import pytest

from headrace.errors import DeclarationError, UsageError
from headrace.executors import EXECUTORS, Handover, executor_of
from headrace.loading import load
from headrace.settings import Settings

SYSTEM = """
from headrace import Column, Contract, Source
from headrace.feature_system import FeatureSystem
from headrace.features import lag

system = FeatureSystem(
    name="cards",
    source=Source(prepare=lambda frame: frame),
    contract=Contract(columns=(Column("card", "category"), Column("at", "time"), Column("amount", "float"))),
    keys=("card",), time="at", step="1m", values={"last": ("amount", "last")}, features={"last": lag("last", "0h")},
)
"""


def test_a_system_of_features_goes_by_where_it_was_found(tmp_path):
    (tmp_path / "system.py").write_text(SYSTEM)
    handed = Handover.of(Settings(home=tmp_path / "home"), load(str(tmp_path), ["step=2m"]))
    (system,) = pickle.loads(pickle.dumps(handed)).systems
    assert (system.name, system.config_digest) == ("cards", handed.systems[0].config_digest)
    assert handed.home(make=False).settings.home == tmp_path / "home"
    with pytest.raises(ValueError, match="cards is a system of features"):
        _ = handed.system
    packed = pickle.dumps(Handover.of(Settings(home=tmp_path), load(str(tmp_path), ["step=3m"])))
    (tmp_path / "system.py").write_text(SYSTEM.replace('"amount", "last"', '"amount", "sum"'))
    with pytest.raises(DeclarationError, match="changed while a command used it"):
        pickle.loads(packed)


def test_an_executor_is_known_by_its_name(distribution):
    distribution("acme", "1", {"headrace.executors": {"cluster": "acme_cluster:Cluster"}})
    (distribution.folder / "acme_cluster.py").write_text("class Cluster:\n    pass\n")
    assert type(executor_of("cluster")).__name__ == "Cluster"
    assert EXECUTORS.names() == ("local", "cluster")
    with pytest.raises(UsageError, match="no executor 'ray'") as error:
        executor_of("ray")
    assert error.value.hint == "installed: local, cluster"
