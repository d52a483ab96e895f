# SPDX-License-Identifier: Apache-2.0
"""Segments of every kind for property tests, and what each format makes of them."""

from dataclasses import replace

from hypothesis import strategies as st

from evenear.transcripts import Segment, Word

characters = st.characters(exclude_categories=["Cs"])
anything = st.text(characters, max_size=20) | st.sampled_from(
    [
        "",
        "a <b> & c &amp; &lt;i&gt;",
        "1\n\n2",
        "00:00:01,000 --> 00:00:02,000",
        "[Bob]: hello",
        "<unk,x> hello",
        "<NA> hello",
        ";; no comment",
        "NOTE this",
        "WEBVTT",
        "über Straße 録音 😀",
        "a\u2028b\x85c\x0bd\xa0e\u3000f",
        "{alt / ernative}",
    ]
)
seconds = st.floats(0, 500_000, allow_nan=False) | st.sampled_from([0.0, 0.0005, 0.9995, 59.9999])
confidences = st.none() | st.floats(0, 1)
spans = st.tuples(seconds, seconds).map(sorted)
word_texts = st.text(characters, min_size=1, max_size=8).map(lambda t: "".join(t.split()) or "a")


@st.composite
def words(draw):
    start, end = draw(spans)
    return Word(
        text=draw(word_texts),
        start_seconds=start,
        end_seconds=end,
        confidence=draw(confidences),
    )


@st.composite
def segments(draw, texts=anything, names=anything, sessions=None):
    start, end = draw(spans)
    return Segment(
        session_id=draw(sessions if sessions is not None else names),
        speaker=draw(names),
        start_seconds=start,
        end_seconds=end,
        text=draw(texts),
        words=tuple(draw(st.lists(words(), max_size=3))),
        channel=draw(st.integers(0, 3)),
        confidence=draw(confidences),
    )


# Names that are one field, so that formats divided by white space hold them as they are.
fields = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=8).filter(
    lambda name: not name.startswith(";")
)


def rounded(value):
    """A word or a segment with its times in whole milliseconds and its confidence to 4 decimals."""
    confidence = value.confidence if value.confidence is None else round(value.confidence, 4)
    value = replace(
        value,
        start_seconds=round(value.start_seconds * 1000) / 1000,
        end_seconds=round(value.end_seconds * 1000) / 1000,
        confidence=confidence,
    )
    if isinstance(value, Segment):
        value = replace(value, words=tuple(rounded(word) for word in value.words))
    return value


def by_session_and_start(some):
    """The order of formats made of lines."""
    seen = list(dict.fromkeys(segment.session_id for segment in some))
    return sorted(some, key=lambda s: (seen.index(s.session_id), rounded(s).start_seconds))
