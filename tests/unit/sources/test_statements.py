"""What counts as one query, and where its parameters stand."""

import pytest

from headrace.errors import UsageError
from headrace.sources.statements import bound, names_of, one_query

HARD = (
    "SELECT ':a', \":b\", $$:c;$$, $x$ ) :d $x$, `:e`, f::text, g FROM t WHERE h = :h -- :i ;\n AND j = :h /* ; :k */"
)


def test_parameters_are_found_outside_of_texts_names_casts_and_comments():
    assert names_of(HARD) == ["h", "h"]
    text, values = bound(HARD, {"h": 1, "a": 2}, "$1")
    assert text == HARD.replace("h = :h", "h = $1").replace("j = :h", "j = $1")
    assert values == [1]
    assert bound("a = :a AND b = :b AND a = :a", {"a": 1, "b": 2}, "?") == ("a = ? AND b = ? AND a = ?", [1, 2, 1])


def test_a_query_has_no_comments_and_no_end():
    assert one_query(f"{HARD} ; ;\n").endswith("AND j = :h")
    assert one_query("SELECT 1 -- one;\n;") == "SELECT 1"


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("SELECT 1; SELECT 2", "two statements"),
        ("SELECT 1) AS r; DROP TABLE t; SELECT (2", "closes that was not opened"),
        ("SELECT (1", "is not closed"),
        (" -- nothing\n;", "empty"),
        ("/* nothing */", "empty"),
        ("DELETE FROM t", "begins with 'DELETE'"),
        ("-- all\nSELEC x FROM t", "begins with 'SELEC'"),
        ("selection", "begins with 'selection'"),
    ],
)
def test_what_is_no_single_query_is_refused(query, reason):
    with pytest.raises(UsageError, match=reason):
        one_query(query)


@pytest.mark.parametrize(
    "query", ["select 1", "(SELECT 1)", "WITH a AS (SELECT 1) TABLE a", "VALUES(1)", "FROM t", "/* a */\tSELECT\n1"]
)
def test_what_reads_is_a_query(query):
    assert one_query(query) == query.removeprefix("/* a */\t")
