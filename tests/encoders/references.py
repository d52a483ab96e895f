# SPDX-License-Identifier: Apache-2.0
"""Each encoder once more, written out from the papers' formulas in float64 NumPy.

Nothing here calls a layer of ours: a reference takes one utterance, the config and the weights by
their names, and says what must come out. It is slow and does not stream.

Legend: T frames, F feature width, D width, E width of a head, C planes, K taps, S frames that are
attended to, O and I outputs and inputs of a convolution.

Source: Radfar et al. 2022, arXiv:2209.14868, sections 2 and 3.2 (LSTM, ConvRNN-T); Gulati et al.
2020, arXiv:2005.08100 (Conformer); Han et al. 2020, arXiv:2005.03191 (ContextNet); Su et al. 2021,
arXiv:2104.09864 (rotary positions); Radford et al. 2022, arXiv:2212.04356 (Transformer).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["conformer", "contextnet", "convrnn", "lstm", "transformer"]

Weights = Mapping[str, np.ndarray]
_PROJECTIONS = ("query", "key", "value")


def lstm(config: Any, weights: Weights, x_TF: np.ndarray) -> np.ndarray:
    """Frames joined, then the projected LSTM layers."""
    return _lstm_layers(config.lstm, _under(weights, "lstm"), _joined(x_TF, config.reduction))


def convrnn(config: Any, weights: Weights, x_TF: np.ndarray) -> np.ndarray:
    """ReLU after each 2-D convolution; u = N(ReLU(PW1 x)), z = PW2 N(ReLU(DW u)), x + z gate."""
    if config.local is not None:
        w = _under(weights, "local")
        x_TCF = x_TF.reshape(len(x_TF), config.local.planes, -1)
        for index, stride in enumerate(config.local.frequency_strides):
            layer = _under(w, f"convs.{index}")
            x_TCF = _conv2d(x_TCF, layer["conv.weight"], layer["conv.bias"], stride)
            if config.local.separable:
                mixed = np.einsum("oc,tcf->tof", layer["mix.weight"][:, :, 0, 0], x_TCF)
                x_TCF = mixed + layer["mix.bias"][:, None]
            x_TCF = np.maximum(x_TCF, 0)
        x_TF = _linear(x_TCF.reshape(len(x_TF), -1), w, "project")
    y_TF = x_TF
    for index in range(config.global_cnn.num_blocks if config.global_cnn else 0):
        w = _under(weights, f"global_cnn.{index}")
        u_TD = _normalized(np.maximum(_linear(y_TF, w, "widen"), 0), w, "norm_wide")
        v_TD = _conv1d(u_TD, _under(w, "dilated"), 2**index, separable=config.global_cnn.separable)
        z_TD = _linear(_normalized(np.maximum(v_TD, 0), w, "norm"), w, "mix")
        if config.global_cnn.squeeze_excite != "off":
            z_TD = z_TD * _gate(z_TD, w)
        y_TF = y_TF + z_TD
    both = config.local is not None and config.global_cnn is not None
    joined_TF = _linear(np.concatenate([x_TF, y_TF], axis=1) if both else y_TF, weights, "join")
    layers = _under(weights, "lstm")
    return _lstm_layers(config.lstm, layers, _joined(joined_TF, config.reduction))


def conformer(config: Any, weights: Weights, x_TF: np.ndarray) -> np.ndarray:
    """x + FF/2, + attention, + convolution, + FF/2, and a layer normalization over it all."""
    x_TD = _linear(_joined(x_TF, config.reduction), weights, "project")
    x_TD = _normalized(x_TD, weights, "norm")
    for index in range(config.num_layers):
        w = _under(weights, f"blocks.{index}")
        x_TD = x_TD + 0.5 * _feed_forward(x_TD, _under(w, "before"))
        attended_TD = _attention(_normalized(x_TD, w, "norm"), _under(w, "attention"), config)
        x_TD = x_TD + attended_TD
        c = _under(w, "convolution")
        first_TD, second_TD = np.split(_linear(_normalized(x_TD, c, "norm"), c, "gate"), 2, axis=1)
        gated_TD = first_TD * _sigmoid(second_TD)
        y_TD = _depthwise(gated_TD, c["depthwise.conv.weight"], c["depthwise.conv.bias"], 1)
        x_TD = x_TD + _linear(_swish(_normalized(y_TD, c, "norm_after")), c, "mix")
        x_TD = x_TD + 0.5 * _feed_forward(x_TD, _under(w, "after"))
        x_TD = _normalized(x_TD, w, "norm_after")
    return x_TD


def contextnet(config: Any, weights: Weights, x_TF: np.ndarray) -> np.ndarray:
    """Swish(BN(conv)) some times, the gate, then Swish(y + BN(P x)) but in the outer blocks."""
    x_TD, last = _joined(x_TF, config.reduction), len(config.channels) - 1
    for index in range(len(config.channels)):
        w, inner, y_TD = _under(weights, f"blocks.{index}"), 0 < index < last, x_TD
        for layer in range(config.layers_per_block if inner else 1):
            y_TD = _conv1d(y_TD, _under(w, f"convs.{layer}"), 1, separable=True)
            y_TD = _swish(_normalized(y_TD, w, f"norms.{layer}"))
        if config.squeeze_excite != "off":
            y_TD = y_TD * _gate(y_TD, w)
        if inner:
            y_TD = _swish(y_TD + _normalized(_linear(x_TD, w, "skip"), w, "skip_norm"))
        x_TD = y_TD
    return x_TD


def transformer(config: Any, weights: Weights, x_TF: np.ndarray) -> np.ndarray:
    """Two convolutions, positions, and layers that see their block and some frames before it."""
    halving = 2 if config.convolved else 1
    missing = -len(x_TF) % (halving * config.reduction)
    x_TF = np.concatenate([x_TF, np.repeat(x_TF[-1:], missing, axis=0)])
    x_TD = _convolved(config, weights, x_TF) if config.convolved else x_TF
    block = config.block_frames // halving
    starts = [t // block * block for t in range(len(x_TD))]
    heard = [slice(max(0, s - config.left_frames), s + block) for s in starts]
    for index in range(config.num_layers):
        w = _under(weights, f"layers.{index}")
        normed_TD = _normalized(x_TD, w, "attention_norm")
        query, key, value = (_linear(normed_TD, w, f"attention.{n}") for n in _PROJECTIONS)
        attended_TD = _attended(query, key, value, heard, config.num_heads)
        x_TD = x_TD + _linear(attended_TD, w, "attention.out")
        wide_TD = _gelu(_linear(_normalized(x_TD, w, "ff_norm"), w, "widen"))
        x_TD = x_TD + _linear(wide_TD, w, "narrow")
    return _joined(_normalized(x_TD, weights, "norm"), config.reduction)


def _convolved(config: Any, weights: Weights, x_TF: np.ndarray) -> np.ndarray:
    """The convolutions and positions of the Transformer."""
    block, first, w, b = config.block_frames, [], weights["conv1.weight"], weights["conv1.bias"]
    for t in range(len(x_TF)):  # what lies behind its block's end is that end once more
        last = min(len(x_TF), (t // block + 1) * block) - 1
        three = (x_TF[t - 1] if t else 0 * x_TF[0], x_TF[t], x_TF[min(t + 1, last)])
        first.append(_gelu(b + sum(w[:, :, k] @ x_F for k, x_F in enumerate(three))))
    heard, w, b = [0 * first[0], *first], weights["conv2.weight"], weights["conv2.bias"]
    x_TD = [b + sum(w[:, :, k] @ heard[t + k] for k in range(3)) for t in range(0, len(first), 2)]
    x_TD, half = _gelu(np.array(x_TD)), config.dim // 2
    rates = 10_000.0 ** (-np.arange(half) / (half - 1))
    angles = (np.arange(len(x_TD)) % config.position_cycle)[:, None] * rates
    return x_TD + np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


def _lstm_layers(config: Any, weights: Weights, x_TD: np.ndarray) -> np.ndarray:
    for index in range(config.num_layers):
        w = _under(weights, f"lstms.{index}")
        hidden_D = cell_D = np.zeros(config.hidden_dim)
        rows = []
        for x_D in x_TD:
            gates = w["weight_ih_l0"] @ x_D + w["weight_hh_l0"] @ hidden_D
            gates = gates + w["bias_ih_l0"] + w["bias_hh_l0"]
            into_D, keep_D, new_D, out_D = np.split(gates, 4)
            cell_D = _sigmoid(keep_D) * cell_D + _sigmoid(into_D) * np.tanh(new_D)
            hidden_D = _sigmoid(out_D) * np.tanh(cell_D)
            rows.append(hidden_D)
        y_TD = _swish(_linear(np.array(rows), weights, f"projections.{index}"))
        if config.layer_norm:
            y_TD = _normalized(y_TD, weights, f"norms.{index}")
        x_TD = y_TD + x_TD if config.residual and y_TD.shape == x_TD.shape else y_TD
    return x_TD


def _feed_forward(x_TD: np.ndarray, w: Weights) -> np.ndarray:
    return _linear(_swish(_linear(_normalized(x_TD, w, "norm"), w, "widen")), w, "narrow")


def _attention(x_TD: np.ndarray, w: Weights, config: Any) -> np.ndarray:
    """Rotary attention to this frame and the `left_frames` before it."""
    query_TD, key_TD, value_TD = np.split(_linear(x_TD, w, "project_in"), 3, axis=1)
    heads = np.split(np.arange(config.dim), config.num_heads)
    query_TD = np.concatenate([_rotated(query_TD[:, own]) for own in heads], axis=1)
    key_TD = np.concatenate([_rotated(key_TD[:, own]) for own in heads], axis=1)
    heard = [slice(max(0, t - config.left_frames), t + 1) for t in range(len(x_TD))]
    attended_TD = _attended(query_TD, key_TD, value_TD, heard, config.num_heads)
    return _linear(attended_TD, w, "project_out")


def _attended(
    query_TD: np.ndarray,
    key_TD: np.ndarray,
    value_TD: np.ndarray,
    heard: Sequence[slice],
    num_heads: int,
) -> np.ndarray:
    """Softmax over what a frame hears; head by head, query by query."""
    attended_TD = np.zeros_like(query_TD)
    for own in np.split(np.arange(query_TD.shape[1]), num_heads):
        for t, places in enumerate(heard):
            scores_S = key_TD[places][:, own] @ query_TD[t, own] / np.sqrt(len(own))
            weights_S = np.exp(scores_S - scores_S.max())
            attended_TD[t, own] = weights_S / weights_S.sum() @ value_TD[places][:, own]
    return attended_TD


def _rotated(x_TE: np.ndarray) -> np.ndarray:
    """Dimensions e and e + E/2 as one complex number, turned by t / 10000 ** (2 e / E)."""
    half = x_TE.shape[1] // 2
    turns = np.arange(len(x_TE))[:, None] * 10_000.0 ** (-np.arange(half) / half)
    turned = (x_TE[:, :half] + 1j * x_TE[:, half:]) * np.exp(1j * turns)
    return np.concatenate([turned.real, turned.imag], axis=1)


def _gate(z_TD: np.ndarray, w: Weights) -> np.ndarray:
    """sigmoid(W1 relu(W2 m_t)), where m_t is the mean of z up to t."""
    mean_TD = np.array([z_TD[: t + 1].mean(axis=0) for t in range(len(z_TD))])
    squeezed_TD = np.maximum(_linear(mean_TD, w, "gate.squeeze"), 0)
    return _sigmoid(_linear(squeezed_TD, w, "gate.excite"))


def _conv1d(x_TD: np.ndarray, w: Weights, dilation: int, *, separable: bool) -> np.ndarray:
    """y_t = b + sum over k of W_k x at t - (K - 1 - k) dilation; nothing was before the start."""
    weight_OIK, bias = w["conv.weight"], w["conv.bias"]
    if separable:
        return _linear(_depthwise(x_TD, weight_OIK, bias, dilation), w, "mix")
    y_TD = np.tile(bias, (len(x_TD), 1))
    for t, k in np.ndindex(len(x_TD), weight_OIK.shape[2]):
        source = t - (weight_OIK.shape[2] - 1 - k) * dilation
        if source >= 0:
            y_TD[t] += weight_OIK[:, :, k] @ x_TD[source]
    return y_TD


def _depthwise(x_TD: np.ndarray, w_D1K: np.ndarray, b_D: np.ndarray, dilation: int) -> np.ndarray:
    y_TD = np.tile(b_D, (len(x_TD), 1))
    for t, k in np.ndindex(len(x_TD), w_D1K.shape[2]):
        source = t - (w_D1K.shape[2] - 1 - k) * dilation
        if source >= 0:
            y_TD[t] += w_D1K[:, 0, k] * x_TD[source]
    return y_TD


def _conv2d(x_TCF: np.ndarray, w: np.ndarray, b: np.ndarray, stride: int) -> np.ndarray:
    """Causal in time, centered in frequency; as many groups as the weights' shape asks for."""
    out_planes, planes_each, kernel, _ = w.shape
    pad = (kernel - 1) // 2
    x_TCF = np.pad(x_TCF, ((kernel - 1, 0), (0, 0), (pad, pad)))
    num_frames, bins = len(x_TCF) - kernel + 1, (x_TCF.shape[2] - kernel) // stride + 1
    y_TCF = np.zeros((num_frames, out_planes, bins))
    for t, o, f in np.ndindex(y_TCF.shape):
        first = o * planes_each if x_TCF.shape[1] != planes_each else 0
        patch = x_TCF[t : t + kernel, first : first + planes_each, f * stride : f * stride + kernel]
        y_TCF[t, o, f] = b[o] + (patch.transpose(1, 0, 2) * w[o]).sum()
    return y_TCF


def _joined(x_TF: np.ndarray, factor: int) -> np.ndarray:
    """Every `factor` frames side by side; the last group is filled with zeros."""
    return np.pad(x_TF, ((0, -len(x_TF) % factor), (0, 0))).reshape(-1, factor * x_TF.shape[1])


def _normalized(x_TD: np.ndarray, w: Weights, name: str) -> np.ndarray:
    """Batch normalization where the weights hold a mean, layer normalization elsewhere."""
    w = _under(w, name)
    if "mean_D" in w:
        mean, variance = w["mean_D"], w["variance_D"]
    else:
        mean, variance = x_TD.mean(axis=1, keepdims=True), x_TD.var(axis=1, keepdims=True)
    return (x_TD - mean) / np.sqrt(variance + 1e-5) * w["weight"] + w["bias"]


def _linear(x_TD: np.ndarray, w: Weights, name: str) -> np.ndarray:
    return x_TD @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0.0)


def _under(weights: Weights, name: str) -> dict[str, np.ndarray]:
    """The weights of a part, by their names in it."""
    return {n.removeprefix(name + "."): w for n, w in weights.items() if n.startswith(name + ".")}


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _gelu(x: np.ndarray) -> np.ndarray:
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def _swish(x: np.ndarray) -> np.ndarray:
    return x * _sigmoid(x)
