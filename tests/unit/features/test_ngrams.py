"""N-grams of one text are those of many, to the last bit, whatever the text is."""

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import DeclarationError
from headrace.features import CompileTarget, Features, col, frequency, ngrams
from headrace.features.compiled import compile_row
from headrace.features.expression import from_dict
from headrace.features.folding import fold
from headrace.features.hashing import hashes_of, hashes_of_one
from headrace.models.encoding import Encoder
from headrace.models.ngrams import NgramWeights

MERCARI = Path(__file__).parents[4] / "shared" / "data" / "mercari" / "train.tsv.gz"
HARD = [
    *(
        "",
        " ",
        "\u2028",
        "a\u2028b",
        "Größe Ⅷ",
        "CAFE\u0301 café",
        "😀 x❤️ 👩‍👧",
        "a\0b",
        "שלום עולם",
        "हिन्दी में",
        "İI\u0307ı",
    ),
    *("A\u00adB", "x" * 5_000, "a, b; a! A", "don't", "-", "１２３ 123", "word " * 300),
]
SHAPES = [
    ngrams("x"),
    ngrams("x", words=None, characters=(2, 4), buckets=997),
    ngrams("x", words=(2, 3), characters=(1, 2), vocabulary=50),
    ngrams("x", weighting="counts", vocabulary=10_000),
]


def same_as_a_row(weights, texts):
    """Whether every row of a table, of a list and by itself are one."""
    rows, of_texts = weights.of_series(pl.Series(texts, dtype=pl.String)), weights.of_texts(texts)
    assert rows.values.tobytes() == of_texts.values.tobytes()
    assert rows.columns.tolist() == of_texts.columns.tolist()
    table = np.random.default_rng(0).normal(size=weights.width)
    sums = rows.dot(table)
    for place, text in enumerate(texts):
        single, among = weights.row(text), rows.row(place)
        assert single.columns.tolist() == among.columns.tolist()
        assert single.values.tobytes() == among.values.tobytes()
        assert np.float64(single.dot(table)).tobytes() == sums[place].tobytes()


@pytest.mark.parametrize("expression", SHAPES)
def test_hard_texts(expression):
    weights, rows = NgramWeights.fit(expression, pl.Series(HARD))
    assert rows.values.tobytes() == weights.of_series(pl.Series(HARD)).values.tobytes()
    same_as_a_row(weights, [*HARD, None, "never seen", "word " * 20_000])


@given(st.lists(st.text(max_size=40), min_size=1, max_size=8), st.sampled_from(SHAPES))
def test_any_texts(texts, expression):
    weights, _ = NgramWeights.fit(expression, pl.Series(texts[: len(texts) // 2 + 1]))
    same_as_a_row(weights, texts)


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_text_has_its_ngrams_whoever_its_neighbours_are(one, other):
    both = hashes_of([fold(one).encode(), fold(other).encode()], (1, 3), (1, 3))
    single = hashes_of_one(other, (1, 3), (1, 3))
    assert sorted(both.hashes[both.rows == 1].tolist()) == sorted(single.tolist())


@given(st.text(max_size=40))
def test_a_folded_text_stays_as_it_is(text):
    assert fold(fold(text)) == fold(text)


def test_real_listings():
    if not MERCARI.exists():
        pytest.skip(f"{MERCARI} is not here")
    lines = gzip.decompress(MERCARI.read_bytes()).decode().split("\n")[1:400]
    texts = [line.split("\t")[-1] for line in lines]
    for expression in (ngrams("x", words=(1, 3)), ngrams("x", words=None, characters=(2, 5))):
        weights, _ = NgramWeights.fit(expression, pl.Series(texts))
        same_as_a_row(weights, texts)


def test_spellings_that_people_read_as_one():
    words = ["cafe\u0301", "CAFÉ", "Café ", "\u2028café!", "ca\u00adfé"]
    weights, _ = NgramWeights.fit(ngrams("x"), pl.Series(words))
    first, *rest = [weights.row(word).columns.tolist() for word in words]
    assert first
    assert rest == [first] * 4


def test_weights_are_those_of_the_formula():
    texts = ["a b", "a a c", ""]
    weights, _ = NgramWeights.fit(ngrams("x", words=(1, 1)), pl.Series(texts))
    row = weights.row("a a c")
    a, c = (1 + np.log(2)) * (1 + np.log(4 / 3)), 1 + np.log(4 / 2)
    assert np.allclose(sorted(row.values), sorted(np.array([a, c]) / np.hypot(a, c)))


def test_a_vocabulary_has_what_most_rows_have():
    weights, rows = NgramWeights.fit(
        ngrams("x", words=(1, 1), vocabulary=2, weighting="counts"), pl.Series(["a b", "b a a", "b c", "d"])
    )
    assert weights.width == 2
    assert [sorted(rows.row(place).values.tolist()) for place in range(4)] == [[1, 1], [1, 2], [1], []]
    assert not weights.row("c d").columns.size


def test_columns_are_joined_and_missing_ones_empty():
    features = Features({"text": ngrams("name", col("brand"), col("size"))})
    frame = pl.DataFrame(
        {"name": ["Shoe", None], "brand": [None, None], "size": [7, None]}, schema_overrides={"brand": pl.String}
    )
    types = {"name": "text", "brand": "category", "size": "integer"}
    row = compile_row(features, types)
    wanted = ["Shoe  7", "  "]
    assert features.over(frame, CompileTarget())["text"].to_list() == wanted
    assert [row.call(each)[0] for each in frame.iter_rows(named=True)] == wanted
    assert not row.slow


@given(st.lists(st.text(max_size=20), min_size=1, max_size=5), st.text(min_size=1, max_size=6))
def test_characters_are_counted_alike_in_a_row_and_a_table(texts, characters):
    features = Features(
        {"n": col("x").count_of(characters), "digits": col("x").count_of(), "share": col("x").capitals()}
    )
    row, table = compile_row(features, {"x": "text"}), features.over(pl.DataFrame({"x": texts}), CompileTarget())
    assert [row.call({"x": text}) for text in texts] == table.rows()
    assert table["n"].to_list() == [sum(character in characters for character in text) for text in texts]
    assert not row.slow


def test_capitals_are_a_share_of_the_letters():
    row = compile_row(Features({"share": col("x").capitals()}), {"x": "text"})
    assert [row.call({"x": text})[0] for text in ("NEW Shoe", "123", None)] == [4 / 7, None, None]


def test_a_definition_is_read_back():
    expression = ngrams("name", words=None, characters=(2, 5), vocabulary=10)
    assert from_dict(expression.as_dict()).digest == expression.digest


@pytest.mark.parametrize(
    ("texts", "settings", "where"),
    [
        ((), {}, "ngrams"),
        (("x",), {"words": None}, "ngrams"),
        (("x",), {"words": (2, 1)}, "ngrams.words"),
        (("x",), {"characters": (0, 3)}, "ngrams.characters"),
        (("x",), {"buckets": 0}, "ngrams.buckets"),
        (("x",), {"vocabulary": 2**25}, "ngrams.vocabulary"),
        (("x",), {"weighting": "bm25"}, "ngrams.weighting"),
    ],
)
def test_what_makes_no_sense_is_refused(texts, settings, where):
    with pytest.raises(DeclarationError) as refused:
        ngrams(*texts, **settings)
    assert refused.value.where == where


def test_frequencies_leave_a_training_row_out():
    frame = pl.DataFrame({"brand": ["a", "a", "b", None]})
    rows = Encoder.fitted(Features({"brand": frequency(col("brand"))}), frame, np.zeros(4))
    assert np.array_equal(rows.matrix[:, 0], [np.log(2), np.log(2), 0, np.nan], equal_nan=True)
    encoder = rows.encoder
    asked = encoder.of_frame(pl.DataFrame({"brand": ["a", "b", "new", None]}))
    assert np.array_equal(asked.matrix[:, 0], [np.log(3), np.log(2), 0, np.nan], equal_nan=True)
    assert encoder.row(("a",)) == [asked.matrix[0, 0]]


def test_an_encoder_is_read_back(tmp_path):
    frame = pl.DataFrame({"brand": ["a", "a", "b", None], "text": ["red shoe", "blue", "", "red"]})
    features = Features({"brand": frequency(col("brand")), "text": ngrams("text")})
    encoder = Encoder.fit(features, frame, np.zeros(4))
    encoder.save(tmp_path)
    again = Encoder.from_dict(encoder.as_dict(), features, tmp_path)
    assert again.ngrams["text"].idf.tobytes() == encoder.ngrams["text"].idf.tobytes()
    assert again.frequencies == encoder.frequencies
