# SPDX-License-Identifier: Apache-2.0
"""What the paper printed, to stand beside what is measured here.

The paper trained models of 28 to 30 M parameters on 960 hours (and on 50,000 hours in house); the
small models here see a fraction of that. Its absolute numbers are no aim for them; its differences
are what a reproduction can agree or disagree with.

Source: Radfar et al. 2022, ConvRNN-T, arXiv:2209.14868, tables 1, 2 and 5, figure 4.
"""

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["ABLATION_REDUCTION", "IN_HOUSE_REDUCTION", "LABELS", "PARAMETERS", "WER"]

LABELS: Mapping[str, str] = MappingProxyType(
    {
        "lstm": "RNN-T",
        "convrnn": "ConvRNN-T",
        "conformer": "Conformer",
        "contextnet": "ContextNet",
        "convrnn-local-only": "ConvRNN-T, local only",
        "convrnn-global-only": "ConvRNN-T, global only",
        "convrnn-no-se": "ConvRNN-T, no squeeze-excite",
        "convrnn-fastemit": "ConvRNN-T with FastEmit",
        "convrnn-two-blocks": "ConvRNN-T, two global blocks",
        "convrnn-long-past": "ConvRNN-T, longer past",
        "convrnn-layer-norm": "ConvRNN-T, layer normalization",
    }
)
"""What each variant is called, in the order of the tables."""

WER: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "lstm": {"clean": 0.059, "other": 0.1571},
        "convrnn": {"clean": 0.0511, "other": 0.1382},
        "conformer": {"clean": 0.057, "other": 0.1424},
        "contextnet": {"clean": 0.0602, "other": 0.1442},
    }
)
"""Word error rates on LibriSpeech test-clean and test-other, greedy (table 1)."""

PARAMETERS: Mapping[str, float] = MappingProxyType(
    {"lstm": 30e6, "convrnn": 29e6, "conformer": 29e6, "contextnet": 28e6}
)
"""Parameters (table 1)."""

IN_HOUSE_REDUCTION: Mapping[str, float] = MappingProxyType(
    {"convrnn": 0.101, "conformer": 0.083, "contextnet": -0.071}
)
"""Relative reduction of WER against RNN-T on the in-house test set; more is better (table 2)."""

ABLATION_REDUCTION: Mapping[str, float] = MappingProxyType(
    {"convrnn-global-only": -0.4021, "convrnn": 0.0901}
)
"""Relative reduction of WER against local only on the in-house test set (table 5)."""
