"""What a neural network over words finds, and what it says of them."""

import numpy as np
import polars as pl
import pytest

from headrace import Boosting, Kernel, Linear, Network
from headrace.errors import DeclarationError
from headrace.features import Features, col, ngrams
from headrace.models.base import Training, check_members
from headrace.models.encoding import Encoder
from headrace.models.reading import ReadingSome, fitted, names_read, reading_some

NETWORK = Network(hidden=(16,), copies=2, batch=32, epochs=20, penalty=1e-4)


def pairs(seed):
    """Texts of two words, worth something together alone, and a number that tells nothing."""
    random = np.random.default_rng(seed)
    first, second = random.integers(0, 2, (2, 600))
    texts = [f"{('red', 'blue')[a]} {('left', 'right')[b]}" for a, b in zip(first, second, strict=True)]
    noise = random.normal(size=600)
    return pl.DataFrame({"text": texts, "noise": noise}), np.where(first == second, 1.0, -1.0)


FEATURES = Features({"words": ngrams("text", words=(1, 1), buckets=2**10), "noise": col("noise")})


def training(seed=0, output="regression"):
    frame, target = pairs(seed)
    rows = Encoder.fitted(FEATURES, frame.rename({"text": "words"}), target)
    return Training(rows, rows.encoder, target, output, 0, seed=3)


def test_it_finds_what_words_mean_together():
    learnt = training()
    error = {
        type(one): np.mean((one.fit(learnt).scores(learnt.rows) - learnt.target) ** 2) for one in (NETWORK, Linear())
    }
    assert error[Network] < 0.05
    assert error[Linear] > 0.9


def test_contributions_of_words_are_that_of_their_text():
    learnt = training()
    model = NETWORK.fit(learnt)
    row = learnt.rows.taken(np.array([5]))
    own, words = model.contributions(row), model.of_ngrams(row, 0)
    assert own.total[0] == pytest.approx(model.scores(row))
    slopes = model._slopes(next(model._blocks(model._placed(model.design.rows(row)))))[0]
    usual = model.averages[[part.place for part in model.design.parts].index(0)] @ slopes
    assert words.sum() - usual.sum() == pytest.approx(own.parts[0, 0, 0])


@pytest.mark.parametrize("learner", [NETWORK, Linear(), Kernel(tuned_rows=60), Boosting(n_estimators=10, copies=2)])
def test_a_member_that_reads_some_features_is_one_of_these_alone(learner, tmp_path):
    learnt = training()
    some = fitted(learner.model_copy(update={"features": ("noise",)}), learnt)
    assert isinstance(some, ReadingSome)
    alone_rows = Encoder.fitted(Features({"noise": col("noise")}), pairs(0)[0].select("noise"), learnt.target)
    alone = learner.fit(Training(alone_rows, alone_rows.encoder, learnt.target, "regression", 0, seed=3))
    assert some.scores(learnt.rows).tobytes() == alone.scores(alone_rows).tobytes()
    some.save(tmp_path / "member")
    again = reading_some(learner.fitted.load(tmp_path / "member"), learnt.encoder, names_read(some))
    values = ("red left", 0.25)
    one = again.score(learnt.encoder.row(values), values, learnt.encoder)
    assert one == again.scores(learnt.encoder.of_rows([values]))[0]
    assert not again.contributions(learnt.rows).parts[:, 0].any()
    assert again.of_ngrams(learnt.rows.taken(np.array([0])), 0) is None


def test_sparse_rows_are_made_once_for_all_members():
    learnt = training()
    some = learnt.rows.some(learnt.encoder.some(("words",)))
    assert some.sparse(0) is learnt.rows.sparse(0)


def test_what_a_member_cannot_read_is_refused():
    with pytest.raises(DeclarationError, match="'sound' is no feature") as error:
        check_members((Linear(features=("sound",)),), "regression", FEATURES)
    assert error.value.where == "model.members[0].features"
    with pytest.raises(DeclarationError, match="reads one feature at least"):
        check_members((Linear(features=()),), "regression", FEATURES)
