# SPDX-License-Identifier: Apache-2.0
"""Whether LSTM layers can be computed in bfloat16 here."""

import pytest
import torch

__all__ = ["need_bfloat16"]


def need_bfloat16() -> None:
    """Skip a test where oneDNN refuses, as it does on a processor that it is told to use less of.

    (With ONEDNN_MAX_CPU_ISA=AVX2 on a processor with AVX-512, torch asks it all the same.)
    """
    lstm = torch.nn.LSTM(4, 4, batch_first=True)
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            lstm(torch.zeros(1, 12, 4))
    except RuntimeError as error:
        pytest.skip(f"no LSTM in bfloat16 here: {error}")
