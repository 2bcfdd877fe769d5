"""CSV of charts and their tables, as spreadsheets read it."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.dashboard.figures import Figure, FigureLine, plain

MARKS = "=+-@＝＋－＠﹦﹢﹣﹫⁼⁺⁻−"
BEFORE = ["", " ", "\u00a0", "\u3000", "\ufeff", "\u200b", "\x00", "\u202e"]


def written(text):
    """The cells of a chart whose every text is this one."""
    lines = (FigureLine(text, "label", "ours"), FigureLine("id", "id", "hidden"))
    figure = Figure("title", "unit", "place", lines, [{"place": text, text: text, "id": text}], over="name")
    return list(csv.reader(io.StringIO(figure.csv(), newline="")))


@pytest.mark.parametrize("mark", MARKS)
def test_no_text_is_a_formula(mark):
    for before in BEFORE:
        text = f"{before}{mark}1+1"
        assert written(text) == [["place", f"'{text}", "id"], [f"'{text}"] * 3]


@pytest.mark.parametrize("mark", ["\t", "\r", "\n", " \t"])
def test_no_text_begins_a_cell_or_a_line(mark):
    assert written(f"{mark}=1")[1] == [f"'{mark}=1"] * 3


@given(st.text(max_size=12))
def test_what_is_marked_is_otherwise_as_it_was(text):
    cell = plain(text)
    assert cell in (text, f"'{text}")
    assert cell == text or not text[0].isalnum()
    assert plain(cell) == cell


@pytest.mark.parametrize("value", [-1.5, 0, 7, "a=1", "2026-03-01T00:00:00Z", "'=1", ""])
def test_what_is_no_formula_stays(value):
    assert plain(value) == value
