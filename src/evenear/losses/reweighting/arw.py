# SPDX-License-Identifier: Apache-2.0
"""Adversarial reweighting: an adversary says which examples the learner must do better on.

    min over learner, max over adversary of  sum_i weight_i * loss_i
    weight_i = 1 + n f_i / sum_j f_j     ("arl": the mean is 2)     f_i = sigmoid(adversary(x_i))
    weight_i =     n f_i / sum_j f_j     ("mean-one")

The adversary sees no group labels, only what the learner made of each example, detached; being
linear, it can raise whole regions of that space but no single example. It learns from the losses,
detached; the learner from the weights, detached.

For speaker verification it sees the embedding and, by variant, which of k regions of the embedding
space (k-means, refit each epoch) the utterance lies in. How each variant's loss is written as
sum_i weight_i * loss_i, with p_ij the binary cross-entropy of sigmoid(w cos(e_i, e_j) + b) against
"same speaker", balanced so that same and different pairs count alike:

    aps           loss_i = sum over all j of p_ij; sees e_i
    aps-similar   the same; sees e_i and the mean similarity to its own speaker and to the others
    pl            loss_i = the metric loss of utterance i; sees e_i and its region (a pseudo-label)
    pw            pairs weigh weight_i + weight_j: sum_ij (weight_i + weight_j) p_ij, which is
                  2 sum_i weight_i sum_j p_ij because p is symmetric; sees e_i and its region
    pw-row        a row of the prototypical loss weighs weight_query + mean weight of the prototype
    constant      weight_i = the mean, always: the control for a learning rate that grows with it

So a pairwise loss whose pair weights are sums of sample weights *is* a loss of accumulated pairwise
losses; what remains between pw and aps is what the adversary sees. Both readings are ours, as are
all formulas of this list: the paper's are not known to us beyond the sum of sample weights and the
k-means regions (of pw), the names, and that weights go into a metric loss.

Legend: B utterances, N speakers of a batch, M utterances of each, D width of an embedding, K
regions, X what the adversary sees.

Source: M. Jin et al. 2022, arXiv:2207.07776; Lahoti et al. 2020, arXiv:2006.13114, equation 3.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from evenear.config import config
from evenear.errors import ConfigError
from evenear.losses.reweighting.regions import fit_regions, nearest_region
from evenear.losses.reweighting.weights import WeightReport, describe_weights
from evenear.seeding import torch_rng_for

__all__ = [
    "Adversary",
    "Normalization",
    "Reweighting",
    "ReweightingConfig",
    "Variant",
    "accumulated_pairwise",
    "normalized_weights",
    "row_shares",
]

Variant = Literal["constant", "aps", "aps-similar", "pl", "pw", "pw-row"]
Normalization = Literal["arl", "mean-one"]

_LEAST_MEAN = 1e-4
"""As in the source's code: the mean of f is not taken for less."""


@config
class ReweightingConfig:
    """How the adversary is built and trained."""

    variant: Variant = "pw"
    normalization: Normalization = "arl"
    hidden_dim: int = Field(default=0, ge=0)
    """0 is the linear adversary of the source; otherwise one hidden layer."""
    num_regions: int = Field(default=16, ge=1)
    rate: float = Field(default=1e-2, gt=0)
    """Learning rate of the adversary (Adagrad, as in the source)."""
    warmup_updates: int = Field(default=0, ge=0)
    """Updates with the mean weight before the adversary has a say; it does not learn either."""
    steps: int = Field(default=1, ge=1)
    """Steps of the adversary for each of the learner."""
    order: Literal["alternating", "simultaneous"] = "alternating"
    """Alternating: the learner's weights are those after the adversary's step on the same batch."""

    @property
    def mean_weight(self) -> float:
        """What weights average to, in each batch."""
        return 2.0 if self.normalization == "arl" else 1.0

    @property
    def sees_regions(self) -> bool:
        """Whether the adversary knows the region of an utterance."""
        return self.variant in ("pl", "pw", "pw-row")

    @property
    def sees_similarities(self) -> bool:
        """Whether it knows mean similarities."""
        return self.variant == "aps-similar"


class Adversary(nn.Module):
    """Scores of examples, f in (0, 1): linear, or with a hidden layer."""

    def __init__(self, in_dim: int, hidden_dim: int = 0) -> None:
        super().__init__()
        if hidden_dim:
            hidden = (nn.Linear(in_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, 1))
            self.layers = nn.Sequential(*hidden)
        else:
            self.layers = nn.Linear(in_dim, 1)

    def forward(self, seen_BX: Tensor) -> Tensor:
        """The score f of each example, (B,)."""
        return self.layers(seen_BX)[:, 0].sigmoid()


def normalized_weights(scores_B: Tensor, normalization: Normalization = "arl") -> Tensor:
    """Weights of a batch from the adversary's scores."""
    ratios_B = scores_B / scores_B.mean().clamp_min(_LEAST_MEAN)
    return 1.0 + ratios_B if normalization == "arl" else ratios_B


def accumulated_pairwise(similarity_BB: Tensor, speakers_B: Tensor) -> Tensor:
    """Each utterance's accumulated pairwise loss, (B,).

    Binary cross-entropy of every pair with another utterance, same-speaker pairs and
    different-speaker pairs of the whole batch counting alike: the mean over utterances is the mean
    of both kinds' means.

    Args:
        similarity_BB: Scaled similarities, the logits of "same speaker"; symmetric.
        speakers_B: Who speaks, as numbers.
    """
    is_same_BB = speakers_B[:, None] == speakers_B[None]
    is_other_BB = ~torch.eye(len(speakers_B), dtype=torch.bool, device=speakers_B.device)
    losses_BB = functional.binary_cross_entropy_with_logits(
        similarity_BB, is_same_BB.to(similarity_BB.dtype), reduction="none"
    )
    same_BB, different_BB = is_same_BB & is_other_BB, ~is_same_BB
    total_B = torch.zeros_like(losses_BB[0])
    for kind_BB in (same_BB, different_BB):
        share = 0.5 * len(speakers_B) / max(1, int(kind_BB.sum()))
        total_B = total_B + share * torch.where(kind_BB, losses_BB, 0.0).sum(dim=1)
    return total_B


def row_shares(losses_NM: Tensor) -> Tensor:
    """Losses such that weighting them is weighting rows by query plus mean of the prototype.

    sum over rows of (weight_query + mean of weights in the prototype) / 2 * loss of the row
        = sum_i weight_i * share_i
    """
    num_each = losses_NM.shape[1]
    others_NM = losses_NM.sum(dim=1, keepdim=True) - losses_NM
    return 0.5 * (losses_NM + others_NM / (num_each - 1))


class _Seen(NamedTuple):
    """What the adversary sees, and the losses that it wants to be large."""

    seen_BX: Tensor
    losses_B: Tensor


class Reweighting:
    """The adversary in training: weights for each batch, and its own steps.

    Args:
        settings: How.
        dim: Width D of embeddings.
        seed: Decides its first weights and the k-means.
    """

    def __init__(self, settings: ReweightingConfig, dim: int, *, seed: int = 0) -> None:
        self.settings, self.dim, self.seed = settings, dim, seed
        in_dim = dim
        in_dim += settings.num_regions if settings.sees_regions else 0
        in_dim += 2 if settings.sees_similarities else 0
        with torch.random.fork_rng(devices=[]):
            torch.random.set_rng_state(torch_rng_for(seed, "adversary").get_state())
            self.adversary = Adversary(in_dim, settings.hidden_dim)
        self.optimizer = torch.optim.Adagrad(self.adversary.parameters(), lr=settings.rate)
        self.centroids_KD: Tensor | None = None
        self.last: WeightReport | None = None
        """How the weights of the last batch were spread."""

    def fit_regions(self, embeddings_BD: Tensor, *, epoch: int) -> None:
        """Find the regions anew, from embeddings of training utterances."""
        rng = torch_rng_for(self.seed, "regions", epoch)
        self.centroids_KD = fit_regions(embeddings_BD, self.settings.num_regions, rng)

    def weigh(
        self, embeddings_BD: Tensor, losses_B: Tensor, speakers_B: Tensor, *, update: int
    ) -> Tensor:
        """Weights of a batch, detached; the adversary takes its steps on the way.

        Args:
            embeddings_BD: Embeddings.
            losses_B: The losses that will be weighted.
            speakers_B: Who speaks, as numbers: known in training anyway, of no group.
            update: Number of the update, from 1.
        """
        constant_B = torch.full_like(losses_B.detach(), self.settings.mean_weight)
        if self.settings.variant == "constant" or update <= self.settings.warmup_updates:
            self.last = describe_weights(constant_B, losses_B.detach())
            return constant_B
        given = self._given(embeddings_BD.detach(), losses_B.detach(), speakers_B)
        before_B = self._weights(given.seen_BX).detach()
        for _ in range(self.settings.steps):
            self.optimizer.zero_grad(set_to_none=True)
            gain = (self._weights(given.seen_BX) * given.losses_B).mean()
            (-gain).backward()
            self.optimizer.step()
        is_simultaneous = self.settings.order == "simultaneous"
        weights_B = before_B if is_simultaneous else self._weights(given.seen_BX).detach()
        self.last = describe_weights(weights_B, given.losses_B)
        return weights_B

    @torch.no_grad()
    def scores(self, embeddings_BD: Tensor, speakers_B: Tensor) -> Tensor:
        """The adversary's f of any embeddings, (B,): which regions it would raise."""
        given = self._given(embeddings_BD, torch.zeros(len(embeddings_BD)), speakers_B)
        return self.adversary(given.seen_BX)

    def state_dict(self) -> dict[str, Any]:
        """What goes into a snapshot."""
        return {
            "adversary": self.adversary.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "centroids": self.centroids_KD,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a snapshot was taken."""
        self.adversary.load_state_dict(state["adversary"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.centroids_KD = state["centroids"]

    def _weights(self, seen_BX: Tensor) -> Tensor:
        return normalized_weights(self.adversary(seen_BX), self.settings.normalization)

    def _given(self, embeddings_BD: Tensor, losses_B: Tensor, speakers_B: Tensor) -> _Seen:
        seen = [embeddings_BD]
        if self.settings.sees_regions:
            if self.centroids_KD is None:
                raise ConfigError(
                    "The adversary needs regions of the embedding space before its first step.",
                    hint="Call fit_regions at the start of each epoch.",
                )
            regions_B = nearest_region(embeddings_BD, self.centroids_KD)
            one_hot_BK = functional.one_hot(regions_B, self.settings.num_regions)
            seen.append(one_hot_BK.to(embeddings_BD.dtype))
        if self.settings.sees_similarities:
            seen.append(_mean_similarities(embeddings_BD, speakers_B))
        return _Seen(torch.cat(seen, dim=1), losses_B)


def _mean_similarities(embeddings_BD: Tensor, speakers_B: Tensor) -> Tensor:
    """Mean cosine of each utterance with others of its speaker, and with other speakers, (B, 2)."""
    unit_BD = functional.normalize(embeddings_BD, dim=1)
    cosines_BB = unit_BD @ unit_BD.T
    is_same_BB = speakers_B[:, None] == speakers_B[None]
    is_self_BB = torch.eye(len(speakers_B), dtype=torch.bool, device=speakers_B.device)
    means = []
    for kind_BB in (is_same_BB & ~is_self_BB, ~is_same_BB):
        count_B = kind_BB.sum(dim=1).clamp_min(1)
        means.append(torch.where(kind_BB, cosines_BB, 0.0).sum(dim=1) / count_B)
    return torch.stack(means, dim=1)
