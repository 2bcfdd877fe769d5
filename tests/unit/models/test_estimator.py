"""What people have in a notebook, as a member: pipelines, estimators of other libraries, factories, class paths."""

from threading import Lock

import numpy as np
import polars as pl
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.svm import LinearSVC

from headrace import Classifier, Estimator, Regressor
from headrace.errors import ArtefactError, DeclarationError, ModelError
from headrace.features import col, text
from headrace.features.view import Features
from headrace.models.base import Training
from headrace.models.encoding import Encoder
from headrace.tasks.rows.fitting import Rows
from headrace.tasks.rows.fitting import fit as fit_rows
from headrace.tasks.rows.outputs.binary import Binary
from headrace.tasks.rows.outputs.regression import Regression
from headrace.tasks.rows.predictor import RowPredictor

pytest.importorskip("pandas", reason="pandas is not installed")

NUMBERS = Features({"size": col("size"), "kind": col("kind")})
FEATURES = Features({"size": col("size"), "kind": col("kind"), "title": text("title")})
CLASSES = {"binary": 2, "multiclass": 3, "regression": 0}


def table(count=120, seed=0):
    rng = np.random.default_rng(seed)
    size, kind = rng.normal(3, 2, count), rng.choice(["a", "b", "c"], count)
    size[::9] = np.nan
    title = [f"{'red' if each > 3 else 'blue'} {letter}" for each, letter in zip(size, kind, strict=True)]
    return pl.DataFrame({"size": pl.Series(size).fill_nan(None), "kind": kind, "title": title})


def target_of(frame, output):
    size = frame["size"].fill_null(0).to_numpy()
    return size * 2.5 if output == "regression" else np.digitize(size, [3.0, 5.0][: CLASSES[output] - 1]).astype(float)


def pipeline(last):
    prepared = make_column_transformer(
        (SimpleImputer(), ["size"]),
        (OneHotEncoder(handle_unknown="ignore"), ["kind"]),
        (TfidfVectorizer(), "title"),
    )
    return make_pipeline(prepared, last)


def fit(member, output, features=FEATURES):
    frame = table().select(features.names)
    target = target_of(frame, output)
    encoder = Encoder.fit(features, frame, target)
    member.check(output, features)
    return member.fit(Training(encoder.training(frame), encoder, target, output, CLASSES[output], 7)), encoder


def answers(fitted, encoder, frame):
    return fitted.scores(encoder.of_frame(frame.select(encoder.names)))


def right(scores, target, output):
    if output == "regression":
        return 1 - np.abs(scores - target).mean() / np.abs(target).mean()
    labels = scores > 0.5 if output == "binary" else scores.argmax(axis=1)
    return (labels == target).mean()


def refused(member, output, features=NUMBERS):
    with pytest.raises(DeclarationError) as error:
        member.check(output, features)
    return error.value


@pytest.mark.parametrize("output", CLASSES)
def test_a_pipeline_reads_texts_and_categories_as_they_are(output, tmp_path):
    last = Ridge(alpha=0.1) if output == "regression" else LogisticRegression()
    member = Estimator(model=pipeline(last))
    fitted, encoder = fit(member, output)
    frame = table(90, seed=3)
    scores = answers(fitted, encoder, frame)
    assert scores.shape == ((90, 3) if output == "multiclass" else (90,))
    assert right(scores, target_of(frame, output), output) > 0.7
    rows = list(frame.iter_rows())
    alone = [fitted.score(encoder.row(row), row, encoder) for row in rows[:5]]
    assert alone == scores[:5].tolist()
    fitted.save(tmp_path / "member")
    np.testing.assert_array_equal(answers(type(fitted).load(tmp_path / "member"), encoder, frame), scores)
    assert not hasattr(last, "coef_")  # a copy was fitted


def xgboost(output):
    pytest.importorskip("xgboost", reason="xgboost-cpu is not installed")
    from xgboost import XGBClassifier, XGBRegressor

    return (XGBRegressor if output == "regression" else XGBClassifier)(n_estimators=8, max_depth=3)


def lightgbm(output):
    from lightgbm import LGBMClassifier, LGBMRegressor

    of = LGBMRegressor if output == "regression" else LGBMClassifier
    return of(n_estimators=12, min_child_samples=4, verbosity=-1, n_jobs=1)


def catboost(output):
    pytest.importorskip("catboost", reason="catboost is not installed")
    from catboost import CatBoostClassifier, CatBoostRegressor

    of = CatBoostRegressor if output == "regression" else CatBoostClassifier
    return of(iterations=20, verbose=0, thread_count=1, allow_writing_files=False)


@pytest.mark.parametrize("output", CLASSES)
@pytest.mark.parametrize("library", [xgboost, lightgbm, catboost], ids=lambda make: make.__name__)
def test_an_estimator_of_a_library_is_a_member_as_it_is(library, output, tmp_path):
    fitted, encoder = fit(Estimator(model=library(output)), output, NUMBERS)
    frame = table(70, seed=4)
    scores = answers(fitted, encoder, frame)
    assert right(scores, target_of(frame, output), output) > 0.8
    fitted.save(tmp_path / "member")
    np.testing.assert_array_equal(answers(type(fitted).load(tmp_path / "member"), encoder, frame), scores)


def test_an_object_a_factory_a_class_and_its_path_are_the_same_member():
    frame = table()
    path = "sklearn.linear_model.LogisticRegression"
    members = [
        Estimator(model=LogisticRegression(C=0.3)),
        Estimator(model=lambda: LogisticRegression(C=0.3)),
        Estimator(model=LogisticRegression, params={"C": 0.3}),
        Estimator(class_path=path, params={"C": 0.3}),
    ]
    scores = [answers(*fit(member, "binary", NUMBERS), frame).tolist() for member in members]
    assert all(each == scores[0] for each in scores)
    assert members[3].model_dump(mode="json") == {
        "kind": "estimator",
        "model": None,
        "class_path": path,
        "params": {"C": 0.3},
        "reads": "auto",
    }


def test_its_settings_and_its_code_shape_the_digest():
    dumps = [Estimator(model=LogisticRegression(C=c)).model_dump(mode="json") for c in (0.3, 0.3, 0.4)]
    assert dumps[0] == dumps[1] != dumps[2]
    assert dumps[0]["model"] == "sklearn.linear_model._logistic.LogisticRegression"


class Own:
    """An estimator of one's own, which looks at columns by name."""

    def fit(self, frame, target):
        self.mean = target.mean()

    def predict(self, frame):
        return frame["size"].fillna(0).to_numpy() * 2.5


def test_a_class_of_ones_own_reads_a_frame():
    fitted, encoder = fit(Estimator(model=Own()), "regression", NUMBERS)
    assert fitted.reads == "pandas"
    frame = table(40, seed=2)
    np.testing.assert_allclose(answers(fitted, encoder, frame), target_of(frame, "regression"))


class Gaps(Own):
    def predict(self, frame):
        return frame["size"].to_numpy()


class Unknown(Own):
    def predict(self, frame):
        return np.full(len(frame), np.nan)


def test_a_number_that_is_none_is_refused_with_its_rows():
    fitted, encoder = fit(Estimator(model=Gaps()), "regression", NUMBERS)
    with pytest.raises(ModelError, match="Gaps gives no finite number for 14 of 120 rows") as error:
        answers(fitted, encoder, table())
    assert error.value.hint == "fill missing values in the pipeline or function"


@pytest.mark.parametrize("own", [Gaps, Unknown])
def test_members_are_judged_by_the_same_rows(own):
    frame = table(60).with_columns(pl.Series("y", target_of(table(60), "regression")))
    model = Regressor(members=(Estimator(model=Own()), Estimator(model=own())), folds=2, repeats=1)
    rows = Rows(frame, "y", {"size": "float", "kind": "category"})
    with pytest.raises(ModelError, match=f"{own.__name__} gives no finite number"):
        fit_rows(model, Regression("y"), NUMBERS, rows)


class Improbable(Own):
    def __init__(self, first=0.5, second=0.5):
        self.shares = first, second

    def fit(self, frame, target):
        self.classes_ = np.array([0, 1])

    def predict_proba(self, frame):
        return np.tile(self.shares, (len(frame), 1))


@pytest.mark.parametrize("shares", [(-0.2, 1.2), (0.7, 0.7), (0.5, np.nan)])
def test_shares_that_are_no_probabilities_are_refused(shares):
    fitted, encoder = fit(Estimator(model=Improbable(*shares)), "binary", NUMBERS)
    with pytest.raises(ModelError, match="Improbable gives what is no probability"):
        answers(fitted, encoder, table(5))
    fitted, encoder = fit(Estimator(model=Improbable(0.3, 0.7 + 1e-7)), "binary", NUMBERS)
    assert answers(fitted, encoder, table(5))[0] == pytest.approx(0.7)


class Locked(Own):
    def __init__(self):
        self.lock = Lock()


class Locking(Own):
    def fit(self, frame, target):
        self.lock = Lock()


def test_what_cannot_be_stored_is_named():
    error = refused(Estimator(model=Locked()), "regression")
    assert error.where == "model"
    assert "Locked cannot be copied: TypeError: cannot pickle" in error.message
    with pytest.raises(ArtefactError, match="Locking cannot be stored: TypeError: cannot pickle"):
        fit(Estimator(model=Locking()), "regression")
    with pytest.raises(ArtefactError, match="Locked cannot be stored: TypeError: cannot pickle"):
        fit(Estimator(model=Locked), "regression")


@pytest.mark.parametrize(
    ("member", "output", "where", "what"),
    [
        (Estimator(), "binary", "model", "either model= or class_path="),
        (Estimator(class_path="sklearn.nowhere.X"), "binary", "class_path", "no sklearn.nowhere.X"),
        (Estimator(class_path="sklearn.svm.Nothing"), "binary", "class_path", "no sklearn.svm.Nothing"),
        (Estimator(class_path="no path"), "binary", "class_path", "no path of a class"),
        (Estimator(class_path="headrace_absent.X"), "binary", "class_path", "pip install 'headrace_absent'"),
        (Estimator(class_path="sklearn.linear_model.Ridge", params={"alfa": 1}), "regression", "params.alfa", "alpha"),
        (Estimator(model=Ridge(), params={"alpha": 1}), "regression", "params", "an object takes no arguments"),
        (Estimator(model=Ridge()), "binary", None, "is a regressor, and classes are wanted"),
        (Estimator(model=pipeline(Ridge())), "multiclass", None, "is a regressor, and classes are wanted"),
        (Estimator(model=LogisticRegression()), "regression", None, "is a classifier, and numbers are wanted"),
        (Estimator(model=LinearSVC()), "binary", None, "has no predict_proba"),
        (Estimator(model=lambda: 1 / 0), "binary", "model", "ZeroDivisionError"),
    ],
)
def test_a_mistake_is_refused_before_a_row_is_read(member, output, where, what):
    error = refused(member, output)
    assert error.where == where
    assert what in f"{error} {error.hint}"


def test_a_text_that_it_cannot_read_is_refused():
    error = refused(Estimator(model=LogisticRegression()), "binary", FEATURES)
    assert error.where == "features.title"
    Estimator(model=CalibratedClassifierCV(pipeline(LinearSVC())), reads="pandas").check("binary", FEATURES)


def test_what_fails_under_way_is_named():
    with pytest.raises(ModelError, match="Pipeline cannot be fitted: ValueError"):
        fit(Estimator(model=make_pipeline(LogisticRegression())), "binary")


def test_a_server_is_warmed_with_a_usual_row_as_a_pipeline_may_not_read_one_in_which_all_is_missing():
    frame = table(60).with_columns(pl.col("size").is_not_null().alias("won"))
    columns = {"size": "float", "kind": "category", "title": "text"}
    model = Classifier(members=(Estimator(model=pipeline(LogisticRegression())),), folds=2, repeats=1)
    fitted = fit_rows(model, Binary("won", (False, True)), FEATURES, Rows(frame, "won", columns)).model
    with pytest.raises(ModelError, match="NoneType"):
        fitted.answer(dict.fromkeys(columns))
    RowPredictor(fitted).warm()
