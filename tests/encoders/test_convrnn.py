# SPDX-License-Identifier: Apache-2.0
"""The ConvRNN-T encoder; the laws it shares with every encoder are in test_base."""

import pytest
import torch

from evenear.config import replace
from evenear.encoders.convrnn import (
    ConvRnnConfig,
    ConvRnnEncoder,
    GlobalCnnConfig,
    LocalCnnConfig,
)
from evenear.errors import ConfigError
from evenear.nn.recurrent import LstmStackConfig
from laws import (
    ENCODERS,
    LAW_TOLERANCE,
    encode_in_chunks,
    law_chunking_changes_nothing,
    law_the_future_is_invisible,
    random_features,
    tiny_transducer,
)


def num_parameters(**settings) -> int:
    lstm = LstmStackConfig(num_layers=1, hidden_dim=1, dim=1)
    encoder = ConvRnnEncoder(ConvRnnConfig(lstm=lstm, **settings))
    return sum(p.numel() for n, p in encoder.named_parameters() if not n.startswith("lstm"))


def test_the_papers_sizes_have_the_papers_parameters():
    """Local 2.9 M, global 2.5 M, together 5.40 M (tables 3 and 5)."""
    join_one, join_both = 192 * 192 + 192, 2 * 192 * 192 + 192
    local, wide = num_parameters(global_cnn=None) - join_one, num_parameters(local=None) - join_one
    assert local == 2_874_716
    assert wide + join_both == 2_520_768
    assert num_parameters() == 5_395_484


def test_the_separable_reading_is_smaller():
    assert num_parameters(global_cnn=GlobalCnnConfig(separable=True)) < num_parameters() - 500_000


@torch.no_grad()
def test_the_gate_hears_the_distant_past_and_without_it_the_past_ends():
    """Change one early frame: the running mean carries it on, the convolutions forget it."""
    features_BTF = random_features(60)
    other_BTF = features_BTF.clone()
    other_BTF[:, 0] += 5.0

    def influence_at_the_end(squeeze_excite: str) -> float:
        config = ENCODERS["convrnn-global-only"]
        wide = replace(config.global_cnn, squeeze_excite=squeeze_excite)
        torch.manual_seed(0)
        encoder = ConvRnnEncoder(replace(config, global_cnn=wide, reduction=1)).eval()
        joined = []
        encoder.join.register_forward_hook(lambda _m, _i, output: joined.append(output))
        for frames_BTF in (features_BTF, other_BTF):
            encoder(frames_BTF, torch.tensor([60]))
        return float((joined[0][:, -1] - joined[1][:, -1]).abs().max())

    with torch.random.fork_rng():
        assert influence_at_the_end("running-mean") > 1e-5
        assert influence_at_the_end("off") == 0.0


def test_an_empty_utterance_has_no_frames():
    encoder = tiny_transducer("convrnn-reduced-2").encoder
    encoded = encoder(random_features(0), torch.tensor([0]))
    assert encoded.encoded_BTD.shape == (1, 0, encoder.dim)
    assert encoded.lengths_B.tolist() == [0]


def test_padding_does_not_shift_the_statistics_of_training():
    """Running statistics after a padded batch are those of the real frames alone."""
    config = replace(ENCODERS["convrnn-global-only"], reduction=1)
    features_BTF = random_features(12, batch_size=1)
    padded_BTF = torch.cat([features_BTF, random_features(30, seed=5) * 9.0], dim=1)
    norms = []
    for frames_BTF, length in ((features_BTF, 12), (padded_BTF, 12)):
        with torch.random.fork_rng():
            torch.manual_seed(3)
            encoder = ConvRnnEncoder(config).train()
            encoder(frames_BTF, torch.tensor([length]))
        norms.append({n: b for n, b in encoder.named_buffers() if "global_cnn.0.norm_wide" in n})
    for name, buffer in norms[0].items():
        torch.testing.assert_close(buffer, norms[1][name])


def with_the_gate_of_whole_utterances() -> ConvRnnEncoder:
    """The weights of a lawful encoder, and the mean that the trap takes."""
    lawful = tiny_transducer("convrnn").encoder
    wide = replace(ENCODERS["convrnn"].global_cnn, squeeze_excite="whole-utterance")
    encoder = ConvRnnEncoder(replace(ENCODERS["convrnn"], global_cnn=wide)).eval()
    encoder.load_state_dict(lawful.state_dict())
    return encoder


@torch.no_grad()
def test_a_gate_of_whole_utterances_breaks_the_laws():
    """The trap: training hears the future, so a stream is not what was trained."""
    encoder = with_the_gate_of_whole_utterances()
    features_BTF = random_features(40)
    with pytest.raises(AssertionError):
        law_chunking_changes_nothing(encoder, features_BTF, [20, 20])
    other_BTF = features_BTF.clone()
    other_BTF[:, 30:] += 50.0
    first, second = (
        encoder(frames_BTF, torch.tensor([40])).encoded_BTD[:, :30]
        for frames_BTF in (features_BTF, other_BTF)
    )
    assert (first - second).abs().max() > 10 * LAW_TOLERANCE


@torch.no_grad()
def test_a_stream_with_that_gate_still_keeps_the_running_mean():
    features_BTF = random_features(40)
    lawful = tiny_transducer("convrnn").encoder
    law_the_future_is_invisible(lawful, features_BTF, 20)
    trapped = encode_in_chunks(with_the_gate_of_whole_utterances(), features_BTF, [10, 30])
    torch.testing.assert_close(trapped, encode_in_chunks(lawful, features_BTF, [10, 30]))


@torch.no_grad()
def test_the_mean_of_whole_utterances_leaves_padding_out():
    encoder = with_the_gate_of_whole_utterances()
    features_BTF = random_features(40)
    alone = encoder(features_BTF[:, :25], torch.tensor([25])).encoded_BTD
    padded = encoder(features_BTF, torch.tensor([25])).encoded_BTD[:, :25]
    torch.testing.assert_close(padded, alone, atol=LAW_TOLERANCE, rtol=0)


def test_without_squeeze_excite_its_weights_and_its_state_are_gone():
    gated, ungated = (
        ConvRnnEncoder(
            replace(
                ENCODERS["convrnn"], global_cnn=GlobalCnnConfig(num_blocks=2, squeeze_excite=kind)
            )
        )
        for kind in ("running-mean", "off")
    )
    width = gated.feature_dim
    fewer = sum(p.numel() for p in gated.parameters())
    fewer -= sum(p.numel() for p in ungated.parameters())
    assert fewer == 2 * 2 * (width * width + width)
    assert all(block.mean == () for block in ungated.initial_state(1).front.global_cnn)


@pytest.mark.parametrize(
    ("local", "said"),
    [
        (LocalCnnConfig(channels=(4, 4), frequency_strides=(1,)), "stride for each of its 2"),
        (LocalCnnConfig(channels=(4,), frequency_strides=(1,), planes=5), "cut into 5 planes"),
    ],
)
def test_a_local_cnn_that_cannot_be_built_says_why(local, said):
    with pytest.raises(ConfigError, match=said):
        ConvRnnEncoder(ConvRnnConfig(local=local))
