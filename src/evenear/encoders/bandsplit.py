# SPDX-License-Identifier: Apache-2.0
"""A band-split encoder: one small network for every band of frequencies, and attention across them.

    features ── bands ── [ LSTM over time ── attention across bands ── feed-forward ] x layers

A voice's harmonics and formants move through the bands; what parts two voices in one band parts
them in the next. So bands share all weights but a place each, and a separator of this kind learns
from minutes of mixtures what one of wide frames learns from hours. Frames of several feature
frames (`joined`) are heard as one. A frame of it is one vector of D for each band, side by side.

Legend: B streams, T frames (of `joined` feature frames), J feature frames joined, M bins of a
feature frame, K bands, W features that a band hears, D width of a band, H hidden units, L layers, E
encoder width (K times D), N bands of all streams, F width of a frame of the input, Z query, key and
value.

Source: Luo and Yu 2022, band-split RNN, arXiv:2209.15174 (bands, recurrence over time and across
bands in turn). Departs from it: attention across bands instead of a second recurrence, one network
for all bands, causal, and bands of mel bins.
"""

from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from evenear.config import config
from evenear.encoders.base import Encoder
from evenear.errors import ConfigError
from evenear.nn.recurrent import run_layer

__all__ = ["BandMasks", "BandSplitConfig", "BandSplitEncoder", "BandSplitState"]


@config
class BandSplitConfig:
    """A band-split encoder."""

    kind: Literal["band-split"] = "band-split"
    joined: int = Field(default=8, ge=1)
    """Feature frames in one frame of its input, side by side."""
    num_bins: int = Field(default=80, ge=1)
    """Bins of a feature frame."""
    band_bins: int = Field(default=4, ge=1)
    """Bins of a band; they part the bins evenly."""
    margin_bins: int = Field(default=2, ge=0)
    """Bins of both neighbours that a band hears as well."""
    band_dim: int = Field(default=96, ge=1)
    hidden_dim: int = Field(default=96, ge=1)
    num_layers: int = Field(default=4, ge=1)
    num_heads: int = Field(default=4, ge=1)
    ff_dim: int = Field(default=256, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)

    def __post_init__(self) -> None:
        if self.num_bins % self.band_bins:
            raise ConfigError(
                f"Bands must part the bins evenly, got {self.num_bins} bins in bands of "
                f"{self.band_bins}."
            )
        if self.band_dim % self.num_heads:
            raise ConfigError(
                f"Heads must part a band's width evenly, got {self.band_dim} for {self.num_heads}."
            )

    @property
    def feature_dim(self) -> int:
        """Width of a frame of its input."""
        return self.joined * self.num_bins

    @property
    def num_bands(self) -> int:
        """K."""
        return self.num_bins // self.band_bins

    def build(self) -> "BandSplitEncoder":
        """The encoder, with fresh weights."""
        return BandSplitEncoder(self)


class BandSplitState(NamedTuple):
    """State of every band's LSTM."""

    hidden_BLKH: Tensor
    cell_BLKH: Tensor


class BandSplitEncoder(Encoder):
    """Bands over time and across one another. Causal, frame by frame."""

    def __init__(self, config: BandSplitConfig) -> None:
        super().__init__()
        self.config = config
        self.feature_dim = config.feature_dim
        self.dim = config.num_bands * config.band_dim
        width = config.joined * (config.band_bins + 2 * config.margin_bins)
        self.project_in = nn.Linear(width, config.band_dim)
        self.places_KD = nn.Parameter(0.1 * torch.randn(config.num_bands, config.band_dim))
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(config.band_dim)

    def initial_state(self, batch_size: int) -> BandSplitState:
        """Nothing heard yet."""
        config = self.config
        shape = (batch_size, config.num_layers, config.num_bands, config.hidden_dim)
        zeros_BLKH = self.places_KD.new_zeros(shape)
        return BandSplitState(zeros_BLKH, zeros_BLKH.clone())

    def step(self, features_BTF: Tensor, state: BandSplitState) -> tuple[Tensor, BandSplitState]:
        """Encode a chunk of any length."""
        if not features_BTF.shape[1] or not len(features_BTF):
            return features_BTF.new_zeros(*features_BTF.shape[:2], self.dim), state
        x_BTKD = self.project_in(self._bands(features_BTF)) + self.places_KD
        hiddens, cells = [], []
        for index, layer in enumerate(self.layers):
            own = (state.hidden_BLKH[:, index], state.cell_BLKH[:, index])
            x_BTKD, hidden_BKH, cell_BKH = layer(x_BTKD, *own)
            hiddens.append(hidden_BKH)
            cells.append(cell_BKH)
        after = BandSplitState(torch.stack(hiddens, dim=1), torch.stack(cells, dim=1))
        return self.norm(x_BTKD).flatten(2), after

    def flush(self, state: BandSplitState) -> Tensor:
        """Nothing waits."""
        return state.hidden_BLKH.new_zeros(len(state.hidden_BLKH), 0, self.dim)

    def output_lengths(self, lengths_B: Tensor) -> Tensor:
        """A frame for each."""
        return lengths_B

    def _bands(self, features_BTF: Tensor) -> Tensor:
        """What each band hears of each frame, (B, T, K, W)."""
        config, margin = self.config, self.config.margin_bins
        frames_BTJM = features_BTF.unflatten(2, (config.joined, config.num_bins))
        wide_BTJM = F.pad(frames_BTJM, (margin, margin))
        bands_BTJKW = wide_BTJM.unfold(3, config.band_bins + 2 * margin, config.band_bins)
        return bands_BTJKW.transpose(2, 3).flatten(3)


class _Layer(nn.Module):
    """Time, then bands, then each alone; each is added to what it hears."""

    def __init__(self, config: BandSplitConfig) -> None:
        super().__init__()
        dim, self._num_heads = config.band_dim, config.num_heads
        self.time_norm, self.band_norm, self.ff_norm = (nn.LayerNorm(dim) for _ in range(3))
        self.lstm = nn.LSTM(dim, config.hidden_dim, batch_first=True)
        self.time_out = nn.Linear(config.hidden_dim, dim)
        self.band_in = nn.Linear(dim, 3 * dim)
        self.band_out = nn.Linear(dim, dim)
        self.ff_in = nn.Linear(dim, config.ff_dim)
        self.ff_out = nn.Linear(config.ff_dim, dim)
        self.dropout = nn.Dropout(config.dropout)
        for last in (self.time_out, self.band_out, self.ff_out):
            nn.init.zeros_(last.bias)
            last.weight.data.mul_(0.5)  # so that a deep stack begins near its input

    def forward(
        self, x_BTKD: Tensor, hidden_BKH: Tensor, cell_BKH: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        size, num_bands = len(x_BTKD), x_BTKD.shape[2]
        time_NTD = self.time_norm(x_BTKD).transpose(1, 2).flatten(0, 1)
        state = (hidden_BKH.flatten(0, 1), cell_BKH.flatten(0, 1))
        heard_NTH, hidden_NH, cell_NH = run_layer(self.lstm, time_NTD, *state)
        heard_BKTD = self.time_out(heard_NTH).unflatten(0, (size, num_bands))
        x_BTKD = x_BTKD + self.dropout(heard_BKTD.transpose(1, 2))
        x_BTKD = x_BTKD + self.dropout(self._across(self.band_norm(x_BTKD)))
        inner_BTKF = F.silu(self.ff_in(self.ff_norm(x_BTKD)))
        x_BTKD = x_BTKD + self.dropout(self.ff_out(inner_BTKF))
        bands = (size, num_bands)
        return x_BTKD, hidden_NH.unflatten(0, bands), cell_NH.unflatten(0, bands)

    def _across(self, x_BTKD: Tensor) -> Tensor:
        """Attention of each frame's bands to one another."""
        heads_BTKZHE = self.band_in(x_BTKD).unflatten(3, (3, self._num_heads, -1))
        query, key, value = (own.transpose(2, 3) for own in heads_BTKZHE.unbind(3))
        found = F.scaled_dot_product_attention(query, key, value)
        return self.band_out(found.transpose(2, 3).flatten(3))


class BandMasks(nn.Module):
    """A number for each bin of each feature frame, from a frame's bands: the same for all of them.

    Args:
        config: The encoder's.
    """

    def __init__(self, config: BandSplitConfig) -> None:
        super().__init__()
        self.config = config
        self.each = nn.Linear(config.band_dim, config.joined * config.band_bins)

    def forward(self, frames_BTE: Tensor) -> Tensor:
        """Numbers of the joined feature frames, side by side as the encoder hears them."""
        config = self.config
        bands_BTKD = frames_BTE.unflatten(2, (config.num_bands, config.band_dim))
        numbers_BTKJW = self.each(bands_BTKD).unflatten(3, (config.joined, config.band_bins))
        return numbers_BTKJW.transpose(2, 3).flatten(2)
