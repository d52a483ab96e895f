# SPDX-License-Identifier: Apache-2.0
"""One recognizer for two talkers: chunks change nothing, and no word of its own is lost."""

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from encoders.test_bandsplit import TINY
from evenear.checkpoint.speakers import SpeakerBundle
from evenear.checkpoint.twotalkers import TwoTalkerBundle
from evenear.config import replace
from evenear.encoders.voices.tdnn import TdnnConfig
from evenear.errors import ConfigError, StateError
from evenear.features import FeatureConfig
from evenear.models.activity import ActivityConfig
from evenear.models.separator import SeparatorConfig
from evenear.models.speaker import SpeakerConfig, SpeakerModel
from evenear.models.twotalkers import SeparatorTransducer
from evenear.streaming import Recognizer
from evenear.streaming.events import Final, Partial, TurnEnded, TurnStarted
from evenear.streaming.twotalkers.attributed import Attributor
from evenear.streaming.twotalkers.attribution import AttributionConfig
from evenear.streaming.twotalkers.recognizer import TwoTalkerRecognizer
from held import bytes_held
from laws import FEATURES, chunkings, random_sound
from two_talkers import tiny_two_talkers

SOUND_N = random_sound(6.0, seed=5)


@functools.cache
def bundle() -> TwoTalkerBundle:
    """The tiny model, with bands that decide who speaks by chance."""
    before = tiny_two_talkers(with_words=True)
    bands = replace(TINY, joined=2, num_bins=FEATURES.dim, band_bins=6)
    separator = SeparatorConfig(
        mixture=bands,
        separation=None,
        output="gated",
        joined=2,
        activity=ActivityConfig(
            ahead_groups=1, switch_cost=0.2, odd_cost=0.2, where_both="attributed"
        ),
    )
    config = replace(before.settings.model, separator=separator)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(4)
        model = SeparatorTransducer(config).eval()
        model.transducer.load_state_dict(before.model.transducer.state_dict())
        model.mean_F.copy_(before.model.mean_F)
        model.scale_F.copy_(before.model.scale_F)
        model.separator.activity.talk.weight.mul_(8.0)
    settings = replace(before.settings, model=config, endpoint_seconds=0.3)
    speaker = SpeakerConfig(
        encoder=TdnnConfig(feature_dim=16, planes=(2,), dim=8, dilations=(1,)), embedding_dim=4
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        voice = SpeakerModel(speaker).eval()
    return TwoTalkerBundle(
        model=model,
        settings=settings,
        tokenizer=before.tokenizer,
        words=before.words,
        card="",
        name="tiny",
        voices=SpeakerBundle(
            model=voice,
            features=FeatureConfig(num_mel_bins=8, stack=2),
            card="",
            name="tiny",
            version="0",
        ),
    )


def heard(chunks) -> list:
    stream = TwoTalkerRecognizer(bundle()).stream()
    events, start = [], 0
    for length in chunks:
        events += stream.accept(SOUND_N[start : start + length])
        start += length
    return events + stream.finish()


def told(events) -> list:
    """All but partial words, whose moments follow the chunks."""
    return [
        (
            type(e).__name__,
            e.channel,
            round(e.seconds, 6),
            round(e.known_seconds, 6),
            *(word.text for word in e.words),
        )
        for e in events
        if not isinstance(e, Partial)
    ]


@settings(deadline=None, max_examples=6)
@given(chunkings(len(SOUND_N)))
def test_chunks_change_nothing(chunks):
    assert told(heard(chunks)) == told(heard([len(SOUND_N)]))


def test_the_words_are_those_of_one_recognizer():
    alone = Recognizer(bundle().channel).stream()
    events = alone.accept(SOUND_N) + alone.finish()
    expected = [(w.start_seconds, w.text) for e in events if isinstance(e, Final) for w in e.words]
    both = [
        (w.start_seconds, w.text)
        for e in heard([4000] * 24)
        if isinstance(e, Final)
        for w in e.words
    ]
    assert sorted(both) == sorted(expected)
    assert expected


def test_both_channels_have_turns_and_they_follow_each_other():
    events = heard([len(SOUND_N)])
    turns = [e for e in events if isinstance(e, TurnStarted | TurnEnded)]
    assert {e.channel for e in turns} == {0, 1}
    for channel in range(2):
        kinds = [type(e) for e in turns if e.channel == channel]
        assert kinds == [TurnStarted, TurnEnded] * (len(kinds) // 2)
    moments = [e.known_seconds for e in events]
    assert moments == sorted(moments)


def test_a_finished_stream_hears_nothing_and_an_empty_one_says_nothing():
    stream = TwoTalkerRecognizer(bundle()).stream()
    assert stream.accept(np.zeros(0, np.float32)) == []
    assert stream.finish() == []
    with pytest.raises(StateError, match="finished"):
        stream.accept(SOUND_N)
    with pytest.raises(StateError, match="finished"):
        stream.finish()


def test_a_stream_holds_no_more_after_minutes_than_after_two():
    stream = TwoTalkerRecognizer(bundle()).stream()
    sizes = []
    for second in range(0, 300, 4):
        stream.accept(random_sound(4.0, seed=second))
        parts = (stream._attribution, stream._voices, stream._separator, stream._words.state)
        sizes.append(sum(bytes_held(part) for part in parts))
    half = len(sizes) // 2
    assert max(sizes[half:]) < 1.2 * max(sizes[:half])


def test_other_rates_are_resampled():
    stream = TwoTalkerRecognizer(bundle()).stream(sample_rate=8000)
    events = stream.accept(SOUND_N[::2]) + stream.finish()
    assert max(e.known_seconds for e in events) <= 6.0 + 1e-6


def test_who_speaks_must_be_decided():
    undecided = tiny_two_talkers()
    with pytest.raises(ConfigError, match="decided who speaks"):
        Attributor(undecided, Recognizer(undecided.channel), AttributionConfig())
