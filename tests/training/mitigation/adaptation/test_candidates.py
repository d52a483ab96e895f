# SPDX-License-Identifier: Apache-2.0
"""Each method trains what it says it trains; EWC at its two ends; a killed candidate goes on."""

import pytest
import torch

from evenear.checkpoint import load_model, shipped_models
from evenear.data.batching.store import StoreConfig, build_store
from evenear.losses.ewc import Fisher
from evenear.models.transducer import Transducer
from evenear.training.mitigation.adaptation.candidates import (
    Material,
    Repaired,
    estimate_fisher,
    train_candidate,
)
from evenear.training.mitigation.plan import METHODS
from training.mitigation.tone_speakers import plan, utterances, write_model


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("material")
    bundle = write_model(folder / "model")
    spoken = utterances(folder / "tones")
    store = build_store(
        spoken, folder / "frames", StoreConfig(features=bundle.features, augment=False)
    )
    members = {u.speaker: u.attributes["age"] < 18 for u in spoken}
    return bundle, store, members


def material(place, method: str = "ewc", fisher: Fisher | None = None, **changes) -> Material:
    bundle, store, members = place
    return Material(bundle, store, members, plan(method, **changes), fisher)


@pytest.fixture(scope="module")
def fisher(place) -> Fisher:
    return estimate_fisher(material(place))


def weights(made: Repaired) -> dict[str, torch.Tensor]:
    return made.model.state_dict()


def distance(one: Transducer, other: Transducer) -> float:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return sum(float((a - b).detach().square().sum()) for a, b in pairs) ** 0.5


def test_fisher_information_is_of_all_weights_and_some_utterances(place, fisher):
    assert fisher.num_utterances == 5
    assert set(fisher.values) == {name for name, _ in place[0].model.named_parameters()}
    assert fisher.mean > 0
    by_part = fisher.report()["mean_by_part"]
    assert {"encoder", "predictor", "joiner"} <= set(by_part)
    assert all(mean > 0 for mean in by_part.values()), "what the loss does not see is not protected"


@pytest.mark.parametrize("method", METHODS)
def test_every_method_makes_a_model_and_reads_it_again(place, fisher, method, tmp_path):
    setting = METHODS[method].settings[0]
    made = train_candidate(material(place, method, fisher), setting, tmp_path / "one")
    moved = distance(made.model, place[0].model)
    assert 0.0 < moved < 1e3
    again = train_candidate(material(place, method, fisher), setting, tmp_path / "one")
    assert all(torch.equal(t, weights(again)[name]) for name, t in weights(made).items())
    assert (again.cohort is not None) == method.endswith("embedding")


def test_the_model_at_hand_is_never_moved(place, fisher, tmp_path):
    before = {name: t.clone() for name, t in place[0].model.state_dict().items()}
    train_candidate(material(place, "fine-tune"), 1.0, tmp_path / "one")
    assert all(torch.equal(t, before[name]) for name, t in place[0].model.state_dict().items())


def test_without_any_layer_the_heads_alone_move(place, tmp_path):
    made = train_candidate(material(place, "fine-tune", layers=0), 1.0, tmp_path / "one")
    before = place[0].model.state_dict()
    moved = {name for name, t in weights(made).items() if not torch.equal(t, before[name])}
    assert {name.split(".")[0] for name in moved} >= {"predictor", "joiner"}
    assert not any(name.startswith("encoder.") for name in moved)


def test_a_dial_is_kept_where_it_is_given(tmp_path):
    if "evenear-en" not in shipped_models():
        pytest.skip("not shipped")
    bundle = load_model("evenear-en")
    Repaired(bundle.model).save(tmp_path, bundle, dial=bundle.dial)
    assert load_model(tmp_path / "model").with_gates().dial is not None


def test_ewc_of_strength_0_is_fine_tuning_bit_for_bit(place, fisher, tmp_path):
    elastic = train_candidate(material(place, "ewc", fisher), 0.0, tmp_path / "ewc")
    plain = train_candidate(material(place, "fine-tune"), 1.0, tmp_path / "plain")
    assert all(torch.equal(t, weights(plain)[name]) for name, t in weights(elastic).items())


def test_ewc_of_equal_fisher_information_is_l2_sp(place, tmp_path):
    ones = Fisher.ones(place[0].model)
    elastic = train_candidate(material(place, "ewc", ones), 5.0, tmp_path / "ewc")
    plain = train_candidate(material(place, "l2sp"), 5.0, tmp_path / "l2sp")
    assert all(torch.equal(t, weights(plain)[name]) for name, t in weights(elastic).items())


def test_the_stronger_the_nearer_to_the_model_before(place, tmp_path):
    moved = [
        distance(
            train_candidate(
                material(place, "l2sp", updates=30), strength, tmp_path / f"{strength:g}"
            ).model,
            place[0].model,
        )
        for strength in (0.0, 1e7)
    ]
    assert moved[1] < moved[0] / 3


@pytest.mark.parametrize("part", ["encoder", "predictor"])
def test_a_frozen_part_stays(place, part, tmp_path):
    made = train_candidate(material(place, f"freeze-{part}"), 1.0, tmp_path / "one").model
    own, before = made.get_submodule(part), place[0].model.get_submodule(part)
    for name, tensor in own.state_dict().items():
        assert torch.equal(tensor, before.state_dict()[name])
    assert distance(made, place[0].model) > 0.0


def test_an_average_lies_between_before_and_after(place, tmp_path):
    half = train_candidate(material(place, "average"), 0.5, tmp_path / "a" / "half").model
    tuned = train_candidate(material(place, "fine-tune"), 1.0, tmp_path / "tuned").model
    whole = distance(tuned, place[0].model)
    assert distance(half, place[0].model) == pytest.approx(whole / 2, rel=1e-3)


def test_a_killed_candidate_goes_on_as_if_it_had_not_been(place, fisher, tmp_path):
    def kill(step) -> None:
        if step.update == 3:
            raise KeyboardInterrupt

    for method, setting in (("ewc", 10.0), ("group-dro", 0.1)):
        whole = train_candidate(
            material(place, method, fisher), setting, tmp_path / method / "whole"
        )
        folder = tmp_path / method / "killed"
        with pytest.raises(KeyboardInterrupt):
            train_candidate(material(place, method, fisher), setting, folder, report=kill)
        assert not (folder / "model").exists()
        resumed = train_candidate(material(place, method, fisher), setting, folder)
        assert all(torch.equal(t, weights(resumed)[name]) for name, t in weights(whole).items())
