# SPDX-License-Identifier: Apache-2.0
"""Losses that pull the utterances of one speaker together and those of others apart.

A batch holds M utterances of each of N speakers. With e the embeddings (unit vectors), c the
prototypes, S scores and (w, b) a learned scale and offset:

    angular prototypical   S[j, k] = w cos(e_j, c_k) + b,  c_k = mean of the other utterances of k
                           loss of e_j = -log softmax_k S[j, k] at k = j
    GE2E                   the same, but every utterance is asked, c_k keeps all utterances of k,
                           except for k = j, where it is without e_j itself
    GE2E, contrast         1 - sigmoid(S[j, j]) + max over k != j of sigmoid(S[j, k])
    AAM-softmax            a class for each training speaker: scale * cos(angle + margin) for the
                           right one, scale * cos(angle) for the others
    softmax                the same without margin, with scale and offset as a linear layer has them

Every loss comes back for each utterance, so that each can be weighted.
The scale w is kept positive where it is used. (A public implementation clamps it and drops the
result, so its scale may turn negative.)

Legend: N speakers of a batch, M utterances of each, B utterances (N times M), D width, K classes.

Source: Chung et al. 2020, arXiv:2003.11982 (angular prototypical); Wan et al. 2018,
arXiv:1710.10467 (GE2E); Deng et al. 2019, arXiv:1801.07698 (additive angular margin).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from evenear.errors import ConfigError

__all__ = [
    "AamSoftmax",
    "AngularPrototypical",
    "Ge2e",
    "SoftmaxPrototypical",
    "SpeakerSoftmax",
    "prototype_scores",
]

_LEAST_SCALE = 1e-6


def prototype_scores(embeddings_NMD: Tensor, query: int = 0) -> Tensor:
    """Cosines (N, N) of each speaker's utterance `query` with the mean of the others of each."""
    others = [m for m in range(embeddings_NMD.shape[1]) if m != query]
    prototypes_ND = functional.normalize(embeddings_NMD[:, others].mean(dim=1), dim=1)
    return functional.normalize(embeddings_NMD[:, query], dim=1) @ prototypes_ND.T


class _Scaled(nn.Module):
    """A learned scale, kept positive, and offset of cosines."""

    def __init__(self, scale: float, offset: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))
        self.offset = nn.Parameter(torch.tensor(offset))

    def scaled(self, cosines: Tensor) -> Tensor:
        return self.scale.clamp(min=_LEAST_SCALE) * cosines + self.offset


class AngularPrototypical(_Scaled):
    """Which prototype is a query's own?

    Departs from the paper: each utterance of a speaker is the query once, the others its prototype;
    there it is one of them. With two utterances that is both directions of each pair.
    """

    def __init__(self, scale: float = 10.0, offset: float = -5.0) -> None:
        super().__init__(scale, offset)

    def forward(self, embeddings_NMD: Tensor) -> Tensor:
        """The loss of each utterance, (N, M)."""
        _check_several(embeddings_NMD)
        queries = range(embeddings_NMD.shape[1])
        return torch.stack([self.of_query(embeddings_NMD, m) for m in queries], dim=1)

    def of_query(self, embeddings_NMD: Tensor, query: int) -> Tensor:
        """The loss of one utterance of each speaker, (N,)."""
        scores_NN = self.scaled(prototype_scores(embeddings_NMD, query))
        return functional.cross_entropy(scores_NN, _own(scores_NN), reduction="none")


class Ge2e(_Scaled):
    """Generalized end-to-end loss.

    Args:
        contrast: The contrast form instead of the softmax form.
        scale: Initial w.
        offset: Initial b.
    """

    def __init__(
        self, *, contrast: bool = False, scale: float = 10.0, offset: float = -5.0
    ) -> None:
        super().__init__(scale, offset)
        self.contrast = contrast

    def forward(self, embeddings_NMD: Tensor) -> Tensor:
        """The loss of each utterance, (N, M)."""
        _check_several(embeddings_NMD)
        num_speakers, num_each, _ = embeddings_NMD.shape
        sums_ND = embeddings_NMD.sum(dim=1)
        without_NMD = functional.normalize(sums_ND[:, None] - embeddings_NMD, dim=2)
        unit_NMD = functional.normalize(embeddings_NMD, dim=2)
        cosines_NMN = unit_NMD @ functional.normalize(sums_ND, dim=1).T
        own_NM = (unit_NMD * without_NMD).sum(dim=2)
        is_own_NN = torch.eye(num_speakers, dtype=torch.bool, device=sums_ND.device)
        cosines_NMN = torch.where(is_own_NN[:, None], own_NM[:, :, None], cosines_NMN)
        scores_NMN = self.scaled(cosines_NMN)
        if not self.contrast:
            own_B = _own(scores_NMN).repeat_interleave(num_each)
            losses_B = functional.cross_entropy(scores_NMN.flatten(0, 1), own_B, reduction="none")
            return losses_B.view(num_speakers, num_each)
        alike_NMN = scores_NMN.sigmoid()
        nearest_NM = alike_NMN.masked_fill(is_own_NN[:, None], -torch.inf).amax(dim=2)
        return 1.0 - self.scaled(own_NM).sigmoid() + nearest_NM


class SpeakerSoftmax(nn.Module):
    """Which of the K speakers of the training set is it? A linear layer and its cross-entropy."""

    def __init__(self, dim: int, num_speakers: int) -> None:
        super().__init__()
        self.classify = nn.Linear(dim, num_speakers)

    def forward(self, embeddings_BD: Tensor, speakers_B: Tensor) -> Tensor:
        """The loss of each utterance, (B,)."""
        return functional.cross_entropy(self.classify(embeddings_BD), speakers_B, reduction="none")


class AamSoftmax(nn.Module):
    """The same with unit weights and a margin, which the right class must win by.

    Beyond the angle at which angle + margin would pass a half turn, the cosine goes on as a line
    (as in the source's code), so that it never rises again.

    Args:
        dim: Width of embeddings.
        num_speakers: Classes.
        margin: In radians.
        scale: Of the cosines.
    """

    def __init__(
        self, dim: int, num_speakers: int, *, margin: float = 0.2, scale: float = 30.0
    ) -> None:
        super().__init__()
        if not 0.0 <= margin < math.pi / 2 or scale <= 0.0:
            raise ConfigError(
                f"A margin lies between 0 and a right angle and a scale above 0, got {margin} "
                f"and {scale}."
            )
        self.margin, self.scale = margin, scale
        self.weight_KD = nn.Parameter(torch.empty(num_speakers, dim))
        nn.init.xavier_normal_(self.weight_KD)

    def forward(self, embeddings_BD: Tensor, speakers_B: Tensor) -> Tensor:
        """The loss of each utterance, (B,)."""
        unit_BD = functional.normalize(embeddings_BD, dim=1)
        cosines_BK = unit_BD @ functional.normalize(self.weight_KD, dim=1).T
        own_B1 = cosines_BK.gather(1, speakers_B[:, None])
        sine_B1 = (1.0 - own_B1.square()).clamp_min(1e-12).sqrt()
        harder_B1 = own_B1 * math.cos(self.margin) - sine_B1 * math.sin(self.margin)
        is_far_B1 = own_B1 <= -math.cos(self.margin)
        line_B1 = own_B1 - math.sin(self.margin) * self.margin
        harder_B1 = torch.where(is_far_B1, line_B1, harder_B1)
        logits_BK = self.scale * cosines_BK.scatter(1, speakers_B[:, None], harder_B1)
        return functional.cross_entropy(logits_BK, speakers_B, reduction="none")


class SoftmaxPrototypical(nn.Module):
    """Softmax over training speakers plus angular prototypical: the sum of both losses.

    Source: Kwon et al. 2021, arXiv:2009.14153 section 2 (Heo et al. name it so).
    """

    def __init__(self, dim: int, num_speakers: int) -> None:
        super().__init__()
        self.softmax = SpeakerSoftmax(dim, num_speakers)
        self.prototypical = AngularPrototypical()

    def forward(self, embeddings_NMD: Tensor, speakers_N: Tensor) -> Tensor:
        """The loss of each utterance, (N, M)."""
        num_speakers, num_each, _ = embeddings_NMD.shape
        speakers_B = speakers_N.repeat_interleave(num_each)
        classified_B = self.softmax(embeddings_NMD.flatten(0, 1), speakers_B)
        return classified_B.view(num_speakers, num_each) + self.prototypical(embeddings_NMD)


def _own(scores: Tensor) -> Tensor:
    return torch.arange(len(scores), device=scores.device)


def _check_several(embeddings_NMD: Tensor) -> None:
    if embeddings_NMD.ndim != 3 or min(embeddings_NMD.shape[:2]) < 2:
        raise ConfigError(
            "Comparing speakers needs embeddings of shape (speakers, utterances, width) with two "
            f"or more of the first two, got {tuple(embeddings_NMD.shape)}.",
            hint="Put two or more utterances of two or more speakers into each batch.",
        )
