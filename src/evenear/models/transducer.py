# SPDX-License-Identifier: Apache-2.0
"""The transducer: an encoder, a predictor that reads its own output, and a joiner.

At encoder frame t, after u tokens, the joiner scores the next token or blank:

    logits(t, u) = W tanh(A encoded_t + B predicted_u) + b

The predictor is an LSTM (the paper's) or stateless: an embedding and a small convolution over the
last tokens. Before the first token it reads blank.

Legend: B streams or utterances, T encoder frames, U tokens, N lattice cells of a batch in a row,
F feature width, D width, V vocabulary, K tokens of context.

Source: Graves 2012, arXiv:1211.3711; sizes of Radfar et al. 2022, arXiv:2209.14868, table 3
(additive joiner, width 512); stateless predictor of Ghodsi et al. 2020, arXiv:2003.07705.
"""

from abc import ABC, abstractmethod
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from evenear.config import config, to_dict
from evenear.encoders.base import Encoded, Encoder
from evenear.encoders.configs import EncoderConfig
from evenear.errors import ConfigError
from evenear.nn.packing import packed_sums
from evenear.nn.plainlstm import PlainLstm, PlainLstmConfig
from evenear.nn.recurrent import LstmStack, LstmStackConfig, LstmState
from evenear.shapes import few_sizes

__all__ = [
    "Joiner",
    "LstmPredictor",
    "LstmPredictorConfig",
    "PlainLstmPredictorConfig",
    "Predictor",
    "PredictorConfig",
    "StatelessPredictor",
    "StatelessPredictorConfig",
    "Transducer",
    "TransducerConfig",
]


@config
class LstmPredictorConfig:
    """A predictor that remembers every token."""

    kind: Literal["lstm"] = "lstm"
    embedding_dim: int = Field(default=256, ge=1)
    lstm: LstmStackConfig = LstmStackConfig(num_layers=1)
    token_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Chance that a token is hidden (read as blank) while training."""

    def build(self, vocabulary_size: int, blank_id: int) -> "LstmPredictor":
        """The predictor, with fresh weights."""
        return LstmPredictor(self, vocabulary_size, blank_id)


@config
class StatelessPredictorConfig:
    """A predictor that sees the last few tokens."""

    kind: Literal["stateless"] = "stateless"
    dim: int = Field(default=320, ge=1)
    context_tokens: int = Field(default=2, ge=1)
    token_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Chance that a token is hidden (read as blank) while training."""

    def build(self, vocabulary_size: int, blank_id: int) -> "StatelessPredictor":
        """The predictor, with fresh weights."""
        return StatelessPredictor(self, vocabulary_size, blank_id)


@config
class PlainLstmPredictorConfig:
    """A predictor of textbook LSTM layers."""

    kind: Literal["plain-lstm"] = "plain-lstm"
    embedding_dim: int = Field(default=256, ge=1)
    lstm: PlainLstmConfig = PlainLstmConfig(output_dim=640)
    token_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Chance that a token is hidden (read as blank) while training."""

    def build(self, vocabulary_size: int, blank_id: int) -> "LstmPredictor":
        """The predictor, with fresh weights."""
        return LstmPredictor(self, vocabulary_size, blank_id)


PredictorConfig = LstmPredictorConfig | StatelessPredictorConfig | PlainLstmPredictorConfig


@config
class TransducerConfig:
    """A whole transducer."""

    encoder: EncoderConfig
    predictor: PredictorConfig = Field(discriminator="kind")
    joiner_dim: int = Field(default=512, ge=1)
    joiner_tied: bool = False
    """Frames and predictions, which are then equally wide, are projected by the same matrix."""
    vocabulary_size: int = Field(ge=2)
    blank_id: int = Field(default=0, ge=0)
    ctc: bool = False
    """An auxiliary CTC head on the encoder, for training."""
    phones: int = Field(default=0, ge=0)
    """Phones that another auxiliary CTC head tells apart, for training; 0 leaves it out."""
    phone_steps: int | None = Field(default=None, ge=1)
    """Steps in which an encoder frame says phones; None: as many as it has feature frames."""

    @property
    def structure(self) -> dict[str, Any]:
        """All that decides which weights there are, and nothing that only training draws."""
        return _structure(to_dict(self))


class Predictor(nn.Module, ABC):
    """Reads tokens and predicts what may follow; its state is a value, as an encoder's is."""

    dim: int
    """Width of a prediction."""

    @abstractmethod
    def initial_state(self, batch_size: int) -> Any:
        """The state of `batch_size` streams that have read nothing."""

    @abstractmethod
    def step(self, tokens_BU: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Read tokens; return the prediction after each of them, and the state."""


class LstmPredictor(Predictor):
    """An embedding and LSTM layers."""

    def __init__(
        self,
        config: LstmPredictorConfig | PlainLstmPredictorConfig,
        vocabulary_size: int,
        blank_id: int,
    ) -> None:
        super().__init__()
        self.config, self.blank_id = config, blank_id
        self.dim = config.lstm.dim
        self.embedding = nn.Embedding(vocabulary_size, config.embedding_dim)
        if isinstance(config.lstm, PlainLstmConfig):
            self.lstm = PlainLstm(config.lstm, config.embedding_dim)
        else:
            self.lstm = LstmStack(config.lstm, config.embedding_dim)

    def initial_state(self, batch_size: int) -> LstmState:
        """No token read."""
        return self.lstm.initial_state(batch_size)

    def step(self, tokens_BU: Tensor, state: LstmState) -> tuple[Tensor, LstmState]:
        """Read tokens; return the prediction after each of them, and the state."""
        return self.lstm.step(self.embedding(tokens_BU), state)


class StatelessPredictor(Predictor):
    """An embedding and a convolution over the last K tokens. Its state is those tokens."""

    def __init__(
        self, config: StatelessPredictorConfig, vocabulary_size: int, blank_id: int
    ) -> None:
        super().__init__()
        self.config, self.blank_id = config, blank_id
        self.dim = config.dim
        self.embedding = nn.Embedding(vocabulary_size, config.dim)
        self.conv = nn.Conv1d(config.dim, config.dim, config.context_tokens, groups=config.dim)

    def initial_state(self, batch_size: int) -> Tensor:
        """Blank before the first token: int64 of shape (B, K - 1)."""
        shape = (batch_size, self.config.context_tokens - 1)
        return torch.full(shape, self.blank_id, dtype=torch.int64)

    def step(self, tokens_BU: Tensor, past_BK: Tensor) -> tuple[Tensor, Tensor]:
        """Read tokens; return the prediction after each of them, and the state."""
        joined_BK = torch.cat([past_BK.to(tokens_BU.device), tokens_BU], dim=1)
        embedded_BDK = self.embedding(joined_BK).transpose(1, 2)
        predicted_BUD = F.relu(self.conv(embedded_BDK)).transpose(1, 2)
        keep = self.config.context_tokens - 1
        return predicted_BUD, joined_BK[:, joined_BK.shape[1] - keep :]


class Joiner(nn.Module):
    """Adds an encoder frame and a prediction, and scores the vocabulary."""

    def __init__(
        self, encoder_dim: int, predictor_dim: int, dim: int, vocabulary: int, *, tied: bool = False
    ) -> None:
        super().__init__()
        self.encoder_proj = nn.Linear(encoder_dim, dim)
        if tied and encoder_dim != predictor_dim:
            raise ConfigError(
                f"A tied joiner needs frames and predictions of one width, got {encoder_dim} and "
                f"{predictor_dim}."
            )
        self.predictor_proj = (
            _SameMatrix(self.encoder_proj) if tied else nn.Linear(predictor_dim, dim, bias=False)
        )
        self.output = nn.Linear(dim, vocabulary)

    def forward(self, encoded: Tensor, predicted: Tensor) -> Tensor:
        """Logits of already projected inputs, whose shapes must broadcast (…, D) -> (…, V)."""
        return self.output(torch.tanh(encoded + predicted))


class _SameMatrix(nn.Module):
    """Multiplies by the matrix of another layer, which alone owns it."""

    def __init__(self, owner: nn.Linear) -> None:
        super().__init__()
        self._owner = (owner,)  # in a tuple, so that its weights are not saved twice

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self._owner[0].weight)


class Transducer(nn.Module):
    """Encoder, predictor and joiner. `mean_F` and `scale_F` normalize the features."""

    def __init__(self, config: TransducerConfig) -> None:
        super().__init__()
        self.config = config
        self.blank_id = config.blank_id
        self.encoder: Encoder = config.encoder.build()
        self.predictor: Predictor = config.predictor.build(config.vocabulary_size, config.blank_id)
        self.joiner = Joiner(
            self.encoder.dim,
            self.predictor.dim,
            config.joiner_dim,
            config.vocabulary_size,
            tied=config.joiner_tied,
        )
        self.ctc = nn.Linear(self.encoder.dim, config.vocabulary_size) if config.ctc else None
        self.phones = None
        if config.phones:
            each = config.phones + 1
            self.phones = nn.Linear(config.joiner_dim, self.phone_steps * each)
        self.mean_F: Tensor
        self.scale_F: Tensor
        self.register_buffer("mean_F", torch.zeros(self.encoder.feature_dim))
        self.register_buffer("scale_F", torch.ones(self.encoder.feature_dim))

    @property
    def phone_steps(self) -> int:
        """Steps in which an encoder frame says phones."""
        return self.config.phone_steps or self.encoder.stride

    def normalize(self, features_BTF: Tensor) -> Tensor:
        """Features with the training set's mean and deviation taken out."""
        return (features_BTF - self.mean_F) * self.scale_F

    def step(self, features_BTF: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Encode a chunk and project it for the joiner: (B, T, joiner width)."""
        encoded_BTD, state = self.encoder.step(self.normalize(features_BTF), state)
        return self.joiner.encoder_proj(encoded_BTD), state

    def flush(self, state: Any) -> Tensor:
        """What the end of the stream completes, projected for the joiner."""
        return self.joiner.encoder_proj(self.encoder.flush(state))

    def encode(self, features_BTF: Tensor, lengths_B: Tensor) -> Encoded:
        """Encode padded utterances (not projected)."""
        return self.encoder(self.normalize(features_BTF), lengths_B)

    def predict(self, targets_BU: Tensor, hide: Tensor | None = None) -> Tensor:
        """Predictions before the first and after each token, projected: (B, U + 1, joiner width).

        `hide` marks tokens to be read as blank (token dropout).
        """
        if hide is not None:
            targets_BU = targets_BU.masked_fill(hide, self.blank_id)
        inputs_BU = F.pad(targets_BU, (1, 0), value=self.blank_id)
        predicted_BUD, _ = self.predictor.step(
            inputs_BU, self.predictor.initial_state(len(inputs_BU))
        )
        return self.joiner.predictor_proj(predicted_BUD)

    def phone_logits(self, projected_BTD: Tensor) -> Tensor:
        """Scores of blank and phones: (B, T * phone_steps, 1 + phones).

        Phones may follow one another faster than encoder frames, so a frame scores some steps.

        Args:
            projected_BTD: Encoder frames as `step` returns them.

        Raises:
            ConfigError: The model has no head for phones.
        """
        if self.phones is None:
            raise ConfigError("Scores of phones need a model that was made with a number of them.")
        logits_BTV = self.phones(projected_BTD)
        return logits_BTV.unflatten(2, (self.phone_steps, -1)).flatten(1, 2)

    def packed_logits(
        self, encoded: Encoded, predicted_BUD: Tensor, target_lengths_B: Tensor
    ) -> Tensor:
        """Joiner output at every real lattice cell: (N, V), N = sum of T_b (U_b + 1).

        Memory follows the real lengths, not the longest utterance (the layout that
        `losses.transducer.packed_transducer_loss` takes).
        """
        projected_BTD = self.joiner.encoder_proj(encoded.encoded_BTD)
        num_columns = [num_tokens + 1 for num_tokens in target_lengths_B.tolist()]
        num_frames = encoded.lengths_B.tolist()
        num_cells = sum(t * u for t, u in zip(num_frames, num_columns, strict=True))
        padding = few_sizes(num_cells, least=1024) - num_cells
        sums_ND = packed_sums(
            projected_BTD, predicted_BUD, num_frames, num_columns, padding=padding
        )
        return self.joiner.output(torch.tanh(sums_ND))[:num_cells]


_DRAWN = ("dropout", "block_frames", "right_frames", "training_blocks", "offset_chance")
"""Ends of names of settings that no weight depends on."""


def _structure(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    kept = {name: part for name, part in value.items() if not name.endswith(_DRAWN)}
    return {name: _structure(part) for name, part in kept.items()}
