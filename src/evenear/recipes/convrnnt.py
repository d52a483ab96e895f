# SPDX-License-Identifier: Apache-2.0
"""ConvRNN-T and the encoders it was compared with: at the paper's sizes, and small and matched.

`PAPER` holds transducers of 26 to 30 M parameters as the paper describes them, to count them and
what they cost. `VARIANTS` holds runs of 2.6 M parameters, equal within 1 %, that two CPU cores can
train side by side: the four encoders, three ablations of ConvRNN-T, and ConvRNN-T with FastEmit.
`REMEDIES` changes one thing in ConvRNN-T each, to see why it gains less here than in the paper.
Each run of a variant is the same but for its encoder (or FastEmit): data, word pieces, predictor,
joiner, loss, schedule, updates.

Source: Radfar et al. 2022, ConvRNN-T, arXiv:2209.14868, section 3.2 and tables 3 to 5.
Departs from the paper in the small runs: encoder frames of 60 ms, a stateless predictor, 128 word
pieces, layer normalization and residual connections around LSTM layers, separable convolutions and
strides along frequency. In the ablations, wider LSTM layers take the place of what is left out, so
that the same number of parameters can learn; the paper leaves the rest as it is.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from evenear.config import replace
from evenear.data.batching.batches import BatchConfig
from evenear.data.batching.store import StoreConfig
from evenear.encoders.configs import EncoderConfig
from evenear.encoders.conformer import ConformerConfig
from evenear.encoders.contextnet import ContextNetConfig
from evenear.encoders.convrnn import ConvRnnConfig, GlobalCnnConfig, LocalCnnConfig
from evenear.encoders.lstm import LstmEncoderConfig
from evenear.models.transducer import (
    LstmPredictorConfig,
    StatelessPredictorConfig,
    TransducerConfig,
)
from evenear.nn.recurrent import LstmStackConfig
from evenear.training.settings import DataConfig, ModelConfig, OptimizerConfig, TrainingConfig

__all__ = [
    "PAPER",
    "REMEDIES",
    "VARIANTS",
    "conformer",
    "contextnet",
    "convrnn",
    "fast_emit",
    "global_only",
    "layer_norm",
    "local_only",
    "long_past",
    "lstm",
    "paper_conformer",
    "paper_contextnet",
    "paper_convrnn",
    "paper_rnnt",
    "two_blocks",
    "without_squeeze_excite",
]

_LOCAL = LocalCnnConfig(channels=(16, 32, 32, 32), planes=3, frequency_strides=(2, 2, 2, 1))
_WIDE = GlobalCnnConfig(num_blocks=4, separable=True, se_reduction=4)


def paper_rnnt(num_layers: int) -> TransducerConfig:
    """The basic RNN-T. The paper says 7 layers and 30 M; 8 layers are what has 30 M."""
    return _paper(LstmEncoderConfig(lstm=LstmStackConfig(num_layers=num_layers)))


def paper_convrnn() -> TransducerConfig:
    """ConvRNN-T: 29 M."""
    return _paper(ConvRnnConfig())


def paper_contextnet() -> TransducerConfig:
    """Causal ContextNet: 28 M."""
    return _paper(ContextNetConfig())


def paper_conformer() -> TransducerConfig:
    """Causal Conformer: 29 M in the paper, 26 M here.

    Here frames are joined by 4 and projected, where the paper subsamples by strided convolutions.
    """
    return _paper(ConformerConfig(reduction=4))


PAPER: Mapping[str, Callable[[], TransducerConfig]] = MappingProxyType(
    {
        "lstm-7": lambda: paper_rnnt(7),
        "lstm-8": lambda: paper_rnnt(8),
        "convrnn": paper_convrnn,
        "conformer": paper_conformer,
        "contextnet": paper_contextnet,
    }
)
"""Transducers of the paper's sizes, by name."""


def lstm() -> TrainingConfig:
    """The basic RNN-T: four LSTM layers."""
    return _small("lstm", LstmEncoderConfig(lstm=_layers(4, 272), reduction=2))


def convrnn() -> TrainingConfig:
    """ConvRNN-T: local and global convolutions, three LSTM layers."""
    return _small("convrnn", _convrnn(hidden=224))


def conformer() -> TrainingConfig:
    """Causal Conformer: six blocks that attend to the last 3.8 seconds."""
    encoder = ConformerConfig(dim=128, num_layers=6, ff_dim=544, left_frames=64, reduction=2)
    return _small("conformer", encoder)


def contextnet() -> TrainingConfig:
    """Causal ContextNet: sixteen blocks, of two widths in about the paper's proportion."""
    widths = (120,) * 10 + (208,) * 6
    return _small("contextnet", ContextNetConfig(channels=widths, se_reduction=4, reduction=2))


def local_only() -> TrainingConfig:
    """ConvRNN-T without its global convolutions."""
    return _small("convrnn-local-only", replace(_convrnn(hidden=310), global_cnn=None))


def global_only() -> TrainingConfig:
    """ConvRNN-T without its local convolutions."""
    return _small("convrnn-global-only", replace(_convrnn(hidden=240), local=None))


def without_squeeze_excite() -> TrainingConfig:
    """ConvRNN-T whose global convolutions are not gated by the mean of the past."""
    ungated = replace(_WIDE, squeeze_excite="off")
    return _small("convrnn-no-se", replace(_convrnn(hidden=232), global_cnn=ungated))


def fast_emit() -> TrainingConfig:
    """ConvRNN-T whose loss favors early tokens (Yu et al. 2021, FastEmit, arXiv:2010.11148)."""
    base = convrnn()
    objective = replace(base.objective, fastemit=0.01)
    return replace(base, name="convrnnt-convrnn-fastemit", objective=objective)


def two_blocks() -> TrainingConfig:
    """Balance: two global blocks instead of four, and wider LSTM layers for what that saves."""
    return _remedy("two-blocks", hidden=268, num_blocks=2)


def long_past() -> TrainingConfig:
    """Receptive field: nine taps, which hear 3.6 s as the paper's six blocks do, instead of 0.9."""
    return _remedy("long-past", kernel=9)


def layer_norm() -> TrainingConfig:
    """Normalization: of each frame by itself, instead of over the frames of a batch."""
    return _remedy("layer-norm", normalization="layer")


VARIANTS: Mapping[str, Callable[[], TrainingConfig]] = MappingProxyType(
    {
        "lstm": lstm,
        "convrnn": convrnn,
        "conformer": conformer,
        "contextnet": contextnet,
        "convrnn-local-only": local_only,
        "convrnn-global-only": global_only,
        "convrnn-no-se": without_squeeze_excite,
        "convrnn-fastemit": fast_emit,
    }
)
"""Small runs of matched size, by name; that of a run is `convrnnt-` and this name."""

REMEDIES: Mapping[str, Callable[[], TrainingConfig]] = MappingProxyType(
    {
        "convrnn-two-blocks": two_blocks,
        "convrnn-long-past": long_past,
        "convrnn-layer-norm": layer_norm,
    }
)
"""Other ways to build ConvRNN-T, of the same size, run only when asked for."""


def _paper(encoder: EncoderConfig) -> TransducerConfig:
    """The paper's label encoder, joint network and 2,500 word pieces around an encoder."""
    return TransducerConfig(
        encoder=encoder, predictor=LstmPredictorConfig(), joiner_dim=512, vocabulary_size=2500
    )


def _layers(num_layers: int, hidden: int) -> LstmStackConfig:
    return LstmStackConfig(
        num_layers=num_layers, hidden_dim=hidden, dim=192, layer_norm=True, residual=True
    )


def _convrnn(*, hidden: int) -> ConvRnnConfig:
    return ConvRnnConfig(local=_LOCAL, global_cnn=_WIDE, lstm=_layers(3, hidden), reduction=2)


def _remedy(name: str, *, hidden: int = 224, **wide: object) -> TrainingConfig:
    """ConvRNN-T whose global convolutions are built otherwise."""
    return _small(
        f"convrnn-{name}", replace(_convrnn(hidden=hidden), global_cnn=replace(_WIDE, **wide))
    )


def _small(name: str, encoder: EncoderConfig) -> TrainingConfig:
    """The run that all variants share, with one encoder: 10 to 25 minutes of a CPU core.

    So short a run is still learning to listen. It is not varied by masks and warps, and Muon moves
    the matrices. At three times this rate ConvRNN-T forgot what it had learned by update 1,000.
    """
    return TrainingConfig(
        name=f"convrnnt-{name}",
        num_updates=3000,
        data=DataConfig(
            store=StoreConfig(copies=8, synthesized_copies=1),
            batches=BatchConfig(seconds=48.0, easy_epochs=1, augmentation=None),
            vocabulary_size=128,
        ),
        model=ModelConfig(
            encoder=encoder,
            predictor=StatelessPredictorConfig(dim=256, context_tokens=2, token_dropout=0.1),
            joiner_dim=256,
        ),
        optimizer=OptimizerConfig(
            peak_rate=1.5e-3,
            muon_ratio=2.0,
            warmup_updates=150,
            decay_from=0.4,
            max_gradient_norm=20.0,
            average_decay=0.997,
        ),
        precision="bfloat16",
    )
