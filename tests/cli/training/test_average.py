# SPDX-License-Identifier: Apache-2.0
"""`evenear average`: a folder that works, or a plain refusal and no folder's content changed."""

import torch

from evenear.checkpoint import RescorerBundle, load_model, put_rescorer, save_model
from evenear.checkpoint.rescorers import digest_of
from laws import FEATURES, tiny_tokenizer, tiny_transducer, tiny_word_bundle
from tiny_rescorers import tiny_rescorer


def test_the_mean_of_two_folders_is_a_model_with_the_first_ones_card(evenear, tmp_path):
    for seed in (0, 1):
        model = tiny_transducer(seed=seed)
        save_model(
            tmp_path / f"m{seed}",
            model=model,
            features=FEATURES,
            tokenizer=tiny_tokenizer(),
            card=f"# Card {seed}",
        )
    done = evenear("average", tmp_path / "m0", tmp_path / "m1", "--out", tmp_path / "mean")
    assert (done.code, done.out) == (0, "")
    assert f"The mean of 2 models is in {tmp_path / 'mean'}" in done.err
    mean = load_model(tmp_path / "mean")
    assert mean.card == "# Card 0"
    weights = [tiny_transducer(seed=seed).state_dict() for seed in (0, 1)]
    for name, tensor in mean.model.state_dict().items():
        torch.testing.assert_close(tensor, (weights[0][name] + weights[1][name]) / 2)


def test_the_mean_keeps_the_decoder_that_judges_its_words(evenear, tmp_path):
    one = tiny_word_bundle()
    spellings = ((), *((word,) for word in range(1, len(one.words.words) + 1)))
    decoder = RescorerBundle(
        model=tiny_rescorer(frame_dim=one.model.config.joiner_dim),
        spellings=spellings,
        words_digest=digest_of(one.words),
    )
    given = {"model": one.model, "features": one.features, "tokenizer": one.tokenizer}
    for name in ("m0", "m1"):
        save_model(tmp_path / name, **given, words=one.words, word_search=one.word_search)
        put_rescorer(tmp_path / name, decoder)
    done = evenear("average", tmp_path / "m0", tmp_path / "m1", "--out", tmp_path / "mean")
    assert done.code == 0
    kept, first = load_model(tmp_path / "mean").rescorer, load_model(tmp_path / "m0").rescorer
    assert kept.spellings == first.spellings == spellings
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(kept.model.state_dict()[name], tensor)


def test_one_model_is_not_enough(evenear, model, tmp_path):
    done = evenear("average", model, "--out", tmp_path / "mean")
    assert done.code == 2
    assert "needs two models or more, got 1" in done.err
    assert not list((tmp_path / "mean").glob("*"))
