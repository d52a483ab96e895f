# SPDX-License-Identifier: Apache-2.0
"""Is it the same voice? Embeddings, enrolled voices, thresholds from one's own users, trials."""

from evenear.verification.enrolments import Enrolled, Enrolments
from evenear.verification.listening import Embedder, Voice, VoiceStream
from evenear.verification.thresholds import GroupRates, Thresholding, calibrate_threshold
from evenear.verification.trials import (
    Design,
    Sample,
    all_trials,
    check_design,
    hard_trials,
    read_voxceleb_list,
)

__all__ = [
    "Design",
    "Embedder",
    "Enrolled",
    "Enrolments",
    "GroupRates",
    "Sample",
    "Thresholding",
    "Voice",
    "VoiceStream",
    "all_trials",
    "calibrate_threshold",
    "check_design",
    "hard_trials",
    "read_voxceleb_list",
]
