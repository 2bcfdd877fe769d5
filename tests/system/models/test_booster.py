from __future__ import annotations

import hashlib
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from headrace.errors import ArtefactError, ModelError, NotEnoughDataError
from headrace.models.booster import Booster, fit_booster

FEATURES = 5
NAMES = [f"f{i}" for i in range(FEATURES)]


def data(rows: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    matrix = generator.normal(size=(rows, FEATURES))
    matrix[:, 3] = generator.integers(0, 70, rows)
    target = matrix[:, 0] * 2 + matrix[:, 3] % 3 + generator.normal(size=rows) / 10
    matrix[generator.random(matrix.shape) < 0.1] = np.nan
    return matrix, target


def fitted(rounds: int = 8, rows: int = 400, **params: Any) -> str:
    matrix, target = data(rows)
    if params.get("objective") == "multiclass":
        target = np.clip(np.floor(np.abs(target)), 0, 2)
    params = {"num_leaves": 7, "min_data_in_leaf": 5, "num_threads": 1, **params}
    return fit_booster(matrix, target, rounds=rounds, params=params, feature_names=NAMES, categorical=[3])


MODELS = {
    "regression": {},
    "quantile": {"objective": "quantile", "alpha": 0.9},
    "multiclass": {"objective": "multiclass", "num_class": 3},
    "forest": {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
    "constant": {"min_data_in_leaf": 10_000},
}


@pytest.fixture(scope="module", params=sorted(MODELS))
def text(request: pytest.FixtureRequest) -> str:
    return fitted(**MODELS[request.param])


VALUES = st.one_of(
    st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -0.0, -1.0, 69.0, 70.0, 1e300, 1e-36]),
    st.integers(-3, 80).map(float),
    st.floats(-4, 4, width=32),
)


@given(values=hnp.arrays(np.float64, st.tuples(st.integers(0, 9), st.just(FEATURES)), elements=VALUES))
def test_same_bits_as_the_package(text: str, values: np.ndarray) -> None:
    import lightgbm

    ours = Booster.from_text(text)
    rows = ours.predict(values)
    assert rows.shape == ((len(values),) if ours.outputs == 1 else (len(values), 3))
    one_by_one = [ours.predict_outputs(row) for row in values]
    assert np.array(one_by_one, np.float64).tobytes() == rows.tobytes()
    assert ours.predict(values, threads=3).tobytes() == rows.tobytes()
    assert ours.predict(np.asfortranarray(values)).tobytes() == rows.tobytes()
    if not len(values):
        return
    theirs = lightgbm.Booster(model_str=text)
    assert rows.tobytes() == theirs.predict(values).tobytes()
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    assert ours.predict(narrow).tobytes() == theirs.predict(narrow).tobytes()
    assert ours.predict(narrow).tobytes() == np.array([ours.predict_outputs(row) for row in narrow]).tobytes()


def test_threads_share_a_booster() -> None:
    booster = Booster.from_text(fitted().encode())
    matrix, _ = data(200, seed=3)
    expected = booster.predict(matrix, threads=2).tolist()

    def all_rows(_: int) -> list[float]:
        return [booster.predict_row(row) for row in matrix]

    with ThreadPoolExecutor(8) as pool:
        assert all(found == expected for found in pool.map(all_rows, range(32)))
    assert booster.feature_names == tuple(NAMES)


def test_wrong_matrices_and_rows_are_refused() -> None:
    booster = Booster.from_text(fitted(rounds=1))
    good = np.zeros((4, FEATURES))
    for bad in (good[:, :4], good[0], good.astype(np.int64), good[:, ::-1]):
        with pytest.raises(ModelError):
            booster.predict(bad)
    for row in ([0.0] * 4, [0.0] * 6, ["a"] * FEATURES, [None] * FEATURES):
        with pytest.raises(ModelError, match="a row must be 5 numbers"):
            booster.predict_row(row)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="threads"):
        booster.predict(good, threads=0)
    with pytest.raises(ModelError, match="3 outputs"):
        Booster.from_text(fitted(objective="multiclass", num_class=3)).predict_row([0.0] * FEATURES)


@given(st.data())
def test_a_truncated_text_is_refused(data: st.DataObject) -> None:
    whole = _small()
    cut = data.draw(st.integers(0, len(whole) - 2))
    with pytest.raises(ArtefactError):
        Booster.from_text(whole[:cut])


def test_a_known_digest_excuses_from_checking_that_text_only() -> None:
    whole = _small().encode()
    known = Booster.from_text(whole).digest
    rows, _ = data(20)
    again = Booster.from_text(whole, known=known)
    assert again.predict(rows).tobytes() == Booster.from_text(whole).predict(rows).tobytes()
    assert (again.feature_names, again.outputs, again.text) == (tuple(NAMES), 1, whole)
    with pytest.raises(ArtefactError, match="tree 0 is not where"):
        Booster.from_text(whole.replace(b"split_feature=", b"split_feature=9 ", 1), known=known)


def test_foreign_texts_are_refused() -> None:
    for text in ("", "tree", "{}", "\0" * 100, "tree\nversion=v4\n", "tree\nversion=v3\nend of trees\n"):
        with pytest.raises(ArtefactError):
            Booster.from_text(text)


CACHE: list[str] = []


def _small() -> str:
    if not CACHE:
        CACHE.append(fitted(rounds=3))
    return CACHE[0]


DAMAGE = """
import random, sys
import numpy as np
from headrace.errors import ModelError
from headrace.models.booster import Booster
whole = sys.stdin.buffer.read()
rows = np.random.default_rng(0).normal(size=(20, 5)) * 30
chance = random.Random(int(sys.argv[1]))
refused = 0
for _ in range(600):
    text = bytearray(whole)
    for _ in range(chance.choice((1, 1, 4))):
        place, kind = chance.randrange(len(text)), chance.randrange(4)
        other = chance.randrange(len(text))
        if kind == 0:
            text[place] = chance.choice(b"0123456789-. =e\\n")
        elif kind == 1:
            del text[place : place + chance.choice((1, 2, 300))]
        elif kind == 2:
            text[place:place] = chance.choice((b"9", b"-", b" 1", b"99999999", b"\\n", b"nan"))
        else:
            text[place : place + 30] = text[other : other + chance.randrange(40)]
    try:
        booster = Booster.from_text(bytes(text))
        booster.predict(np.zeros((20, booster.features)))
        booster.predict_outputs([1.0] * booster.features)
    except ModelError:
        refused += 1
print(refused)
"""


def test_a_damaged_text_never_crashes_the_process() -> None:
    """LightGBM alone aborts or reads foreign memory on one in a few of these."""
    seed = random.randrange(10**6)
    command = [sys.executable, "-c", DAMAGE, str(seed)]
    run = subprocess.run(command, input=_small().encode(), capture_output=True, check=False)
    assert run.returncode == 0, (seed, run.stderr[-500:])
    assert int(run.stdout) > 300


FIT = """
import hashlib, sys
import numpy as np
from headrace.models.booster import fit_booster
generator = np.random.default_rng(7)
matrix = generator.normal(size=(5000, 6))
matrix[:, 5] = generator.integers(0, 30, 5000)
matrix[generator.random(matrix.shape) < 0.05] = np.nan
target = np.nan_to_num(matrix).sum(axis=1)
params = {"bagging_fraction": 0.7, "bagging_freq": 1, "feature_fraction": 0.8, "seed": 3}
text = fit_booster(matrix, target, rounds=20, params=params, feature_names=list("abcdef"), categorical=[5],
                   weight=generator.random(5000))
sys.stderr.write(hashlib.sha256(text.encode()).hexdigest())
"""


def test_the_same_input_gives_the_same_bytes_in_two_processes_and_nothing_is_printed() -> None:
    command = [sys.executable, "-c", FIT]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in "12"]
    (out, digest), (_, other) = [run.communicate() for run in runs]
    assert out == ""
    assert len(digest) == hashlib.sha256().digest_size * 2
    assert digest == other


def test_fit_refuses_what_it_cannot_fit() -> None:
    matrix, target = data(50)

    def fit(m: np.ndarray = matrix, t: np.ndarray = target, **more: Any) -> str:
        return fit_booster(m, t, **{"rounds": 1, "params": {}, "feature_names": NAMES, **more})

    with pytest.raises(NotEnoughDataError):
        fit(matrix[:0], target[:0])
    for arguments in (
        {"t": target[:-1]},
        {"t": np.where(target > 0, np.nan, target)},
        {"weight": np.full(50, np.inf)},
        {"feature_names": ["a"]},
        {"feature_names": ["a", "a", "b", "c", "d"]},
        {"categorical": [5]},
        {"params": {"objective": "no such"}},
        {"params": {"num_leaves": "many"}},
        {"params": {"linear_tree": True}},
        {"params": {"random_state": 1}},
        {"params": {"n_estimators": 1}},
    ):
        with pytest.raises(ModelError):
            fit(**arguments)


def test_the_python_package_stays_out() -> None:
    code = (
        "import sys, headrace.models.booster as b; m = b.Booster.from_text(sys.stdin.read());"
        "m.predict_row([1.0] * 5); print([n for n in ('lightgbm', 'sklearn', 'scipy') if n in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], input=_small(), capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
