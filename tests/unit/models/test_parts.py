"""Rows that come part by part: what is fitted has the bits of what all rows at once give."""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.features import col, frequency, ngrams, target_mean
from headrace.features.view import Features
from headrace.models.blocks import BlockFiles
from headrace.models.conjugate import ridge
from headrace.models.encoding import Encoder, EncoderFit
from headrace.models.ngrams import NgramWeights
from headrace.models.sparse import SparseRows
from headrace.models.sparse_design import used

ROWS = 60
FEATURES = Features(
    {
        "kind": col("kind"),
        "size": col("size"),
        "of_kind": target_mean(col("kind"), prior=2.0),
        "often": frequency(col("kind")),
        "words": ngrams("text", buckets=2**10),
        "few": ngrams("text", vocabulary=20, weighting="counts"),
    }
)


def values(rows: int = ROWS) -> tuple[pl.DataFrame, np.ndarray]:
    rng = np.random.default_rng(3)
    kinds = [None, "a", "b", "c"]
    kind = [kinds[place] for place in rng.integers(0, 4, rows)]
    text = [" ".join(rng.choice(["red", "blue", "old", "new", "größe"], rng.integers(0, 7))) for _ in range(rows)]
    size = [None if draw < 0.2 else draw for draw in rng.random(rows)]
    keys = [key or "\x00" for key in kind]
    frame = pl.DataFrame({"kind": kind, "size": size, "of_kind": keys, "often": kind, "words": text, "few": text})
    return frame, rng.normal(size=rows)


def parts_of(edges: list[int]) -> list[slice]:
    return [slice(begin, end) for begin, end in pairwise(sorted({0, ROWS, *edges}))]


EDGES = st.lists(st.integers(1, ROWS - 1), max_size=8)


@pytest.mark.parametrize("counted", [False, True])
@given(edges=EDGES)
@settings(max_examples=15, deadline=None)
def test_an_encoder_is_the_same_however_its_rows_are_parted(edges: list[int], counted: bool) -> None:
    frame, target = values()
    whole, fit = Encoder.fit(FEATURES, frame, target), EncoderFit(FEATURES)
    for part in parts_of(edges):
        counts = NgramWeights.counted(FEATURES["words"], frame["words"][part])
        fit.add(frame[part], target[part], {"words": counts} if counted and counts else None)
    encoder = fit.encoder(target)
    assert encoder.as_dict() == whole.as_dict()
    for name, weights in whole.ngrams.items():
        assert weights.idf.tobytes() == encoder.ngrams[name].idf.tobytes()
        assert weights.known.tobytes() == encoder.ngrams[name].known.tobytes()


@given(edges=EDGES)
@settings(max_examples=15, deadline=None)
def test_a_ridge_on_files_has_the_bits_of_one_in_memory(
    edges: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    frame, target = values()
    rows = Encoder.fitted(FEATURES, frame, target).sparse(4)
    memory = used(rows)
    whole = ridge([memory.rows], target, 0.3)
    blocks = [taken(rows, part) for part in parts_of(edges)]
    files, columns = BlockFiles.written(tmp_path_factory.mktemp("blocks"), blocks)
    fitted = ridge(files, target, 0.3)
    assert columns.tolist() == memory.columns.tolist()
    assert fitted.weights.tobytes() == whole.weights.tobytes()
    assert fitted.means.tobytes() == whole.means.tobytes()
    assert fitted.intercept == whole.intercept


def taken(rows: SparseRows, part: slice) -> SparseRows:
    begins = rows.begins[part.start : part.stop + 1]
    inside = slice(begins[0], begins[-1])
    return SparseRows(begins - begins[0], rows.columns[inside], rows.values[inside], rows.width)


def test_rows_of_counts_can_be_taken() -> None:
    frame, _ = values()
    some = np.arange(ROWS) % 3 == 0
    every = NgramWeights.counted(FEATURES["words"], frame["words"])
    direct = NgramWeights.counted(FEATURES["words"], frame["words"].filter(pl.Series(some)))
    assert every is not None
    assert direct is not None
    assert [array.tolist() for array in every.taken(some)] == [array.tolist() for array in direct]
