# SPDX-License-Identifier: Apache-2.0
"""Is it the same voice? Embeddings, enrolled voices, thresholds from one's own users, trials."""

from typing import TYPE_CHECKING

from evenear.lazily import lazily

if TYPE_CHECKING:
    from evenear.verification.agreement import Agreement, least_alike
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
    "Agreement",
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
    "least_alike",
    "read_voxceleb_list",
]

__getattr__ = lazily(
    __name__,
    {
        "Agreement": "agreement",
        "Design": "trials",
        "Embedder": "listening",
        "Enrolled": "enrolments",
        "Enrolments": "enrolments",
        "GroupRates": "thresholds",
        "Sample": "trials",
        "Thresholding": "thresholds",
        "Voice": "listening",
        "VoiceStream": "listening",
        "all_trials": "trials",
        "calibrate_threshold": "thresholds",
        "check_design": "trials",
        "hard_trials": "trials",
        "least_alike": "agreement",
        "read_voxceleb_list": "trials",
    },
)
