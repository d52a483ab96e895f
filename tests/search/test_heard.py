# SPDX-License-Identifier: Apache-2.0
"""What a search keeps of what it heard is what a plain list of frames says that it should.

Dimensions: T frames, D width.
"""

from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.search.heard import MOST_JUDGED_FRAMES, HeardFrames
from evenear.seeding import rng_for

laws = settings(deadline=None, max_examples=60, derandomize=True)
KEPT = 125
LONG = 2 * MOST_JUDGED_FRAMES


def frames(first: int, count: int) -> torch.Tensor:
    """Frames (T, D) that say which they are."""
    return torch.arange(first, first + count, dtype=torch.float32)[:, None].expand(-1, 2)


@dataclass
class Plain:
    """The same with numbers of frames in lists, and nothing shared or joined."""

    kept: list[int] = field(default_factory=list)
    now: int = 0
    open: int = 0
    words: list[tuple[int, int, int]] = field(default_factory=list)
    """Each word, the frame at which it begins, and the frame behind it."""

    @property
    def first(self) -> int:
        return self.kept[0] if self.kept else self.now

    def more(self, count: int) -> None:
        self.kept += range(self.now, self.now + count)
        self.now += count
        if self.now - self.open >= LONG:
            self.since(self.now - MOST_JUDGED_FRAMES)

    def settled(self, words: list[tuple[int, int]], most_before: int) -> None:
        """Words that end where the open tail now begins."""
        for word, end in words:
            self.words.append((word, self.open, end))
            self.open = end
        starts = [self.first, *(start for _, start, _ in self.words), self.open]
        self.since(min(start for start in starts if self.open - start <= most_before))

    def since(self, frame: int) -> None:
        self.kept = [each for each in self.kept if each >= frame]
        self.open = max(self.open, frame)
        self.words = [one for one in self.words if one[1] >= frame]


def check(heard: HeardFrames, plain: Plain) -> None:
    assert heard.num_frames == len(plain.kept)
    assert (heard.first, heard.open) == (plain.first, plain.open)
    assert heard.words == tuple(word for word, _, _ in plain.words)
    assert [end for word, end in heard.said if word] == [end for _, _, end in plain.words]
    if plain.kept:
        assert heard.whole()[:, 0].tolist() == plain.kept
        tail = [each for each in plain.kept if each >= plain.open][-MOST_JUDGED_FRAMES:]
        assert heard.tail()[:, 0].tolist() == tail


def cut_in_words(rng, start: int, end: int) -> list[tuple[int, int]]:
    """Words of random length that fill some frames."""
    words = []
    while start < end:
        start = min(end, start + int(rng.integers(1, 40)))
        words.append((int(rng.integers(1, 99)), start))
    return words


@laws
@given(st.integers(0, 2**40), st.sampled_from([0, 30, KEPT]))
def test_frames_and_words_are_those_that_a_plain_list_keeps(seed, most_before):
    rng = rng_for(seed, "heard")
    heard, plain = HeardFrames(), Plain()
    for number in range(40):
        count = int(rng.integers(0, 30 if number % 9 else 200))
        heard = heard.more(frames(plain.now, count))
        plain.more(count)
        check(heard, plain)
        if rng.random() < 0.4 and plain.now > plain.open:
            frame = int(rng.integers(plain.open + 1, plain.now + 1))
            words = cut_in_words(rng, plain.open, frame)
            heard = heard.settled(words, frame, most_before)
            plain.settled(words, most_before)
            assert heard.open - heard.first <= most_before
            check(heard, plain)
        if rng.random() < 0.1:
            starts = [start for _, start, _ in plain.words] + [plain.open, plain.now]
            frame = starts[int(rng.integers(len(starts)))] + int(rng.integers(-2, 3))
            frame = min(frame, plain.now)
            heard = heard.since(frame)
            plain.since(frame)
            check(heard, plain)


@laws
@given(st.integers(0, 2**40), st.integers(1, 250))
def test_memory_is_bounded_however_long_one_talks(seed, most):
    rng = rng_for(seed, "bound")
    heard, now = HeardFrames(), 0
    for _ in range(min(200, 1500 // most + 3)):
        count = int(rng.integers(1, most + 1))
        heard, now = heard.more(frames(now, count)), now + count
        assert heard.num_frames < LONG + KEPT
        assert len(heard.pieces) < LONG
        assert heard.first + heard.num_frames == now
        if rng.random() < 0.02:
            heard = heard.settled([(5, now)], now, KEPT)


def test_single_frames_are_joined_before_they_are_many():
    heard = HeardFrames()
    for frame in range(900):
        heard = heard.more(frames(frame, 1))
        if frame % 100 == 99:
            heard = heard.settled([(1, frame + 1)], frame + 1, 10**6)
        assert len(heard.pieces) < LONG
    assert heard.whole()[:, 0].tolist() == list(range(900))
    assert heard.words == (1,) * 9


def test_without_a_past_only_the_open_tail_is_kept():
    heard = HeardFrames().more(frames(0, 50)).settled([(7, 20), (8, 31)], 31, 0)
    assert (heard.first, heard.open, heard.said) == (31, 31, ())
    assert heard.whole()[:, 0].tolist() == heard.tail()[:, 0].tolist() == list(range(31, 50))


def test_what_was_said_is_kept_from_the_beginning_of_a_word_on():
    heard = HeardFrames().more(frames(0, 300))
    words = [(1, 10), (2, 50), (3, 80), (4, 120), (5, 200)]
    heard = heard.settled(words, 200, KEPT)
    assert heard.said == ((4, 120), (5, 200))
    assert heard.whole()[:, 0].tolist() == list(range(80, 300))
    assert heard.tail()[:, 0].tolist() == list(range(200, 300))


def test_of_a_word_longer_than_may_be_kept_nothing_is():
    heard = HeardFrames().more(frames(0, 300)).settled([(1, 20), (2, 200)], 200, KEPT)
    assert (heard.first, heard.words) == (200, ())


def test_a_word_whose_frames_are_gone_is_not_among_those_said():
    """The open tail was cut for its length, and then words of its lost part became final."""
    heard = HeardFrames().more(frames(0, 400))
    assert heard.first == 400 - MOST_JUDGED_FRAMES
    heard = heard.settled([(1, 100), (2, 230), (3, 330)], 330, KEPT)
    assert (heard.words, heard.first, heard.open) == ((), 240, 330)  # word 3 began at 230
    assert heard.whole()[:, 0].tolist() == list(range(heard.first, 400))
    before = HeardFrames().more(frames(0, 400)).settled([(1, 100), (2, 230)], 230, KEPT)
    assert (before.words, before.first, before.open) == ((), 240, 240)


@pytest.mark.parametrize(("frame", "kept"), [(0, (1, 2, 3)), (3, (2, 3)), (10, (2, 3)), (11, (3,))])
def test_a_word_that_is_cut_goes(frame, kept):
    heard = HeardFrames().more(frames(0, 60)).settled([(1, 10), (2, 25), (3, 40)], 40, 10**6)
    cut = heard.since(frame)
    assert (cut.words, cut.first, cut.open) == (kept, frame, 40)
    assert cut.whole()[:, 0].tolist() == list(range(frame, 60))


def test_a_word_behind_one_that_is_cut_frame_by_frame_stays_until_it_is_cut_too():
    """A pause within a turn takes off a frame at a time."""
    heard = HeardFrames().more(frames(0, 60)).settled([(1, 10), (2, 25)], 25, 10**6)
    for frame in range(40):
        heard = heard.since(frame)
        assert heard.words == ((1, 2) if frame == 0 else (2,) if frame <= 10 else ())
        assert heard.said == () or heard.said[-1][1] == 25


def test_frames_beyond_the_last_one_leave_nothing():
    heard = HeardFrames().more(frames(0, 60)).settled([(1, 10)], 10, 100).since(60)
    assert (heard.num_frames, heard.first, heard.open, heard.words) == (0, 60, 60, ())
    again = heard.more(frames(60, 5))
    assert again.tail()[:, 0].tolist() == list(range(60, 65))


def test_frames_are_never_changed():
    heard = HeardFrames().more(frames(0, 60))
    before = heard.whole().clone()
    heard.more(frames(60, 400)), heard.settled([(1, 9)], 9, 0), heard.since(30)
    assert torch.equal(heard.whole(), before)
    assert (heard.first, heard.open, heard.said) == (0, 0, ())
