# SPDX-License-Identifier: Apache-2.0
"""The paper's sizes to their printed digits, deviations named, and small runs of equal size."""

import math

import pytest
from torch import nn

from evenear.config import from_json, replace, to_json
from evenear.encoders.contextnet import ContextNetConfig
from evenear.encoders.convrnn import GlobalCnnConfig
from evenear.models.transducer import Transducer, TransducerConfig
from evenear.recipes import convrnnt
from evenear.training.settings import TrainingConfig

SMALL = {**convrnnt.VARIANTS, **convrnnt.REMEDIES}


def size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def second_biases(module: nn.Module) -> int:
    """Torch keeps two biases for each LSTM layer where the paper counts one."""
    layers = [layer for layer in module.modules() if isinstance(layer, nn.LSTM)]
    return sum(4 * layer.hidden_size for layer in layers)


def millions(number: int, digits: int = 2) -> float:
    return round(number / 1e6, digits)


@pytest.fixture(scope="module")
def convrnn() -> Transducer:
    return Transducer(convrnnt.paper_convrnn())


def test_table_3_is_reproduced_to_its_printed_digits(convrnn):
    """Conv 5.40, LSTM encoder 18.93, joint 1.28, LSTM decoder 2.62 M.

    18.93 is six LSTM layers with the projection that joins local and global, which is also in 5.40.
    """
    encoder, predictor = convrnn.encoder, convrnn.predictor
    conv = size(encoder.local) + size(encoder.global_cnn) + size(encoder.join)
    assert millions(conv) == 5.40
    layers = size(encoder.lstm) - second_biases(encoder.lstm)
    assert millions(layers + size(encoder.join)) == 18.93
    assert millions(size(convrnn.joiner.output)) == 1.28
    assert millions(size(predictor.lstm) - second_biases(predictor.lstm)) == 2.62


def test_what_of_table_3_cannot_be_reproduced(convrnn):
    """The paper's embedding of 0.62 M does not divide by 2,500 pieces: 256 wide, it is 0.64 M.

    Our joiner projects what it adds up: 0.53 M that the paper's does not have.
    """
    assert millions(size(convrnn.predictor.embedding)) == 0.64
    extra = size(convrnn.joiner) - size(convrnn.joiner.output)
    assert millions(extra) == 0.52
    assert extra == 2 * 512 * 512 + 512


def test_table_5_is_reproduced_to_its_printed_digits(convrnn):
    """Convolutions: local 2.9, global 2.5, both 5.4 M; "global" has the joining projection."""
    encoder = convrnn.encoder
    assert millions(size(encoder.local), 1) == 2.9
    wide = size(encoder.global_cnn) + size(encoder.join)
    assert millions(wide, 1) == 2.5
    assert millions(size(encoder.local) + wide, 1) == 5.4


def as_the_paper_counts(model: Transducer) -> int:
    """Parameters without the joiner's projections and the second biases of LSTM layers."""
    projections = size(model.joiner) - size(model.joiner.output)
    return size(model) - projections - second_biases(model)


@pytest.mark.parametrize(("name", "papers"), [("lstm-8", 30), ("convrnn", 29), ("contextnet", 28)])
def test_table_1_is_reproduced_to_its_printed_digits(name, papers):
    assert millions(as_the_paper_counts(Transducer(convrnnt.PAPER[name]())), 0) == papers


@pytest.mark.parametrize(
    ("name", "ours", "papers"), [("lstm-7", 26.7, 30), ("conformer", 26.0, 29)]
)
def test_what_of_table_1_cannot_be_reproduced(name, ours, papers):
    """The text's 7 LSTM layers do not make 30 M; 8 do.

    Our Conformer has no strided convolutions: two of 128 filters and the layer behind them are
    1.7 M, and what the rest of the 29 M is, the paper does not say.
    """
    parameters = millions(as_the_paper_counts(Transducer(convrnnt.PAPER[name]())), 1)
    assert parameters == ours
    assert papers - parameters >= 3.0


def test_contextnet_has_its_28_million_without_a_bottleneck_only():
    narrow = replace(ContextNetConfig(), se_reduction=8)
    config = replace(convrnnt.paper_contextnet(), encoder=narrow)
    assert millions(as_the_paper_counts(Transducer(config)), 0) == 22


def parameters(settings: TrainingConfig) -> int:
    """Weights at work; the CTC head serves training only."""
    transducer = settings.model.transducer(
        vocabulary_size=settings.data.vocabulary_size, blank_id=0, with_ctc=False
    )
    return size(Transducer(transducer))


def test_small_runs_are_of_equal_size():
    sizes = {name: parameters(variant()) for name, variant in SMALL.items()}
    assert math.log(max(sizes.values()) / min(sizes.values())) < math.log(1.01), sizes
    assert all(2.4e6 < size < 2.8e6 for size in sizes.values())


def test_small_runs_differ_in_nothing_but_their_encoder():
    base = convrnnt.lstm()
    for name, variant in SMALL.items():
        run = variant()
        model = replace(run.model, encoder=base.model.encoder)
        like = replace(run, name=base.name, model=model)
        assert name == "convrnn-fastemit" or like == base


def test_fastemit_differs_from_convrnn_in_nothing_but_its_loss():
    base, run = convrnnt.convrnn(), convrnnt.fast_emit()
    assert run.objective.fastemit > 0
    assert replace(run, name=base.name, objective=base.objective) == base


@pytest.mark.parametrize("name", SMALL)
def test_a_small_run_is_called_by_its_variant_and_survives_json(name):
    run = SMALL[name]()
    assert run.name == f"convrnnt-{name}"
    assert from_json(TrainingConfig, to_json(run)) == run


@pytest.mark.parametrize("name", convrnnt.PAPER)
def test_the_papers_transducers_survive_json(name):
    config = convrnnt.PAPER[name]()
    assert from_json(TransducerConfig, to_json(config)) == config


def test_ablations_leave_out_what_they_say():
    encoders = {name: variant().model.encoder for name, variant in convrnnt.VARIANTS.items()}
    both = encoders["convrnn"]
    assert encoders["convrnn-local-only"].global_cnn is None
    assert encoders["convrnn-local-only"].local == both.local
    assert encoders["convrnn-global-only"].local is None
    assert encoders["convrnn-global-only"].global_cnn == both.global_cnn
    assert encoders["convrnn-no-se"].global_cnn == replace(both.global_cnn, squeeze_excite="off")


def test_every_encoder_listens_to_the_features_that_are_stored():
    for variant in SMALL.values():
        run = variant()
        assert run.model.encoder.feature_dim == run.data.store.features.dim
        assert "test" in run.data.excluded_splits


def test_the_longer_past_is_the_papers():
    """Nine taps, dilated by 1 to 8, hear 120 frames back; three, dilated by 1 to 32, hear 126."""

    def past_frames(wide: GlobalCnnConfig) -> int:
        return sum((wide.kernel - 1) * 2**i for i in range(wide.num_blocks))

    assert past_frames(GlobalCnnConfig()) == 126
    assert past_frames(convrnnt.long_past().model.encoder.global_cnn) == 120
    assert past_frames(convrnnt.convrnn().model.encoder.global_cnn) == 30
