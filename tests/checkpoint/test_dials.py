# SPDX-License-Identifier: Apache-2.0
"""A dial beside a model: it follows the encoder, and lets the heads be.

Legend: B utterances, T feature frames, F feature width.
"""

import json

import pytest
import torch

from evenear.checkpoint import Dial, load_model, put_dial, save_model
from evenear.config import replace
from evenear.encoders.gated import GateConfig, GatedTransformer
from evenear.errors import CheckpointError
from evenear.models.gating import with_gates
from evenear.models.transducer import Transducer
from evenear.nn.gate import ArbitratorConfig
from evenear.seeding import torch_rng_for
from evenear.streaming import Recognizer
from gating import make_undecided
from laws import random_features, tiny_bundle

GATES = GateConfig(arbitrators=ArbitratorConfig(hidden_dim=5, bias=0.0), ff_parts=2, adapter_rank=2)


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.no_grad():
        yield


def gated_model(bundle):
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(0)
        gated = with_gates(bundle.model, GATES)
    for module in gated.modules():
        make_undecided(module, torch_rng_for(0, "dial"))
    return gated


def ungated(model):
    """The recognizer around whose encoder there are gates, without them."""
    plain = Transducer(replace(model.config, encoder=model.encoder.config.backbone))
    inside = {
        name.replace("encoder.backbone.", "encoder."): w for name, w in model.state_dict().items()
    }
    plain.load_state_dict({name: inside[name] for name in plain.state_dict()})
    return plain.eval()


@pytest.fixture
def folder(tmp_path):
    bundle = tiny_bundle("transformer")
    parts = {"features": bundle.features, "tokenizer": bundle.tokenizer}
    save_model(tmp_path / "model", model=bundle.model, **parts)
    put_dial(tmp_path / "model", Dial.of(gated_model(bundle), {"updates": 3}))
    return tmp_path / "model"


def test_a_folder_with_a_dial_is_the_same_model_and_has_gates_for_who_asks(folder):
    bundle = load_model(folder)
    assert not isinstance(bundle.model.encoder, GatedTransformer)
    assert bundle.dial is not None
    assert bundle.dial.provenance == {"updates": 3}
    gated = bundle.with_gates().model.encoder
    assert isinstance(gated, GatedTransformer)
    expected = gated_model(tiny_bundle("transformer")).encoder
    for name, weight in expected.named_parameters():
        if weight.ndim > 1 and not name.startswith("backbone."):
            weight.copy_(weight.half())  # as it is stored
    features_BTF, lengths_B = random_features(60, batch_size=2), torch.tensor([60, 33])
    for asked in (1.0, 0.5):
        asked_B = torch.full((2,), asked)
        found, other = (e.encode_asked(features_BTF, lengths_B, asked_B) for e in (gated, expected))
        torch.testing.assert_close(found.encoded.encoded_BTD, other.encoded.encoded_BTD)


def test_a_recognizer_of_such_a_folder_has_a_dial(folder):
    recognizer = Recognizer.load(folder, beam=1)
    stream = recognizer.stream(compute=0.3)
    stream.accept(torch.randn(16_000, generator=torch_rng_for(0, "sound")).numpy() * 0.1)
    stream.finish()
    assert stream.compute != 1.0


def test_a_dial_keeps_its_speech_gate_and_its_plans(tmp_path):
    bundle = tiny_bundle("gated-sparing")
    parts = {"features": bundle.features, "tokenizer": bundle.tokenizer}
    save_model(tmp_path / "model", model=ungated(bundle.model), **parts)
    put_dial(tmp_path / "model", Dial.of(bundle.model, {}))
    found = load_model(tmp_path / "model").with_gates().model.encoder.speech
    own = bundle.model.encoder.speech
    torch.testing.assert_close(found.plans_P3, own.plans_P3, atol=1e-3, rtol=0)
    features_BTF = random_features(60, batch_size=2)
    for gate in (found, own):
        assert not gate.training
    logits = [gate.step(features_BTF, gate.initial_state(2))[0] for gate in (found, own)]
    torch.testing.assert_close(*logits, atol=0.05, rtol=0.01)
    torch.testing.assert_close(found.silence_D, own.silence_D)
    torch.testing.assert_close(found.threshold, own.threshold)


def test_a_dial_goes_with_other_heads_and_with_weights_stored_again(folder, tmp_path):
    bundle = load_model(folder)
    bundle.model.joiner.output.weight.zero_()
    parts = {"features": bundle.features, "tokenizer": bundle.tokenizer}
    save_model(tmp_path / "other", model=bundle.model, dial=bundle.dial, dtype="int8", **parts)
    again = load_model(tmp_path / "other").with_gates()
    assert isinstance(again.model.encoder, GatedTransformer)


def test_a_dial_of_another_encoder_is_refused(folder, tmp_path):
    bundle = load_model(folder)
    bundle.model.encoder.layers[0].widen.weight.mul_(1.5)
    parts = {"features": bundle.features, "tokenizer": bundle.tokenizer}
    with pytest.raises(CheckpointError, match="another encoder"):
        save_model(tmp_path / "other", model=bundle.model, dial=bundle.dial, **parts)
    save_model(tmp_path / "other", model=bundle.model, **parts)
    put_dial(tmp_path / "other", bundle.dial)
    with pytest.raises(CheckpointError, match="another encoder"):
        load_model(tmp_path / "other").with_gates()
    with pytest.raises(CheckpointError, match="fits a Transformer"):
        bundle.dial.around(tiny_bundle("conformer").model)


def test_a_copy_with_a_dial_leaves_the_first_alone(folder, tmp_path):
    before = (folder / "manifest.json").read_bytes()
    put_dial(folder, Dial.of(gated_model(tiny_bundle("transformer")), {}), tmp_path / "copy")
    assert (folder / "manifest.json").read_bytes() == before
    assert load_model(tmp_path / "copy").dial.provenance == {}


@pytest.mark.parametrize("broken", ["gates", "weights", "half"])
def test_a_dial_that_cannot_be_read_is_named(folder, tmp_path, broken):
    from evenear.checkpoint.folders import read_folder, write_folder

    files = dict(read_folder(folder, ()))
    if broken == "half":
        del files["dial.json"]
    elif broken == "weights":
        files["dial.safetensors"] = b"nothing of the kind"
    else:
        settings = json.loads(files["dial.json"])
        settings["gates"]["ff_parts"] = 0
        files["dial.json"] = json.dumps(settings).encode()
    write_folder(tmp_path / "broken", files)
    with pytest.raises(CheckpointError, match="dial"):
        load_model(tmp_path / "broken")
