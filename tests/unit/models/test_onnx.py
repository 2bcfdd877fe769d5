"""A model that was made elsewhere, as a member: what it says is what it says alone, for a row as in a table."""

import base64
import hashlib
import math
import pickle
from importlib.util import find_spec

import numpy as np
import polars as pl
import pytest

from headrace import Classifier, Linear, Onnx
from headrace.errors import ArtefactError, ConfigError, DeclarationError, ModelError
from headrace.features import Features, col
from headrace.models.onnx import FittedOnnx
from headrace.tasks.rows.fitting import Rows
from headrace.tasks.rows.fitting import fit as fit_rows
from headrace.tasks.rows.model import RowModel
from headrace.tasks.rows.outputs.binary import Binary

# softmax(x @ [[-.5, .5], [-.25, .25]] + [.1, -.1]), opset 13: x (rows, 2) to p (rows, 2), float32
MODEL = base64.b64decode(
    "CAg6mgEKEQoBeAoBdxIBbSIGTWF0TXVsCg4KAW0KAWISAXoiA0FkZAocCgF6EgFwIgdTb2Z0bWF4KgsKBGF4aXMYAaABAhIBZyob"
    "CAIIAhABQgF3ShAAAAC/AAAAPwAAgL4AAIA+KhEIAhABQgFiSgjNzMw9zczMvVoRCgF4EgwKCggBEgYKAAoCCAJiEQoBcBIMCgoI"
    "ARIGCgAKAggCQgQKABAN"
)
# x @ [[.5], [.25]], opset 13: x (rows, 2) to z (rows, 1), float32
LINE = base64.b64decode(
    "CAg6UQoRCgF4CgFtEgF6IgZNYXRNdWwSAWcqEwgCCAEQAUIBbUoIAAAAPwAAgD5aEQoBeBIMCgoIARIGCgAKAggCYhEKAXoSDAoKCAES"
    "BgoACgIIAUIECgAQDQ=="
)
DIGEST = hashlib.sha256(MODEL).hexdigest()
TYPES = {"x": "float", "y": "float", "kind": "category"}
NUMBERS = Features({"x": col("x").fill(0), "y": col("y").fill(0)})

needs_runtime = pytest.mark.skipif(
    find_spec("onnxruntime") is None,
    reason="needs onnxruntime: pip install 'headrace[onnx]'",
)


def rows(count=300):
    random = np.random.default_rng(3)
    x, y = random.normal(size=count), random.normal(size=count)
    won = (random.random(count) < 1 / (1 + np.exp(-(x + y / 2)))).astype(int)
    missing = [None if n % 17 == 0 else float(v) for n, v in enumerate(x)]
    return pl.DataFrame({"x": missing, "y": y, "kind": "a", "won": won})


def fit(member, features=NUMBERS, *more):
    model, output = Classifier(members=(member, *more), repeats=1), Binary("won", (0, 1))
    return fit_rows(model, output, features, Rows(rows(), "won", TYPES))


@pytest.fixture
def member(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(MODEL)
    return Onnx(file=path, sha256=DIGEST)


@needs_runtime
def test_it_says_what_the_formula_says_for_a_row_as_in_a_table(member, tmp_path):
    fitted = fit(member)
    model, table = fitted.model, rows()
    told = model.numbers(table).tolist()
    assert [model.answer(row)["probability"] for row in table.iter_rows(named=True)] == told
    answers = model.answers(table.to_dict(as_series=False))
    assert [each["probability"] for each in answers] == told
    ((kind, scorer),) = model.members
    assert kind == "onnx"
    for x, y in ((0.0, 0.0), (2.0, -1.0)):
        odds = 2 * (0.5 * x + 0.25 * y - 0.1)
        assert scorer.score([x, y], (x, y), model.encoder) == pytest.approx(1 / (1 + math.exp(-odds)), abs=1e-6)
    model.save(tmp_path)
    again = RowModel.load(tmp_path)
    assert again.numbers(table).tolist() == told
    assert (tmp_path / "member_0" / "model.onnx").read_bytes() == MODEL
    again = pickle.loads(pickle.dumps(scorer))
    one = ([1.0, 1.0], (1.0, 1.0), model.encoder)
    assert again.score(*one) == scorer.score(*one)


@needs_runtime
def test_it_is_compared_and_combined_with_others(member):
    fitted = fit(member, NUMBERS, Linear())
    assert {"log_loss_0_onnx", "log_loss_1_linear", "log_loss_all"} <= set(fitted.scores)
    assert fitted.scores["auc"] > 0.7


@needs_runtime
def test_what_it_cannot_read_is_named(member, tmp_path):
    with pytest.raises(DeclarationError, match=r"features\.kind"):
        fit(member, Features({"x": col("x"), "kind": col("kind")}))
    with pytest.raises(ModelError, match="cannot be asked"):
        fit(member, Features({"x": col("y")}))
    with pytest.raises(ModelError, match="no probability"):
        fit(member, Features({"x": col("x"), "y": col("y")}))  # x is missing now and then
    junk = b"no model" * 9
    member.file.write_bytes(junk)
    with pytest.raises(ArtefactError, match="no ONNX model"):
        fit(Onnx(file=member.file, sha256=hashlib.sha256(junk).hexdigest()))
    FittedOnnx(MODEL[:50]).save(tmp_path / "saved")
    with pytest.raises(ArtefactError, match="no ONNX model"):
        FittedOnnx.load(tmp_path / "saved")
    (tmp_path / "saved" / "asked.json").unlink()
    with pytest.raises(ArtefactError, match="cannot be read"):
        FittedOnnx.load(tmp_path / "saved")


@needs_runtime
def test_it_answers_several_classes_and_numbers_or_says_what_it_gives_instead(tmp_path):
    matrix = np.array([[0.0, 0.0], [2.0, -1.0]])
    two = FittedOnnx(MODEL, "multiclass", 2)
    p = two._ask(matrix)
    assert p.shape == (2, 2)
    np.testing.assert_array_equal(p[:, 1], FittedOnnx(MODEL)._ask(matrix))
    two.save(tmp_path / "saved")
    assert FittedOnnx.load(tmp_path / "saved") == two
    with pytest.raises(ModelError, match="gives no 3 probabilities, but p:"):
        FittedOnnx(MODEL, "multiclass", 3)._ask(matrix)
    with pytest.raises(ModelError, match="gives no number a row, but p:") as caught:
        FittedOnnx(MODEL, "regression", 0)._ask(matrix)
    assert "Classifier()" in caught.value.hint
    np.testing.assert_array_equal(FittedOnnx(LINE, "regression", 0)._ask(matrix), [0.0, 0.75])


def test_another_file_under_its_name_is_refused(member):
    member.file.write_bytes(MODEL + b" ")
    with pytest.raises(ArtefactError, match="not the declared one"):
        fit(member)
    member.file.unlink()
    with pytest.raises(ArtefactError, match="No such file"):
        fit(member)


def test_where_the_file_lies_is_not_part_of_the_configuration(member, tmp_path):
    other = Onnx(file=tmp_path / "elsewhere" / "model.onnx", sha256=DIGEST)
    written = {"kind": "onnx", "file": "model.onnx", "sha256": DIGEST}
    assert other.model_dump(mode="json") == member.model_dump(mode="json") == written
    assert Classifier(members=(written,)).members[0].kind == "onnx"
    with pytest.raises(DeclarationError, match=r"Onnx\.sha256|pattern"):
        Onnx(file=member.file, sha256="short")


def test_without_the_runtime_it_says_what_to_install(member, monkeypatch):
    monkeypatch.setattr("headrace.models.onnx.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"headrace\[onnx\]"):
        fit(member)
