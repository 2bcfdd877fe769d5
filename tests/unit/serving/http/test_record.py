"""Texts that people write for the record."""

import pytest

from headrace.serving.http.changing import is_said


@pytest.mark.parametrize("text", ["better", "besser – und schöner 👨‍👩‍👧", "=1+1", "<b>"])
def test_a_text_of_one_line_is_kept_as_it_is(text):
    assert is_said(text)


@pytest.mark.parametrize(
    "text", ["", " ", "a\nb", "a\x00b", "a\x1b[2K", "a\x9bm", "a\u202eb", "a\u2028b", "a" * 501, 7]
)
def test_what_steers_a_terminal_is_no_text_for_the_record(text):
    assert not is_said(text)
