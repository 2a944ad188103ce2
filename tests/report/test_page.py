"""Texts and numbers as pages show them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creps.report.page import LONGEST, figure, printable
from creps.report.views import _embedded


@given(st.text(max_size=1000))
def test_what_is_shown_of_a_text_is_short_and_has_no_control_characters(text):
    import unicodedata

    shown = printable(text)
    assert len(shown) <= LONGEST
    assert all(unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Cn") for c in shown)


def test_plain_texts_are_shown_as_they_are():
    assert printable("Fat under the skin has −90 HU.") == "Fat under the skin has −90 HU."
    assert printable("a\u202eb\x00c\nd") == "a b c d"


@pytest.mark.parametrize(
    ("number", "shown"),
    [(None, "–"), (0.123456, "0.123"), (-12.345, "−12.3"), (123456.7, "123457"), (True, "True"), ("a", "a"), (5, "5")],
)
def test_numbers(number, shown):
    assert figure(number) == shown


def test_embedded_json_cannot_end_its_element():
    import json

    hostile = ["</script><script>alert(1)</script>", "<!--"]
    assert "<" not in _embedded(hostile)
    assert json.loads(_embedded(hostile)) == hostile
