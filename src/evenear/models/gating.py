# SPDX-License-Identifier: Apache-2.0
"""Gates around the encoder of a recognizer that has none.

    model = with_gates(bundle.model, GateConfig(adapter_rank=32, ff_parts=6))

Nothing that was learned before changes, so at `compute=1` the recognizer is what it was.
"""

import torch

from evenear.config import replace
from evenear.encoders.gated import GateConfig, GatedConfig, GatedTransformer
from evenear.encoders.transformer import TransformerEncoder
from evenear.errors import ConfigError
from evenear.models.transducer import Transducer

__all__ = ["with_gates"]


def with_gates(model: Transducer, gates: GateConfig) -> Transducer:
    """A copy of a recognizer with fresh gates around its encoder, in evaluation mode.

    Raises:
        ConfigError: Its encoder is no Transformer.
    """
    if not isinstance(model.encoder, TransformerEncoder):
        raise ConfigError(
            f"Gates fit around a Transformer, got {type(model.encoder).__name__}.",
            hint="Begin with a model whose encoder is one, as evenear-en.",
        )
    encoder = GatedConfig(backbone=model.encoder.config, gates=gates)
    gated = Transducer(replace(model.config, encoder=encoder))
    weights = {}
    for name, weight in model.state_dict().items():
        inside = name.removeprefix("encoder.")
        weights[name if inside == name else f"encoder.backbone.{inside}"] = weight
    missing, unexpected = gated.load_state_dict(weights, strict=False)
    assert not unexpected, unexpected
    new = ("arbitrators.", "stand_ins.", "thrifty.", "speech.", "asked_G", "told_G")
    assert all(name.removeprefix("encoder.").startswith(new) for name in missing), missing
    assert isinstance(gated.encoder, GatedTransformer), "as its config says"
    with torch.no_grad():
        gated.encoder.begin()
    gated.encoder.set_block(model.encoder.block_frames)
    return gated.eval()
