# SPDX-License-Identifier: Apache-2.0
"""What a model costs to run: multiply-accumulates that are counted, not estimated.

A multiply-accumulate (MAC) is one weight or score times one number, added up. Every linear layer,
convolution (all axes: time, frequency, planes), LSTM and attention of a model is counted while the
model takes a step; a layer that multiplies by itself (attention, depthwise taps) says how often it
does (`CountsItself`); element by element work (activations, normalization, the running mean of
squeeze-and-excite) is not, nor is reading an embedding. Per frame,

    linear         inputs * outputs
    convolution    weights * output bins
    depthwise      width * taps
    LSTM           4 * hidden * (inputs + hidden)
    attention      2 * width * (left frames + 1), besides its linear layers

so attention is counted as one frame at a time needs it, with its whole past there; a chunk computed
at once may do more and mask it out.

`paper_flops` is the count that Radfar et al. (2022) compare by, beside the true one: it stands
for what they say, not for what is so.

Legend: B streams, T frames, F feature width, U tokens.

Source: Radfar et al. 2022, arXiv:2209.14868, section 3.4.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from evenear.encoders.base import Encoder
from evenear.encoders.configs import EncoderConfig
from evenear.encoders.conformer import ConformerConfig
from evenear.encoders.contextnet import ContextNetConfig
from evenear.encoders.convrnn import ConvRnnConfig, LocalCnnConfig
from evenear.encoders.lstm import LstmEncoderConfig
from evenear.errors import ConfigError
from evenear.models.transducer import Transducer
from evenear.nn.recurrent import LstmStackConfig
from evenear.nn.state import state_bytes
from evenear.units import Seconds

__all__ = [
    "CountsItself",
    "EncoderCost",
    "TransducerCost",
    "count_macs",
    "encoder_cost",
    "paper_flops",
    "transducer_cost",
]

_STEP_GROUPS = 8
"""Blocks of the step that is counted; any number gives the same cost of a frame."""


@runtime_checkable
class CountsItself(Protocol):
    """A layer that multiplies besides what the layers of torch inside it do."""

    @property
    def macs_per_frame(self) -> int:
        """Its own MACs for each frame."""
        ...

    @property
    def sees_each_frame(self) -> nn.Module:
        """The layer inside it through which each frame goes once."""
        ...


@dataclass(frozen=True)
class EncoderCost:
    """What an encoder costs, part by part."""

    parts: dict[str, float]
    """MACs for each feature frame, by the name of the encoder's part."""
    frame_seconds: Seconds
    """Seconds between two feature frames."""
    state_bytes: int
    """Memory of one stream, beside the weights."""

    @property
    def macs_per_frame(self) -> float:
        """MACs for each feature frame."""
        return sum(self.parts.values())

    @property
    def macs_per_second(self) -> float:
        """MACs for each second of sound."""
        return self.macs_per_frame / self.frame_seconds


@dataclass(frozen=True)
class TransducerCost:
    """What a recognizer costs with greedy search."""

    num_parameters: int
    """Weights at work; a head that serves training only is left out."""
    encoder: EncoderCost
    frames_per_second: float
    """Encoder frames in a second of sound."""
    macs_per_frame: float
    """MACs of the joiner for each encoder frame, before anything is scored."""
    macs_per_token: float
    """MACs of the predictor for each token that it reads."""
    macs_per_score: float
    """MACs of the joiner each time it scores the vocabulary: once a frame and once a token."""

    def macs_per_second(self, tokens_per_second: float) -> float:
        """MACs for each second of sound in which so many tokens are said."""
        scores_per_second = self.frames_per_second + tokens_per_second
        return (
            self.encoder.macs_per_second
            + self.frames_per_second * self.macs_per_frame
            + tokens_per_second * self.macs_per_token
            + scores_per_second * self.macs_per_score
        )


@torch.enable_grad()  # without it, LSTM layers read few frames past the hooks
def count_macs(module: nn.Module, run: Callable[[], Any]) -> dict[str, int]:
    """Multiply-accumulates of a module's layers while `run` is called, by the layers' names."""
    counts: dict[str, int] = {}

    def counting(name: str, count: Callable[[nn.Module, Any, Any], int]) -> Any:
        def hook(layer: nn.Module, inputs: Any, output: Any) -> None:
            counts[name] = counts.get(name, 0) + count(layer, inputs, output)

        return hook

    handles = []
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d):
            handles.append(layer.register_forward_hook(counting(name, _dense)))
        elif isinstance(layer, nn.LSTM):
            handles.append(layer.register_forward_hook(counting(name, _recurrent)))
        elif isinstance(layer, CountsItself):
            hook = counting(f"{name}.itself", _itself(layer))
            handles.append(_entrance(layer).register_forward_hook(hook))
    was_training = module.training
    module.eval()  # or normalization would learn from what is only counted
    try:
        run()
    finally:
        module.train(was_training)
        for handle in handles:
            handle.remove()
    return counts


def encoder_cost(encoder: Encoder, frame_seconds: Seconds) -> EncoderCost:
    """Count a step of an encoder whose feature frames are `frame_seconds` apart."""
    num_frames = _STEP_GROUPS * encoder.block_frames
    device = next(encoder.parameters()).device
    features_BTF = torch.zeros(1, num_frames, encoder.feature_dim, device=device)
    state = encoder.initial_state(1)
    parts: dict[str, float] = {}
    for name, macs in count_macs(encoder, lambda: encoder.step(features_BTF, state)).items():
        part = name.lstrip(".").partition(".")[0]  # the encoder itself has no name
        parts[part] = parts.get(part, 0.0) + macs / num_frames
    return EncoderCost(parts, frame_seconds, state_bytes(state))


def transducer_cost(model: Transducer, frame_seconds: Seconds) -> TransducerCost:
    """Count what a recognizer costs whose feature frames are `frame_seconds` apart."""
    joiner, predictor = model.joiner, model.predictor
    encoder = encoder_cost(model.encoder, frame_seconds)
    token_BU = torch.zeros(1, 1, dtype=torch.int64)
    state = predictor.initial_state(1)
    read = sum(count_macs(predictor, lambda: predictor.step(token_BU, state)).values())
    heads = [head for head in (model.ctc, model.phones) if head is not None]
    auxiliary = sum(p.numel() for head in heads for p in head.parameters())
    return TransducerCost(
        num_parameters=sum(p.numel() for p in model.parameters()) - auxiliary,
        encoder=encoder,
        frames_per_second=1.0 / (frame_seconds * model.encoder.stride),
        macs_per_frame=_matrices(joiner.encoder_proj),
        macs_per_token=read + _matrices(joiner.predictor_proj),
        macs_per_score=joiner.output.weight.numel(),
    )


def paper_flops(config: EncoderConfig, num_frames: int, *, with_frequency: bool = False) -> float:
    """Floating point operations of an encoder on `num_frames` feature frames, as the paper counts.

        convolution    4 * C_in * k^2 * C_out * W * H
        LSTM           8 * s * (I + d) * d    for each layer
        Conformer      2 * weights * n + 4 * n^2 * d    for each layer (as ELECTRA's code does)

    with W = s = n frames. The paper's figure fits H = 1, the default here: a convolution over 192
    frequency bins counted as if there were one. Projections and squeeze-and-excite are left out,
    as there.

    Args:
        config: The encoder.
        num_frames: Feature frames of the utterance.
        with_frequency: Count the frequency axis of 2-D convolutions after all.

    Raises:
        ConfigError: The encoder is none of the paper's.
    """
    if isinstance(config, ConformerConfig):
        return _conformer_flops(config, num_frames / config.reduction)
    if isinstance(config, ContextNetConfig):
        return _contextnet_flops(config, num_frames / config.reduction)
    if not isinstance(config, LstmEncoderConfig | ConvRnnConfig):
        raise ConfigError(
            f"The paper counts no encoder of the kind {config.kind}.",
            hint="Count it as it is: evenear.models.cost.encoder_cost.",
        )
    width = config.feature_dim
    flops = _lstm_flops(config.lstm, width * config.reduction, num_frames / config.reduction)
    if isinstance(config, ConvRnnConfig):
        if config.local is not None:
            flops += _local_flops(config.local, width, num_frames, with_frequency=with_frequency)
        if config.global_cnn is not None:
            taps = config.global_cnn.kernel
            middle = 2 * width * (taps + width if config.global_cnn.separable else taps * width)
            weights = 2 * width * width + middle + width * width
            flops += 4.0 * config.global_cnn.num_blocks * weights * num_frames
    return flops


def _matrices(module: nn.Module) -> int:
    """Weights of a module without its biases."""
    return sum(p.numel() for p in module.parameters() if p.ndim > 1)


def _entrance(layer: CountsItself) -> nn.Module:
    return layer.sees_each_frame


def _itself(layer: CountsItself) -> Callable[[nn.Module, Any, Any], int]:
    """What it multiplies besides its own layers, for the frames that go through its entrance."""
    per_frame = layer.macs_per_frame
    return lambda _layer, inputs, _output: _places(inputs[0]) * per_frame


def _places(x: Tensor) -> int:
    """Vectors in a tensor whose last axis is their width."""
    return x.shape[:-1].numel()


def _dense(layer: nn.Module, _inputs: Any, output: Tensor) -> int:
    """A number of the output is a sum over the weights of its row."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return output.numel() * weight[0].numel()


def _recurrent(layer: nn.Module, inputs: Any, _output: Any) -> int:
    """Both products of every layer of an LSTM, at every frame."""
    weights = [p for name, p in layer.named_parameters() if name.startswith("weight_")]
    return _places(inputs[0]) * sum(p.numel() for p in weights)


def _lstm_flops(config: LstmStackConfig, input_dim: int, num_frames: float) -> float:
    hidden = config.hidden_dim
    widths = [input_dim] + [config.dim] * (config.num_layers - 1)
    return sum(8.0 * num_frames * (width + hidden) * hidden for width in widths)


def _local_flops(
    config: LocalCnnConfig, feature_dim: int, num_frames: int, *, with_frequency: bool
) -> float:
    planes, bins, flops = config.planes, feature_dim // config.planes, 0.0
    for out_planes, stride in zip(config.channels, config.frequency_strides, strict=True):
        bins = (bins - 1) // stride + 1
        taps = config.kernel**2
        weights = planes * (taps + out_planes if config.separable else taps * out_planes)
        flops += 4.0 * weights * num_frames * (bins if with_frequency else 1)
        planes = out_planes
    return flops


def _conformer_flops(config: ConformerConfig, num_frames: float) -> float:
    width = config.dim
    attention, forward = 4 * width * width, 4 * width * config.ff_dim
    convolution = 2 * width * width + width * config.kernel + width * width
    weights = attention + forward + convolution
    return config.num_layers * (2.0 * weights * num_frames + 4.0 * num_frames**2 * width)


def _contextnet_flops(config: ContextNetConfig, num_frames: float) -> float:
    width, weights = config.feature_dim * config.reduction, 0
    for index, dim in enumerate(config.channels):
        is_inner = 0 < index < len(config.channels) - 1
        skipped = width * dim if is_inner else 0
        for _ in range(config.layers_per_block if is_inner else 1):
            weights += width * (config.kernel + dim)
            width = dim
        weights += skipped
    return 4.0 * weights * num_frames
