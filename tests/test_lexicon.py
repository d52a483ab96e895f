# SPDX-License-Identifier: Apache-2.0
"""A dictionary is read as CMUdict is written, and says which line is not."""

import pytest

from evenear.errors import ManifestError
from evenear.lexicon import Lexicon
from tiny_corpora import write_lines

LINES = [
    ";;; a comment",
    "HELLO  HH AH0 L OW1",
    "hello(2) HH EH0 L OW1",
    "",
    "LOW  L OW1 # as in low",
    "LOW(2)  L OW0",
    "'CAUSE\tK AH0 Z",
]


def test_words_have_phones_without_stress(tmp_path):
    lexicon = Lexicon.read(write_lines(tmp_path / "words.dict", LINES))
    assert lexicon.phones == ("AH", "EH", "HH", "K", "L", "OW", "Z")
    spelled = {
        word: [" ".join(lexicon.phones[phone - 1] for phone in way) for way in pronunciations]
        for word, pronunciations in lexicon.pronunciations.items()
    }
    assert spelled == {
        "HELLO": ["HH AH L OW", "HH EH L OW"],
        "LOW": ["L OW"],  # both pronunciations are one without stress
        "'CAUSE": ["K AH Z"],
    }


def test_a_text_is_said_the_first_way(tmp_path):
    lexicon = Lexicon.read(write_lines(tmp_path / "words.dict", LINES))
    assert lexicon.phones_of("LOW HELLO") == [5, 6, 3, 1, 5, 6]
    assert lexicon.phones_of("LOW HIGH") == []
    assert lexicon.phones_of("") == []


@pytest.mark.parametrize(
    ("lines", "message"),
    [(["LOW L OW", "HIGH"], "line 2"), ([";;; nothing"], "a word at least")],
)
def test_a_file_that_is_no_dictionary_is_refused(tmp_path, lines, message):
    with pytest.raises(ManifestError, match=message):
        Lexicon.read(write_lines(tmp_path / "words.dict", lines))


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "bytes.dict").write_bytes(b"LOW \xff\n")
    for path in (tmp_path / "none.dict", tmp_path / "bytes.dict", tmp_path):
        with pytest.raises(ManifestError, match="cannot be read"):
            Lexicon.read(path)
