"""Cards of model versions: sections as Markdown and HTML, and how they are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from headrace import Classifier, Column, Contract, Linear, Regressor, System
from headrace.errors import ArtefactError
from headrace.features import col
from headrace.tasks.card import ModelCard, of_version
from headrace.tasks.rows.card import importance, sections
from headrace.tasks.rows.fitting import Rows
from headrace.tasks.rows.training import fit
from headrace.tasks.sections import ReportCurve, ReportHeading, ReportSentence, ReportTable
from headrace.tasks.verdict import Verdict

HOSTILE = "<script>alert(1)</script>|[x](y)"
CARD = ModelCard(
    "a: model card",
    "trained",
    (
        ReportHeading("Part"),
        ReportSentence(HOSTILE, note=True),
        ReportTable("Table", ("level", "rows", "coverage"), [(HOSTILE, 1200, 0.5), ("b", None, 0.25)], ("coverage",)),
        ReportCurve("Curve", (1.0, 2.0), [("one", (0.5, None), "ours")], share=True),
    ),
)


def test_what_came_from_data_is_text() -> None:
    markdown, html = CARD.markdown(), CARD.html()
    assert "<script" not in html
    assert "\\<script" in markdown
    assert "[x](y)" not in markdown
    assert "| b | - | 25.0% |" in markdown
    assert "1,200" in markdown
    assert "<svg" in html
    assert "http" not in html.replace("http-equiv", "")


def test_a_card_reads_back(tmp_path: Path) -> None:
    CARD.save(tmp_path)
    again = ModelCard.load(tmp_path)
    assert (again.markdown(), again.html()) == (CARD.markdown(), CARD.html())
    assert {path.name for path in (tmp_path / "card").iterdir()} == {"card.json", "card.md", "card.html"}
    (tmp_path / "card" / "card.json").write_text("{}")
    with pytest.raises(ArtefactError, match="damaged"):
        ModelCard.load(tmp_path)
    with pytest.raises(ArtefactError, match="no card"):
        ModelCard.load(tmp_path / "card")


def house(model: object, kind: str) -> System:
    return System(
        name="house",
        contract=Contract(
            columns=(
                Column("id", "integer"),
                Column("y", kind, nullable=True, minimum=0 if kind == "float" else None),
                Column("size", "float"),
                Column("place", "category", nullable=True),
            )
        ),
        keys=("id",),
        target="y",
        features={"size": col("size"), "place": col("place")},
        model=model,
        intended_use="Prices of houses, not of boats.",
    )


def frame() -> pl.DataFrame:
    random = np.random.default_rng(0)
    size = random.uniform(1, 10, 300)
    return pl.DataFrame(
        {
            "id": range(300),
            "size": size,
            "place": [("north", "south", None)[n % 3] for n in range(300)],
            "y": size * 2 + random.normal(0, 0.5, 300),
        }
    )


@pytest.mark.parametrize("kind", ["number", "two classes", "three classes"])
def test_the_card_of_rows(kind: str) -> None:
    rows = frame()
    if kind == "number":
        system = house(Regressor(members=(Linear(),), folds=3, repeats=1), "float")
    else:
        size = rows["size"].to_list()
        names = ["low" if s < 4 else "mid" if s < 7 and kind[:2] == "th" else "top" for s in size]
        rows = rows.with_columns(pl.Series("y", names))
        system = house(Classifier(members=(Linear(),), folds=3, repeats=1), "category")
    fitted = fit(system, rows)
    pins = {"as_of": "2026-01-01T00:00:00Z", "rows": 300}
    learnt = Rows(rows, "y", {"size": "float", "place": "category"})
    found = [*sections(system, fitted, learnt), *importance(fitted, rows).sections()]
    verdict = Verdict("loss", 1.0, {"mean": 2.0}, 300)
    card = of_version(system, pins, {"kind": "x"}, verdict, found)
    repeated = [*sections(system, fitted, learnt), *importance(fitted, rows).sections()]
    again = of_version(system, pins, {"kind": "x"}, verdict, repeated)
    assert card.markdown() == again.markdown()
    tables = {each.title: each for each in found if isinstance(each, ReportTable)}
    by_place = tables["By place"]
    assert [row[0] for row in by_place.rows] == ["north", "south", "(missing)"] or len(by_place.rows) == 3
    (bands,) = [table for title, table in tables.items() if title.endswith("as predicted")]
    assert sum(row[1] for row in bands.rows) == fitted.judged
    assert tables["What it looks at"].rows[0][0] == "size"
    assert sum(row[2] for row in tables["What it looks at"].rows) == pytest.approx(1)
    assert "Prices of houses" in card.markdown()
    assert any(isinstance(each, ReportCurve) for each in found)
    if kind == "number":
        assert "coverage" in bands.header
        assert "The contract lets no y be under 0" in card.markdown()


def test_a_card_is_the_same_whatever_number_of_writes_its_data_has() -> None:
    system = house(Regressor(), "float")
    few, many = (of_version(system, {"as_of": "now", "data_version": n, "rows": 5}, {}, None, []) for n in (2, 6))
    assert few.as_dict() == many.as_dict()
