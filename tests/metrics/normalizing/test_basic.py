# SPDX-License-Identifier: Apache-2.0
from hypothesis import given
from hypothesis import strategies as st

from evenear.metrics.normalizing.basic import as_it_is, basic, cased, characters, straight


@given(st.text(max_size=50))
def test_basic_is_cased_without_case(text):
    assert basic(text) == basic(basic(text))
    assert basic(cased(text)) == basic(text)
    assert cased(text) == cased(cased(text))


def test_cased_keeps_capitals_and_loses_punctuation():
    assert cased("Don’t, Ann — said “Bob”!") == "Don't Ann said Bob"
    assert basic("Don’t, Ann — said “Bob”!") == "DON'T ANN SAID BOB"
    assert characters("It's é") == "I T S É"
    assert as_it_is(" a  B ") == " a  B "
    assert straight("o’clock") == "o'clock"
