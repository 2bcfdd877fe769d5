"""Prices of second-hand listings by repeated cross-validation, beside rules, a plain ridge and peers.

    python benchmarks/prices.py [--repeats 3] [--only NAME,...] [--peers PYTHON] [--kinds skrub,...] [--write]

Every fold trains the declared system whole, as `headrace train` does: choice and weights of members, target means and
intervals see nothing of the rows that are scored. The folds are the same for all, drawn within tenths of the price.
Where the package of the weights is installed (see `scripts/embeddings-check`), so is the system with embeddings.
What a candidate said is kept on disk by its code, so an interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import polars as pl

import prices_table
from headrace.features.view import Features
from headrace.lineage import digest_of
from headrace.loading import load_system
from headrace.models.minilm import PACKAGE
from headrace.sources.delimited import read_delimited
from headrace.system import System
from headrace.tasks.rows.folds import RowFolds
from headrace.tasks.rows.training import fit

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data" / "mercari" / "train.tsv.gz"
PEER = Path(__file__).parent / "peers" / "prices_model.py"
KEPT = Path(tempfile.gettempdir()) / "headrace-prices"
KINDS = ("catboost", "catboost_plain", "skrub", "skrub_ridge", "autogluon")
LEAST = 5
"""Rows of a group that a rule of thumb goes by."""


@dataclass(frozen=True)
class Said:
    """What a candidate says.

    Attributes:
        value: Prices, shape (rows,), or (rows, 3) with lower and upper.
        fit, predict: CPU seconds.
    """

    value: np.ndarray
    fit: float
    predict: float


Candidate = Callable[[pl.DataFrame, pl.DataFrame], Said]


def listings() -> pl.DataFrame:
    """The priced listings, typed as the contract has them."""
    import gzip

    rows = read_delimited(gzip.decompress(DATA.read_bytes()), DATA.with_suffix(""))
    numbers = {"train_id": pl.Int64, "item_condition_id": pl.Int64, "shipping": pl.Int64, "price": pl.Float64}
    return rows.with_columns(pl.col(name).cast(kind) for name, kind in numbers.items())


def parts(target: np.ndarray, repeats: int) -> np.ndarray:
    """The fold of every row in every repeat: shape (repeats, rows)."""
    tenth = np.searchsorted(np.quantile(target, np.arange(0.1, 1, 0.1)), target, side="right")
    folds, places = RowFolds.of(5, target.size, None, None, tenth), np.empty((repeats, target.size), dtype=int)
    for repeat in range(repeats):
        for number, fold in enumerate(folds.each(repeat)):
            places[repeat, fold.held] = number
    return places


def constant(rows: pl.DataFrame, held: pl.DataFrame) -> Said:
    """The mean of the logarithms."""
    value = float(np.expm1(np.log1p(rows["price"].to_numpy()).mean()))
    return Said(np.full(held.height, value), 0.0, 0.0)


def rules(rows: pl.DataFrame, held: pl.DataFrame) -> Said:
    """The median of category and condition, as the replaced system had it; of all rows where there is none."""
    medians = rows.group_by("category_name", "item_condition_id").agg(pl.col("price").median().alias("said"))
    joined = held.join(medians, on=["category_name", "item_condition_id"], how="left", nulls_equal=True)
    return Said(joined["said"].fill_null(rows["price"].median()).to_numpy(), 0.0, 0.0)


def backing_off(rows: pl.DataFrame, held: pl.DataFrame) -> Said:
    """The same, from three levels to none, of groups with five rows or more."""
    said = pl.Series([None] * held.height, dtype=pl.Float64)
    names = ["top", "middle", "category_name"]
    for depth in (3, 2, 1, 0):
        for by in (["item_condition_id"], []):
            keys = [*names[:depth], *by]
            if keys:
                groups = _levels(rows).group_by(keys).agg(pl.col("price").median().alias("said"), pl.len().alias("n"))
                joined = _levels(held).join(groups.filter(pl.col("n") >= LEAST), on=keys, how="left", nulls_equal=True)
                said = said.fill_null(joined["said"])
    return Said(said.fill_null(rows["price"].median()).to_numpy(), 0.0, 0.0)


def _levels(rows: pl.DataFrame) -> pl.DataFrame:
    parts = pl.col("category_name").str.splitn("/", 3)
    top, middle = parts.struct.field("field_0"), parts.struct.field("field_1")
    return rows.with_columns(top=top, middle=pl.concat_str(top, middle, separator="/"))


def plain_ridge(rows: pl.DataFrame, held: pl.DataFrame) -> Said:
    """All text in one TF-IDF of words 1-2, and one-hot categories: the usual first model."""
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import OneHotEncoder

    began = time.process_time()
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    hot = OneHotEncoder(handle_unknown="ignore")
    columns = ["category_name", "brand_name", "top", "middle", "item_condition_id", "shipping"]

    def texts(frame: pl.DataFrame) -> list[str]:
        joined = ["name", "brand_name", "category_name", "item_description"]
        return frame.select(pl.concat_str(pl.col(joined).fill_null(""), separator=" ")).to_series().to_list()

    def categories(frame: pl.DataFrame) -> np.ndarray:
        return _levels(frame).select(pl.col(columns).cast(pl.String).fill_null("")).to_numpy()

    matrix = hstack([words.fit_transform(texts(rows)), hot.fit_transform(categories(rows))]).tocsr()
    model = Ridge(alpha=1.5, solver="sparse_cg", random_state=0).fit(matrix, np.log1p(rows["price"].to_numpy()))
    middle = time.process_time()
    value = np.expm1(model.predict(hstack([words.transform(texts(held)), hot.transform(categories(held))]).tocsr()))
    return Said(value, middle - began, time.process_time() - middle)


def of_system(system: System) -> Candidate:
    """The declared system, trained as `headrace train` does."""

    def said(rows: pl.DataFrame, held: pl.DataFrame) -> Said:
        began = time.process_time()
        model = fit(system, rows).model
        middle = time.process_time()
        value = model.numbers(held)
        return Said(value, middle - began, time.process_time() - middle)

    return said


def candidates() -> dict[str, tuple[Candidate, str]]:
    """By name, each with a text that changes when what it says may."""
    system = load_system(str(ROOT / "systems" / "price_alchemy"))
    code = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    found: dict[str, tuple[Candidate, str]] = {
        "constant": (constant, code),
        "rules": (rules, code),
        "rules with back-off": (backing_off, code),
        "plain ridge": (plain_ridge, code),
    }
    model: Any = system.model
    for name, member in zip(model.names, model.members, strict=True):
        alone = system.model_copy(update={"model": model.model_copy(update={"members": (member,), "repeats": 1})})
        found[f"member {name}"] = (of_system(alone), _code(alone))
    found["price_alchemy"] = (of_system(system), _code(system))
    if importlib.util.find_spec(PACKAGE) is not None:
        meant = with_meaning(system)
        found["with embeddings"] = (of_system(meant), _code(meant))
    return found


def with_meaning(system: System) -> System:
    """The same, with the meaning of all texts for the member that gains most by it."""
    from headrace.features import embedding

    category = system.features["category"]
    meaning = embedding("name", "brand_name", category, "item_description")
    model: Any = system.model
    kernel, *others = model.members
    reading = kernel.model_copy(update={"features": (*kernel.features, "meaning")})
    features = Features({**system.features, "meaning": meaning})
    members = model.model_copy(update={"members": (reading, *others)})
    return system.model_copy(update={"features": features, "model": members})


def _code(system: System) -> str:
    folders = (ROOT / "src" / "headrace" / folder for folder in ("models", "features", "tasks/rows"))
    texts = [path.read_text(encoding="utf-8") for folder in folders for path in sorted(folder.rglob("*.py"))]
    return digest_of([system.model_dump(mode="json", include={"model", "features"}), texts])


def asked(name: str, candidate: Candidate, code: str, rows: pl.DataFrame, places: np.ndarray) -> prices_table.Figures:
    """What a candidate says of every row in every repeat, from the disk where it is known."""
    value: np.ndarray | None = None
    seconds = []
    for repeat, fold in enumerate(places):
        for number in range(5):
            held = fold == number
            key = hashlib.sha256(f"{name} {code}".encode() + held.tobytes()).hexdigest()[:24]
            path = KEPT / f"{key}.npz"
            if not path.exists():
                said = candidate(rows.filter(~held), rows.filter(held))
                KEPT.mkdir(parents=True, exist_ok=True)
                np.savez(path, value=said.value, seconds=np.array([said.fit, said.predict]))
            with np.load(path) as file:
                if value is None:
                    value = np.full((*places.shape, *file["value"].shape[1:]), np.nan)
                value[repeat, held] = file["value"]
                seconds.append(file["seconds"])
        print(f"{name}: repeat {repeat + 1} of {len(places)}", file=sys.stderr, flush=True)
    assert value is not None
    return prices_table.Figures(value, np.array(seconds))


def of_peer(python: Path, kind: str, rows: pl.DataFrame, places: np.ndarray) -> prices_table.Figures:
    """What a peer says in its own environment."""
    key = hashlib.sha256(PEER.read_bytes() + kind.encode() + places.tobytes()).hexdigest()[:24]
    out = KEPT / f"{kind}-{key}.npz"
    if not out.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        rows.write_parquet(KEPT / "rows.parquet")
        np.savez(KEPT / f"folds-{kind}.npz", folds=places)
        given = ["--rows", KEPT / "rows.parquet", "--folds", KEPT / f"folds-{kind}.npz", "--out", out, "--kind", kind]
        subprocess.run([python, PEER, *given], check=True, stdout=sys.stderr)
    with np.load(out) as file:
        return prices_table.Figures(file["value"], file["seconds"])


def main() -> None:
    """Run and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="Names of candidates, with commas between.")
    parser.add_argument("--peers", type=Path, help="The Python of an environment made from peers/prices.lock.")
    parser.add_argument("--kinds", default=",".join(KINDS), help="The peers, with commas between.")
    parser.add_argument("--write", action="store_true", help="Write results/prices.md.")
    options = parser.parse_args()
    if not DATA.exists():
        sys.exit(f"there is no {DATA}")
    rows = listings()
    places = parts(rows["price"].to_numpy(), options.repeats)
    only = options.only.split(",") if options.only else None
    found = {
        name: asked(name, candidate, code, rows, places)
        for name, (candidate, code) in candidates().items()
        if only is None or name in only
    }
    if options.peers:
        found |= {f"peer {kind}": of_peer(options.peers, kind, rows, places[:1]) for kind in options.kinds.split(",")}
    text = prices_table.markdown(rows, found, options.repeats)
    print(text)
    if options.write:
        (Path(__file__).parent / "results" / "prices.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
