# SPDX-License-Identifier: Apache-2.0
"""From recordings to a two-channel model folder, in a few updates; and from there on."""

import pytest
import torch

from evenear.checkpoint import Bundle, save_model
from evenear.checkpoint.twotalkers import load_two_talkers
from evenear.config import replace
from evenear.data.conversations.batches import MixtureBatchConfig
from evenear.data.conversations.mixtures import MixtureConfig
from evenear.encoders.bandsplit import BandSplitConfig
from evenear.errors import ConfigError, ManifestError
from evenear.models.activity import ActivityConfig
from evenear.recipes.duo import tiny
from evenear.training.runs.preparation import Source
from evenear.training.runs.twotalkers import TwoTalkerRun, begin_with, read_recordings
from laws import FEATURES, tiny_bundle, tiny_tokenizer
from tiny_corpora import write_json_lines, write_tone
from two_talkers import tiny_two_talkers

RUN = replace(
    tiny(),
    num_updates=2,
    separator=tiny_two_talkers().settings.model.separator,  # which does not decide who speaks
    objective=replace(tiny().objective, activity_weight=0.0),
    dev_speakers=2,
    dev_mixtures=2,
    batches=MixtureBatchConfig(
        mixtures=MixtureConfig(num_turns=(1, 2)), num_mixtures=4, seconds=6.0
    ),
    evaluate_every=1,
    snapshot_every=1,
)


@pytest.fixture
def start(tmp_path):
    bundle = tiny_bundle("convrnn-reduced-2")
    save_model(
        tmp_path / "single", model=bundle.model, features=FEATURES, tokenizer=tiny_tokenizer()
    )
    return tmp_path / "single"


@pytest.fixture
def sources(tmp_path):
    rows = []
    for speaker in range(5):
        for number in range(2):
            name = f"audio/{speaker}-{number}.wav"
            write_tone(tmp_path / "corpus" / name, 0.7)
            rows.append(
                {
                    "utterance_id": f"{speaker}-{number}",
                    "speaker": f"s{speaker}",
                    "text": "the cat!",
                    "audio": name,
                    "seconds": 0.7,
                }
            )
    return [Source(write_json_lines(tmp_path / "corpus" / "utterances.jsonl", rows))]


def test_a_run_leaves_a_model_that_another_run_goes_on_with(tmp_path, start, sources):
    run = TwoTalkerRun.prepare(RUN, sources, tmp_path / "run", start_from=start)
    assert "6 recordings of 3 speakers" in run.description
    assert [step.update for step in run.train()] == [1, 2]
    bundle = load_two_talkers(run.model_folder)
    assert bundle.provenance["began_with"] == "single"
    assert bundle.settings.model.turns == "none"
    for name, tensor in tiny_bundle("convrnn-reduced-2").model.state_dict().items():
        assert torch.equal(tensor, bundle.model.transducer.state_dict()[name]), name
    with_turns = replace(RUN, turns="start-and-end", recognizer="tuned")
    settings, model, begun = begin_with(with_turns, run.model_folder)
    assert settings.model.turns == "start-and-end"
    assert begun.name == "model"
    weights = model.separator.state_dict()
    assert all(torch.equal(t, weights[n]) for n, t in bundle.model.separator.state_dict().items())


def test_another_separator_than_the_recipes_is_refused(tmp_path, start, sources):
    run = TwoTalkerRun.prepare(
        replace(RUN, num_updates=1), sources, tmp_path / "run", start_from=start
    )
    for _ in run.train():
        pass
    with pytest.raises(ConfigError, match="another separator"):
        begin_with(tiny(), run.model_folder)


def test_a_separator_of_bands_begins_with_the_features_unit_and_silence(start):
    bands = BandSplitConfig(
        joined=2,
        num_bins=FEATURES.dim,
        band_bins=6,
        band_dim=8,
        hidden_dim=8,
        num_layers=1,
        num_heads=2,
        ff_dim=8,
    )
    separator = replace(tiny().separator, mixture=bands, joined=2)
    settings, model, single = begin_with(replace(tiny(), separator=separator), start)
    assert isinstance(single, Bundle)
    assert torch.equal(model.separator.nat_F, single.model.scale_F * FEATURES.nat)
    assert model.separator.activity.silence_F.std() > 0
    assert settings.model.separator.activity.where_both == "attributed"


def test_what_is_done_where_both_speak_is_no_other_separator(tmp_path, start, sources):
    activity = ActivityConfig(where_both="attributed")
    deciding = replace(RUN, num_updates=1, separator=replace(RUN.separator, activity=activity))
    run = TwoTalkerRun.prepare(deciding, sources, tmp_path / "run", start_from=start)
    for _ in run.train():
        pass
    gated = replace(deciding.separator, activity=replace(activity, where_both="gated"))
    settings, model, _ = begin_with(replace(deciding, separator=gated), run.model_folder)
    assert settings.model.separator == model.config.separator == gated
    assert (settings.voices_of, settings.endpoint_seconds) == (None, 0.8)
    settings, _, _ = begin_with(deciding, run.model_folder)
    assert (settings.voices_of, settings.endpoint_seconds) == ("evenear-speaker", 0.4)


def test_each_source_is_a_corpus_of_its_own(sources):
    again = [*sources, *sources]
    assert {u.attributes["corpus"] for u in read_recordings(again, ())} == {"0", "1"}


def test_recordings_that_cannot_be_spelled_are_left_out(tmp_path, start):
    write_tone(tmp_path / "a.wav", 0.7)
    row = {"utterance_id": "a", "speaker": "a", "text": "ÄÖ", "audio": "a.wav", "seconds": 0.7}
    source = Source(write_json_lines(tmp_path / "utterances.jsonl", [row]))
    with pytest.raises(ManifestError, match="can spell"):
        TwoTalkerRun.prepare(RUN, [source], tmp_path / "run", start_from=start)


@pytest.mark.parametrize(("held_out", "remedy"), [(4, "--set dev_speakers=3"), (5, "dev_speakers=3")])
def test_too_few_speakers_are_refused_with_a_setting_that_helps(
    tmp_path, start, sources, held_out, remedy
):
    few = replace(RUN, dev_speakers=held_out)
    with pytest.raises(ManifestError, match="two speakers to train on") as refused:
        TwoTalkerRun.prepare(few, sources, tmp_path / "run", start_from=start)
    assert remedy in str(refused.value.hint)
    enough = replace(RUN, dev_speakers=3)
    assert TwoTalkerRun.prepare(enough, sources, tmp_path / "run", start_from=start)
