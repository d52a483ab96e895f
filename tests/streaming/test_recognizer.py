# SPDX-License-Identifier: Apache-2.0
"""A recognizer says the same whatever the chunks, the company and the door of the sound."""

import copy
import importlib.resources
import io
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.audio import read_audio, resample, write_audio
from evenear.checkpoint import shipped_models
from evenear.config import replace
from evenear.errors import AudioError, StateError
from evenear.features import extract
from evenear.nn.state import state_bytes
from evenear.search import BeamConfig, LexiconConfig, greedy_search
from evenear.streaming import Final, Partial, Recognizer, TurnConfig, TurnEnded, TurnStarted
from evenear.streaming.moments import words_of
from hearing import assert_same, confidences, hear, lasting_words
from laws import chunkings, random_sound, tiny_bundle, tiny_word_bundle

laws = settings(deadline=None, max_examples=4, derandomize=True)
BRISK = TurnConfig(endpoint_seconds=0.25, final_seconds=1.0, long_seconds=1.5, longest_seconds=2.5)
SEARCHES = {
    "greedy": BeamConfig(width=1),
    "beam": BeamConfig(width=4),
    "beam-lm": BeamConfig(width=3, lm_weight=0.3, insertion_bonus=0.5, internal_lm_weight=0.1),
}
WORDS = LexiconConfig(width=12, lm_weight=0.4, transducer_weight=0.5)
MODELS = [("lstm", "stateless"), ("lstm-reduced-2", "lstm"), ("convrnn-reduced-2", "lstm")]
MODELS += [("transformer", "lstm")]
PATIENT = [*MODELS, ("transformer-right", "lstm")]


def recognizer(encoder="lstm-reduced-2", predictor="lstm", search="greedy") -> Recognizer:
    if search == "words":
        return Recognizer(tiny_word_bundle(encoder, predictor), beam=WORDS, turns=BRISK)
    return Recognizer(tiny_bundle(encoder, predictor), beam=SEARCHES[search], turns=BRISK)


@pytest.mark.parametrize(("encoder", "predictor"), PATIENT)
@pytest.mark.parametrize("search", [*SEARCHES, "words"])
def test_chunks_of_any_size_give_the_same_events(encoder, predictor, search):
    ears = recognizer(encoder, predictor, search)
    seeds = (3, 7) if encoder == "transformer-right" else (0, 1)  # in these something is heard
    whole = {seed: hear(ears, random_sound(3.0, seed=seed)) for seed in seeds}
    assert any(isinstance(e, Final) for events in whole.values() for e in events)

    @laws
    @given(cuts=chunkings(48_000, max_chunks=12), seed=st.sampled_from(seeds))
    def check(cuts, seed):
        sound = random_sound(3.0, seed=seed)
        assert_same(hear(ears, sound, np.cumsum(cuts)[:-1]), whole[seed])

    check()


@pytest.mark.parametrize("search", ["greedy", "beam"])
def test_one_sample_at_a_time_gives_the_same_events(search):
    ears, sound = recognizer(search=search), random_sound(1.0, seed=3)
    one_by_one = hear(ears, sound, range(1, len(sound)))
    assert_same(one_by_one, hear(ears, sound))
    assert confidences(one_by_one)


@pytest.mark.parametrize("search", ["greedy", "beam-lm", "words"])
@pytest.mark.parametrize(("encoder", "predictor"), PATIENT)
def test_strangers_in_a_batch_do_not_meet(encoder, predictor, search):
    """Three listeners: two in step, one ahead by an odd number of frames."""
    ears = recognizer(encoder, predictor, search)
    sounds = [random_sound(2.0, seed=seed) for seed in range(3)]
    alone = [hear(ears, sound) for sound in sounds]
    streams = [ears.stream() for _ in sounds]
    together = [[], [], streams[2].accept(sounds[2][:3600])]
    starts, sizes = [0, 0, 3600], [2560, 2560, 2560]
    while any(start < len(sounds[0]) for start in starts):
        chunks = [s[a : a + n] for s, a, n in zip(sounds, starts, sizes, strict=True)]
        for own, events in zip(together, ears.advance(streams, chunks), strict=True):
            own += events
        starts = [a + n for a, n in zip(starts, sizes, strict=True)]
    for own, tail, expected in zip(together, ears.finish(streams), alone, strict=True):
        assert_same(own + tail, expected)


@pytest.mark.parametrize(("encoder", "predictor"), MODELS)
@pytest.mark.parametrize("num_samples", [16_000, 16_161, 16_480, 15_999])
def test_a_stream_reads_what_training_read_to_the_last_token(encoder, predictor, num_samples):
    """Streaming equals encoding the whole utterance, whatever is left in windows and groups."""
    bundle = tiny_bundle(encoder, predictor)
    sound = random_sound(2.0, seed=5)[:num_samples]
    frames_TF = torch.from_numpy(extract(sound, bundle.features))[None]
    with torch.inference_mode():
        encoded = bundle.model.encode(frames_TF, torch.tensor([frames_TF.shape[1]]))
    (whole,) = greedy_search(bundle.model, encoded)
    patient = Recognizer(bundle, turns=TurnConfig(endpoint_seconds=99.0, tail_seconds=0.0))
    stream = patient.stream()
    events = stream.accept(sound) + stream.finish()
    found = stream.state.search
    assert found.num_frames == int(encoded.lengths_B[0])
    words = [word for event in events if isinstance(event, Final) for word in event.words]
    expected = [
        (text, start, min(end, num_samples / 16_000))  # a last frame may lie beyond the sound
        for text, start, end in lasting_words(words_of(whole, bundle.tokenizer, patient.clock))
    ]
    assert lasting_words(words) == [(text, start, round(end, 6)) for text, start, end in expected]
    if bundle.tokenizer.eot_id not in whole.tokens:  # after one, the search begins anew
        assert found.hypothesis.log_prob == pytest.approx(whole.log_prob, abs=1e-3)


@pytest.mark.parametrize("encoder", ["lstm-reduced-2", "transformer-right"])
def test_events_tell_one_story(encoder):
    """Turns open and close in order; finals repeat nothing; moments do not run backwards."""
    events = hear(recognizer(encoder), random_sound(8.0, seed=7), range(2560, 128_000, 2560))
    is_open, known = False, 0.0
    for event in events:
        assert event.known_seconds >= known - 1e-9
        assert event.seconds <= event.known_seconds + 1e-9
        known = event.known_seconds
        if isinstance(event, TurnStarted):
            assert not is_open
            is_open = True
        elif isinstance(event, TurnEnded):
            assert is_open
            is_open = False
        else:
            assert is_open
    assert not is_open
    assert sum(isinstance(e, TurnStarted) for e in events) > 1
    assert any(isinstance(e, Partial) for e in events)
    words = [w for e in events if isinstance(e, Final) for w in e.words]
    starts = [w.start_seconds for w in words]
    assert starts == sorted(starts)
    assert all(0 < w.confidence <= 1 for w in words)
    assert all(w.start_seconds < w.end_seconds <= 8.0 + 0.06 for w in words)


def test_a_final_begins_as_the_partial_before_it_does():
    events = hear(recognizer(), random_sound(6.0, seed=8), range(1600, 96_000, 1600))
    shown = None
    for event in events:
        if isinstance(event, Partial):
            shown = event.text
        elif isinstance(event, Final):
            assert (shown or "").startswith(event.text) or event.text.startswith(shown or "")
            shown = None


def test_int16_and_float_samples_are_the_same_sound():
    ears, sound = recognizer(), random_sound(1.0, seed=2)
    as_int16 = np.round(sound * 32768).clip(-32768, 32767).astype(np.int16)
    assert_same(hear(ears, as_int16), hear(ears, (as_int16 / 32768).astype(np.float32)))


@pytest.mark.parametrize("sample_rate", [8_000, 44_100, 48_000])
def test_other_sample_rates_are_resampled_alike_in_any_chunks(sample_rate):
    ears = recognizer()
    sound = random_sound(1.5, sample_rate=sample_rate, seed=4)
    whole = hear(ears, sound, sample_rate=sample_rate)
    cuts = [1, 777, 5000, 5001]
    assert_same(hear(ears, sound, cuts, sample_rate), whole)
    assert_same(hear(ears, resample(sound, from_rate=sample_rate, to_rate=16_000)), whole)


@pytest.mark.parametrize("name", ["talk.wav", "talk.flac"])
def test_a_file_gives_what_its_samples_give(tmp_path, name):
    ears, sound = recognizer(), random_sound(5.0, seed=7)
    write_audio(tmp_path / name, sound, sample_rate=16_000)
    segments = ears.transcribe(tmp_path / name)
    events = hear(ears, read_audio(tmp_path / name))
    words = [word for event in events if isinstance(event, Final) for word in event.words]
    found = [word for segment in segments for word in segment.words]
    assert lasting_words(found) == lasting_words(words)
    assert len(segments) > 1
    for segment in segments:
        assert segment.session_id == "talk"
        assert segment.text == " ".join(w.text for w in segment.words)
        assert segment.start_seconds == segment.words[0].start_seconds
        assert segment.end_seconds == segment.words[-1].end_seconds


def test_an_open_file_and_a_name_of_ones_own_work_too():
    ears, buffer = recognizer(), io.BytesIO()
    soundfile.write(buffer, random_sound(2.0, seed=7), 16_000, format="WAV")
    buffer.seek(0)
    segments = ears.transcribe(buffer, session_id="meeting")
    assert segments
    assert {s.session_id for s in segments} == {"meeting"}


def test_what_could_be_read_of_a_broken_file_is_handed_out_before_the_error(tmp_path):
    ears = recognizer()
    path = tmp_path / "broken.flac"
    write_audio(path, random_sound(20.0, seed=7), sample_rate=16_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = []

    def read():
        for segment in ears.segments(path):
            found.append(segment)

    with pytest.raises(AudioError):
        read()
    assert found
    assert found[-1].end_seconds > 5.0


def test_a_bad_chunk_is_refused_and_nothing_was_heard():
    ears, sound = recognizer(), random_sound(1.0, seed=2)
    stream, other = ears.stream(), ears.stream()
    events = stream.accept(sound[:8000])
    others = other.accept(sound[:8000])
    loud = (sound * 32768).astype(np.float32)
    for bad, message in [
        (np.zeros((100, 2), np.float32), r"mono samples of shape \(n,\), got \(100, 2\)"),
        (np.array([0.0, np.nan], np.float32), "finite"),
        (np.array([0.0, np.inf], np.float32), "finite"),
        (loud, r"must be in \[-1, 1\], got one of size"),
        (np.array(["a"]), "must be float or int"),
    ]:
        with pytest.raises(AudioError, match=message):
            ears.advance([other, stream], [sound[8000:], bad])
    events += stream.accept(sound[8000:]) + stream.finish()
    assert_same(events, hear(ears, sound, [8000]))
    others += other.accept(sound[8000:]) + other.finish()
    assert_same(others, hear(ears, sound, [8000]))


def test_a_little_overshoot_is_sound():
    assert recognizer().stream().accept(np.full(160, 1.2, np.float32)) == []


def test_streams_end_once_and_stay_with_their_recognizer():
    ears = recognizer()
    stream = ears.stream()
    assert stream.finish() == []
    for call in (stream.finish, lambda: stream.accept(np.zeros(160, np.float32))):
        with pytest.raises(StateError, match="finished"):
            call()
    fresh = ears.stream()
    with pytest.raises(StateError, match="belongs to the recognizer"):
        recognizer().advance([fresh], [np.zeros(0)])
    with pytest.raises(StateError, match="given twice"):
        ears.advance([fresh, fresh], [np.zeros(0), np.zeros(0)])
    with pytest.raises(StateError, match="2 chunks"):
        ears.advance([fresh], [np.zeros(0), np.zeros(0)])


@pytest.mark.parametrize("num_samples", [0, 1, 79, 80, 200])
def test_streams_shorter_than_a_window_are_fine(num_samples):
    assert hear(recognizer(), np.zeros(num_samples, np.float32)) is not None


@pytest.mark.parametrize("search", ["greedy", "beam"])
def test_a_stream_does_not_grow_with_time(search):
    ears = recognizer(search=search)
    stream = ears.stream()
    sizes, longest = set(), 0
    for second in range(30):
        stream.accept(random_sound(1.0, seed=second % 5))
        sizes.add(state_bytes(stream.state.encoder))
        assert len(stream._waiting_TF) < 2
        longest = max(longest, len(ears.search.best(stream.state.search).tokens))
    assert len(sizes) == 1
    frames = BRISK.longest_seconds / ears.clock.frame_seconds
    assert 0 < longest <= 4 * (frames + 1)


@pytest.mark.parametrize("search", ["greedy", "beam"])
def test_long_silence_makes_no_word(search):
    """Each frame gives one token 4 parts in 1,000: over time, that it came is likelier than not."""
    bundle = copy.deepcopy(tiny_bundle())
    output = bundle.model.joiner.output
    with torch.no_grad():
        output.weight.zero_()
        output.bias.fill_(-20.0)
        output.bias[bundle.tokenizer.encode("A")[0]] = math.log(4e-3)
        output.bias[bundle.model.blank_id] = math.log(1 - 4e-3)
    silent = Recognizer(bundle, beam=SEARCHES[search])
    assert hear(silent, np.zeros(16_000 * 90, np.float32), range(16_000, 16_000 * 90, 16_000)) == []


@pytest.mark.parametrize("search", [*SEARCHES, "words"])
def test_no_word_but_the_last_waits_longer_than_it_may(search):
    ears, sound = recognizer(search=search), random_sound(20.0, seed=7)
    waits = [0.0]
    for event in hear(ears, sound, range(2560, len(sound), 2560)):
        if isinstance(event, Final):
            waits += [event.known_seconds - word.end_seconds for word in event.words[:-1]]
    assert 0.0 < max(waits) <= BRISK.final_seconds + 1e-9


@pytest.mark.parametrize("search", [*SEARCHES, "words"])
def test_a_stream_that_ends_with_its_speech_is_heard_as_if_silence_followed(search):
    """The same words, but no moment after the end of the sound."""
    ears, sound = recognizer(search=search), random_sound(3.3, seed=7)
    cut_off = recognizer(search=search)
    cut_off.turns = replace(BRISK, tail_seconds=0.0)
    silence = np.zeros(round(BRISK.tail_seconds * 16_000), np.float32)
    expected = hear(cut_off, np.concatenate([sound, silence]))
    events = hear(ears, sound)
    texts = [
        [w.text for e in found if isinstance(e, Final) for w in e.words]
        for found in (events, expected)
    ]
    assert texts[0] == texts[1] != []
    assert all(0 <= e.seconds <= e.known_seconds <= 3.3 for e in events)
    assert all(w.start_seconds < w.end_seconds <= 3.3 for e in events for w in e.words)


def test_judging_less_than_all_changes_no_word_here():
    """What is final early is final for all readings: waiting for the pause gives the same."""
    bundle = tiny_word_bundle("lstm-reduced-2", "lstm")
    patient = TurnConfig(endpoint_seconds=99.0, final_seconds=99.0, tail_seconds=0.0)
    ears, sound = Recognizer(bundle, beam=WORDS, turns=patient), random_sound(12.0, seed=7)
    events = hear(ears, sound)
    finals = [event for event in events if isinstance(event, Final)]
    assert len(finals) > 1
    state = ears.search.initial_state()
    frames_TF = torch.from_numpy(extract(sound, bundle.features))[None]
    with torch.inference_mode():
        encoded = bundle.model.encode(frames_TF, torch.tensor([frames_TF.shape[1]]))
        projected_BTD = bundle.model.joiner.encoder_proj(encoded.encoded_BTD)
        (state,) = ears.search.step(projected_BTD, [state])
    count = sum(len(event.words) for event in finals[:-1])
    whole = words_of(ears.search.best(state), bundle.tokenizer, ears.clock)
    assert lasting_words(whole[:count]) == lasting_words(
        [word for event in finals[:-1] for word in event.words]
    )


def test_listening_leaves_samples_gradients_and_weights_alone():
    ears, sound = recognizer(), random_sound(1.0, seed=2)
    sound.flags.writeable = False
    weights = {n: t.clone() for n, t in ears.model.state_dict().items()}
    hear(ears, sound)
    assert all(torch.equal(t, weights[n]) for n, t in ears.model.state_dict().items())
    assert all(p.grad is None for p in ears.model.parameters())


def clips() -> list[np.ndarray]:
    folder = Path(str(importlib.resources.files("evenear") / "shipped" / "clips"))
    return [read_audio(path) for path in sorted(folder.glob("*.flac"))]


@pytest.mark.skipif(not shipped_models(), reason="this checkout ships no model")
@pytest.mark.parametrize("beam", [None, 1])
def test_shipped_models_obey_the_laws_on_speech(beam):
    for name in shipped_models():
        ears = Recognizer.load(name, beam=beam)
        sounds = clips()[:2]
        alone = [hear(ears, sound) for sound in sounds]
        for sound, whole in zip(sounds, alone, strict=True):
            assert any(isinstance(event, Final) for event in whole)
            assert_same(hear(ears, sound, range(2560, len(sound), 2560)), whole)
            assert_same(hear(ears, sound, [1, 2, 3, 401, 9999]), whole)
        streams = [ears.stream() for _ in sounds]
        together = [[] for _ in sounds]
        for start in range(0, max(map(len, sounds)), 4000):
            chunks = [sound[start : start + 4000] for sound in sounds]
            for own, events in zip(together, ears.advance(streams, chunks), strict=True):
                own += events
        for own, tail, whole in zip(together, ears.finish(streams), alone, strict=True):
            assert_same(own + tail, whole)
