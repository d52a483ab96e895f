# SPDX-License-Identifier: Apache-2.0
"""Channels are scored as if every assignment had been tried, and as meeteval scores them."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.errors import MissingDependencyError
from evenear.metrics import turns
from evenear.metrics.turns import (
    Leakage,
    TurnCounts,
    leakage,
    orc_assignment,
    orc_errors,
    speaker_errors,
)
from evenear.metrics.words import WordErrors, word_errors
from evenear.transcripts import Segment

texts = st.lists(st.sampled_from("ABCD"), max_size=4).map(" ".join)
sessions = st.tuples(st.lists(texts, max_size=5), st.lists(texts, min_size=1, max_size=3))


def tried(references, channels) -> int:
    """Every assignment, one by one."""
    found = []
    for way in itertools.product(range(len(channels)), repeat=len(references)):
        total = WordErrors()
        for channel, heard in enumerate(channels):
            own = [text for text, c in zip(references, way, strict=True) if c == channel]
            total += word_errors(" ".join(own), heard)
        found.append(total.errors)
    return min(found)


@settings(deadline=None)
@given(sessions)
def test_no_assignment_has_fewer_errors(session):
    references, channels = session
    counted = orc_errors(references, channels)
    assert counted.errors == tried(references, channels)
    assert counted.reference_words == sum(len(text.split()) for text in references)


@settings(deadline=None)
@given(sessions)
def test_the_assignment_is_one_of_fewest_errors(session):
    references, channels = session
    way = orc_assignment(references, channels)
    assert len(way) == len(references)
    total = WordErrors()
    for channel, heard in enumerate(channels):
        own = [text for text, c in zip(references, way, strict=True) if c == channel]
        total += word_errors(" ".join(own), heard)
    assert total.errors == tried(references, channels)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(texts.filter(bool), min_size=1, max_size=5),
    st.lists(texts, min_size=2, max_size=2),
)
def test_meeteval_counts_as_many_errors(references, channels):
    meeteval = pytest.importorskip("meeteval")
    said = [segment(text, start=number) for number, text in enumerate(references)]
    heard = [segment(text, start=0, speaker=f"c{c}") for c, text in enumerate(channels)]
    theirs = meeteval.wer.orcwer(
        meeteval.io.SegLST([turns._seglst(s) for s in said]),
        meeteval.io.SegLST([turns._seglst(s) for s in heard]),
    )["m"]
    ours = orc_errors(references, channels)
    assert (ours.errors, ours.reference_words) == (theirs.errors, theirs.length)


def segment(text: str, *, start: float, speaker: str = "a", session: str = "m") -> Segment:
    return Segment(
        session_id=session,
        speaker=speaker,
        start_seconds=start,
        end_seconds=start + 1.0,
        text=text,
    )


def test_without_channels_everything_is_missing():
    assert orc_errors(["A B", "C"], []) == WordErrors(deletions=3, reference_words=3)
    assert orc_errors([], ["A B"]).insertions == 2


def test_names_of_speakers_do_not_matter_to_cpwer_but_who_said_what_does():
    pytest.importorskip("meeteval")
    said = [segment("A B", start=0, speaker="ann"), segment("C", start=2, speaker="bob")]
    renamed = [segment("A B", start=0, speaker="1"), segment("C", start=2, speaker="0")]
    assert speaker_errors(said, renamed).errors == 0
    glued = [segment("A B C", start=0, speaker="1")]
    assert speaker_errors(said, glued).errors == 2
    assert speaker_errors(said, []) == WordErrors(deletions=3, reference_words=3)


def test_tcpwer_matches_words_only_near_their_time():
    pytest.importorskip("meeteval")
    said = [segment("A B", start=0)]
    late = [segment("A B", start=60)]
    assert speaker_errors(said, late, kind="tcpwer", collar_seconds=1.0).errors == 4
    assert speaker_errors(said, late).errors == 0


def test_what_is_missing_is_named(monkeypatch):
    def fail(name):
        raise ImportError(name)

    monkeypatch.setattr(turns, "import_module", fail)
    with pytest.raises(MissingDependencyError, match="meeteval"):
        speaker_errors([segment("A", start=0)], [segment("A", start=0)])


def test_turn_counts_add_and_know_the_hard_sessions():
    counts = sum(
        (TurnCounts.of(*pair) for pair in [(1, 1), (2, 2), (3, 2), (3, 3), (4, 3), (3, 2)]),
        TurnCounts(),
    )
    assert counts.accuracy() == pytest.approx(3 / 6)
    assert counts.accuracy(more_than=2) == pytest.approx(1 / 4)
    assert counts.accuracy(more_than=4) is None
    assert counts.matrix() == {1: {1: 1}, 2: {2: 1}, 3: {2: 2, 3: 1}, 4: {3: 1}}


def test_leakage_is_what_comes_out_twice_and_omission_what_does_not():
    found = leakage(["A B C", "D E"], ["A B", "A B C"])
    assert found == Leakage(several=1, none=1, ngrams=3)
    assert found.leaked == found.omitted == pytest.approx(1 / 3)
    assert (found + found).ngrams == 6
    assert Leakage().leaked is None
    assert Leakage().omitted is None


def test_what_is_said_twice_does_not_leak():
    assert leakage(["A B", "A B"], ["A B", "A B"]).ngrams == 0
