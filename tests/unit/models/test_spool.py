"""Rows whose features lie in files: the model is that of rows in memory, bit for bit."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from headrace.features import col, ngrams, target_mean
from headrace.features.view import Features
from headrace.models.linear import Linear
from headrace.models.regressor import Regressor
from headrace.models.rules import Rules
from headrace.models.tabular import Tabular
from headrace.tasks.rows.fitting import RowFit, Rows, fit
from headrace.tasks.rows.outputs.regression import Regression
from headrace.tasks.rows.spooled import Spooling, spooled

ROWS = 400
TYPES = {"kind": "category", "size": "float", "text": "text"}
FEATURES = Features(
    {
        "kind": col("kind"),
        "size": col("size"),
        "of_kind": target_mean(col("kind"), prior=2.0),
        "words": ngrams("text", buckets=2**10),
        "few": ngrams("text", vocabulary=12),
    }
)
WORDS = ("red", "blue", "old", "new", "größe", "silk", "wool", "coat")


def frame() -> pl.DataFrame:
    rng = np.random.default_rng(5)
    kind = [(None, "a", "b", "c")[place] for place in rng.integers(0, 4, ROWS)]
    text = [" ".join(rng.choice(WORDS, rng.integers(0, 7))) for _ in range(ROWS)]
    size = [None if draw < 0.2 else float(draw) for draw in rng.random(ROWS)]
    price = [10 + 5 * line.count("silk") + (kind[row] == "a") + rng.normal() for row, line in enumerate(text)]
    return pl.DataFrame({"id": range(ROWS), "kind": kind, "size": size, "text": text, "price": price})


def model(**settings: object) -> Tabular:
    return Regressor.model_validate({"members": (Linear(),), "folds": 3, "repeats": 2, **settings})


def in_memory(declared: Tabular) -> RowFit:
    return fit(declared, Regression("price"), FEATURES, Rows(frame(), "price", TYPES))


def in_files(declared: Tabular, folder: Path, size: int) -> RowFit:
    parts = (Rows(frame()[begin : begin + size], "price", TYPES) for begin in range(0, ROWS, size))
    folder.mkdir()
    rows = spooled(parts, Spooling(FEATURES, folder, ["id"], ["price"], declared.max_rows))
    assert rows is not None
    return fit(declared, Regression("price"), FEATURES, rows)


def files_of(fitted: RowFit, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    fitted.model.save(folder)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("size", [7, 130, ROWS])
@pytest.mark.parametrize("max_rows", [100, 1000])
def test_a_model_of_files_has_the_bytes_of_one_of_memory(tmp_path: Path, size: int, max_rows: int) -> None:
    declared = model(max_rows=max_rows, notes={"kind": "by size", "words": "by kind"})
    memory, files = in_memory(declared), in_files(declared, tmp_path / "parts", size)
    assert files_of(files, tmp_path / "files") == files_of(memory, tmp_path / "memory")
    assert files.held_out.tobytes() == memory.held_out.tobytes()
    assert files.scores == memory.scores


def test_beyond_max_rows_one_part_is_held_out_once() -> None:
    assert in_memory(model(max_rows=1000)).judged == ROWS
    assert abs(in_memory(model(max_rows=100)).judged - ROWS // 3) <= 1


def test_learners_that_do_not_read_parts_are_fitted_on_a_sample(tmp_path: Path) -> None:
    rules = Rules(levels=("kind",), least=1)
    declared = model(baselines=(rules,), max_rows=100)
    fitted = in_files(declared, tmp_path / "parts", 90)
    medians = fitted.model.baselines["rules"][1].scores(fitted.model.encoder.of_frame(_values(fitted, frame())))
    again = in_files(declared, tmp_path / "again", 33)
    assert files_of(again, tmp_path / "b") == files_of(fitted, tmp_path / "a")
    assert len(set(medians.tolist())) > 1
    manifest = json.loads((tmp_path / "a" / "model.json").read_text(encoding="utf-8"))
    assert manifest["baselines"] == {"rules": "rules"}


def _values(fitted: RowFit, rows: pl.DataFrame) -> pl.DataFrame:
    from headrace.features.expression import CompileTarget

    return fitted.model.features.over(rows, CompileTarget())
