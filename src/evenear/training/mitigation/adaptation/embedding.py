# SPDX-License-Identifier: Apache-2.0
"""Tell a recognizer which cohort speaks: two learned numbers beside each frame it hears.

    heard = (features - mean) * scale + projection(embedding[cohort])

A 2-D embedding of the cohort, appended to each frame, would add its own columns of the first
layer's matrix times the embedding to what that layer computes. Here the embedding is projected to
the width of the features and added to them, which for a first layer that is linear is the same
family of functions, and for any cohort amounts to another mean. So once learned, there is one
ordinary recognizer for each cohort, and one for speakers of whom nothing is known; they differ in
`mean_F` alone, and stream as any other.

Legend: B utterances, T frames, F feature width, C cohorts, E 2.

Source: Dheram et al. 2022, arXiv:2207.11345 (a 2-D embedding of the cohort, fed to the acoustic
model). Departs from the paper: where it enters (our reading, above); and in training the cohort is
sometimes kept secret, so that the id for unknown speakers is learned, too.
"""

import copy

import torch
from torch import Tensor, nn

from evenear.models.transducer import Transducer

__all__ = ["UNKNOWN", "CohortRecognizer"]

UNKNOWN = 0
"""The cohort id of speakers of whom nothing is known."""

_WIDTH = 2


class CohortRecognizer(nn.Module):
    """A recognizer and the embeddings of cohorts, to be trained together.

    Args:
        transducer: The recognizer; at first no cohort makes a difference.
        num_cohorts: C, the unknown one not counted: their ids are 1 to C.
        rng: Where the embeddings' beginning comes from.
    """

    def __init__(self, transducer: Transducer, num_cohorts: int, rng: torch.Generator) -> None:
        super().__init__()
        self.transducer = transducer
        start_CE = torch.randn(num_cohorts + 1, _WIDTH, generator=rng)
        self.embedding_CE = nn.Parameter(start_CE)
        self.projection_FE = nn.Parameter(torch.zeros(transducer.encoder.feature_dim, _WIDTH))

    def shifted(self, features_BTF: Tensor, cohorts_B: Tensor) -> Tensor:
        """Features whose normalization by the transducer also adds the cohort."""
        added_BF = self.embedding_CE[cohorts_B] @ self.projection_FE.T
        return features_BTF + (added_BF / self.transducer.scale_F)[:, None]

    def recognizer(self, cohort: int) -> Transducer:
        """The ordinary recognizer of one cohort."""
        model = copy.deepcopy(self.transducer)
        with torch.no_grad():
            added_F = self.projection_FE @ self.embedding_CE[cohort]
            model.mean_F.sub_(added_F / self.transducer.scale_F)
        return model.eval()
