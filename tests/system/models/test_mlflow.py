"""A finished model of MLflow as a member: asked as it is, kept with the version, refused where it does not fit."""

import shutil
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from tests.unit.models.test_estimator import FEATURES, NUMBERS, answers, fit, pipeline, refused, table, target_of

from headrace import Classifier, Column, Contract, Mlflow, System
from headrace.errors import DeclarationError, ModelError
from headrace.features import col
from headrace.features.view import Features
from headrace.flow.run import RunRequest, run
from headrace.home import Home
from headrace.models import mlflow_model
from headrace.pipelines.predictions import replay
from headrace.registry.artefact import folder_digest
from headrace.settings import Settings
from headrace.tasks.rows.inference import read as stored_rows

pytest.importorskip("pandas", reason="pandas is not installed")
ONE = Features({"size": col("size")})


def saved(folder, model, features=NUMBERS, output="binary", signature=True):
    """A model as people log one: fitted on a pandas frame, with its signature."""
    import mlflow.sklearn
    from mlflow.models import infer_signature

    frame = table().select(features.names).to_pandas()
    model.fit(frame, target_of(table(), output).astype(int if output != "regression" else float))
    known = infer_signature(frame, model.predict(frame)) if signature else None
    mlflow.sklearn.save_model(model, str(folder), signature=known, serialization_format="cloudpickle")
    return str(folder)


def numbers_only(last):
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline

    return make_pipeline(make_column_transformer((SimpleImputer(), ["size"])), last)


@pytest.mark.parametrize("output", ["binary", "multiclass", "regression"])
def test_it_gives_what_its_own_library_gives_and_is_kept_with_the_version(output, tmp_path):
    last = Ridge() if output == "regression" else LogisticRegression()
    model = pipeline(last)
    uri = saved(tmp_path / "made", model, FEATURES, output)
    fitted, encoder = fit(Mlflow(uri=uri), output)
    frame = table(70, seed=4)
    scores = answers(fitted, encoder, frame)
    given = frame.to_pandas()
    own = model.predict(given) if output == "regression" else model.predict_proba(given)
    np.testing.assert_allclose(scores, own[:, 1] if output == "binary" else own, rtol=1e-12)
    fitted.save(tmp_path / "member")
    shutil.rmtree(uri)
    np.testing.assert_array_equal(answers(type(fitted).load(tmp_path / "member"), encoder, frame), scores)


def test_a_registry_has_it_by_version_and_its_digest_is_pinned(tmp_path, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)
    tracking = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = MlflowClient(tracking_uri=tracking)
    experiment = client.create_experiment("x", artifact_location=(tmp_path / "artifacts").as_uri())
    run = client.create_run(experiment)
    client.log_artifacts(run.info.run_id, saved(tmp_path / "made", numbers_only(LogisticRegression()), ONE), "model")
    client.create_registered_model("risk")
    client.create_model_version("risk", f"{run.info.artifact_uri}/model", run.info.run_id)
    digest = folder_digest(tmp_path / "made")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'another.db'}")  # the declared one counts
    for uri in ("models:/risk/1", f"runs:/{run.info.run_id}/model"):
        member = Mlflow(uri=uri, tracking_uri=tracking, digest=digest)
        fitted, encoder = fit(member, "binary", ONE)
        assert answers(fitted, encoder, table(5)).shape == (5,)
        assert member.model_dump(mode="json")["digest"] == digest
        assert Mlflow(uri=uri, tracking_uri=tracking).model_dump(mode="json")["digest"] == digest
    error = refused(Mlflow(uri="models:/risk/7", tracking_uri=tracking), "binary", ONE)
    assert error.where == "uri"
    assert "models:/risk/7 cannot be had" in error.message


def test_a_prediction_is_repeated_when_the_model_is_gone_from_where_it_came(tmp_path):
    uri = saved(tmp_path / "made", numbers_only(LogisticRegression()), ONE)
    system = System(
        name="risk",
        contract=Contract(
            columns=(Column("id", "integer"), Column("size", "float"), Column("won", "boolean", nullable=True))
        ),
        keys=("id",),
        target="won",
        features={"size": col("size")},
        model=Classifier(members=(Mlflow(uri=uri),), folds=2, repeats=1),
    )
    frame = table(120).select(size=pl.col("size").fill_null(0.0)).with_row_index("id")
    won = pl.when(pl.col("id") < 100).then(pl.col("size") > 3)
    frame.with_columns(won=won).write_csv(tmp_path / "rows.csv")
    home, now = Home(Settings(home=tmp_path / "home")), datetime(2026, 6, 1, tzinfo=UTC)
    done = run(system, home, RunRequest(now, now, f"file:{tmp_path / 'rows.csv'}"))
    assert done.as_dict()["predictions"] == 20
    before = system.config()
    assert before["model"]["members"][0]["uri"] == "made"
    shutil.rmtree(uri)
    assert system.config() == before
    for cached in (mlflow_model._pinned, mlflow_model._loaded):  # as another process
        cached.cache_clear()
    assert all(replay(home, id_)["identical"] for id_ in stored_rows(system, home)["id"])
    with pytest.raises(DeclarationError, match="no folder"):
        system.model.members[0].check("binary", ONE)


def test_files_that_change_under_a_process_are_refused(tmp_path):
    uri = saved(tmp_path / "made", numbers_only(LogisticRegression()), ONE)
    member = Mlflow(uri=uri)
    member.check("binary", ONE)
    (tmp_path / "made" / "more.txt").write_text("more")
    with pytest.raises(DeclarationError, match="another one than when the system was loaded"):
        member.check("binary", ONE)


def test_a_mistake_is_refused_before_a_row_is_read(tmp_path):
    uri = saved(tmp_path / "made", numbers_only(LogisticRegression()), ONE)
    other = Features({"length": col("size")})
    (tmp_path / "empty").mkdir()
    for member, output, features, where, what in (
        (Mlflow(uri=str(tmp_path / "none")), "binary", ONE, "uri", "there is no folder"),
        (Mlflow(uri=str(tmp_path / "empty")), "binary", ONE, "uri", "there is no MLmodel"),
        (Mlflow(uri="models:/risk/latest"), "binary", ONE, "uri", "name a version"),
        (Mlflow(uri="models:/risk@champion"), "binary", ONE, "uri", "name a version"),
        (Mlflow(uri=uri, digest="0" * 64), "binary", ONE, "digest", "not the declared one"),
        (Mlflow(uri=uri), "binary", other, "features", "reads size, which is no feature"),
        (Mlflow(uri=uri), "regression", ONE, None, "is a classifier, and numbers are wanted"),
    ):
        error = refused(member, output, features)
        assert error.where == where
        assert what in f"{error} {error.hint}"
    regressor = saved(tmp_path / "regressor", numbers_only(Ridge()), ONE, "regression")
    assert "is a regressor, and classes are wanted" in refused(Mlflow(uri=regressor), "binary", ONE).message


def test_a_damaged_model_is_refused(tmp_path):
    uri = saved(tmp_path / "made", numbers_only(LogisticRegression()), ONE)
    (tmp_path / "made" / "model.pkl").write_bytes(b"nothing")
    error = refused(Mlflow(uri=uri), "binary", ONE)
    assert error.where == "uri"
    assert "cannot be read" in error.message


def test_what_gives_classes_where_probabilities_are_wanted_is_refused(tmp_path):
    import mlflow.pyfunc

    class Labels(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            return np.full(len(model_input), 2.0)

    mlflow.pyfunc.save_model(str(tmp_path / "labels"), python_model=Labels())
    with pytest.raises(ModelError, match="no probability"):
        fit(Mlflow(uri=str(tmp_path / "labels")), "binary", ONE)


def test_configuration_names_it():
    from headrace.config import override

    model = override(Classifier(), {"members": [{"kind": "mlflow", "uri": "models:/risk/3"}]})
    assert model.members == (Mlflow(uri="models:/risk/3"),)
    with pytest.raises(DeclarationError):
        Mlflow(uri="models:/risk/3").check("nonsense", ONE)
