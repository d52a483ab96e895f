# SPDX-License-Identifier: Apache-2.0
"""Any encoder's config, told apart by its `kind`.

Models that were saved before there was a `kind` are told apart by what only their config has, as
they always were; a new kind must be said.
"""

from typing import Annotated, Any

from pydantic import Discriminator, Tag

from evenear.encoders.bandsplit import BandSplitConfig
from evenear.encoders.conformer import ConformerConfig
from evenear.encoders.contextnet import ContextNetConfig
from evenear.encoders.convrnn import ConvRnnConfig
from evenear.encoders.gated.encoder import GatedConfig
from evenear.encoders.lstm import LstmEncoderConfig
from evenear.encoders.plainlstm import PlainLstmEncoderConfig
from evenear.encoders.transformer import TransformerConfig

__all__ = ["EncoderConfig"]

_BEFORE_KINDS = (
    ("wide", "convrnn"),
    ("local", "convrnn"),
    ("ff_dim", "conformer"),
    ("channels", "contextnet"),
    ("lstm", "lstm"),
)


def _kind(value: Any) -> str | None:
    if not isinstance(value, dict):
        return getattr(value, "kind", None)
    if "kind" in value:
        return value["kind"]
    return next((kind for field, kind in _BEFORE_KINDS if field in value), "lstm")


EncoderConfig = Annotated[
    Annotated[LstmEncoderConfig, Tag("lstm")]
    | Annotated[PlainLstmEncoderConfig, Tag("plain-lstm")]
    | Annotated[ConvRnnConfig, Tag("convrnn")]
    | Annotated[ConformerConfig, Tag("conformer")]
    | Annotated[ContextNetConfig, Tag("contextnet")]
    | Annotated[TransformerConfig, Tag("transformer")]
    | Annotated[GatedConfig, Tag("gated-transformer")]
    | Annotated[BandSplitConfig, Tag("band-split")],
    Discriminator(_kind),
]
"""The config of any encoder; `build` makes the encoder."""
