# SPDX-License-Identifier: Apache-2.0
from evenear.reproduction.reweighting.page import render

CHANGE = {"value": -0.05, "low": -0.2, "high": 0.1, "detectable": 0.21}
RESULTS = {
    "train_speakers": 9,
    "test_speakers": 4,
    "seeds": 2,
    "draws_of_speakers": 10,
    "variants": {
        "constant": {
            "label": "constant weight 2",
            "eer": {"all": 0.1},
            "interval": {"all": [0.08, 0.125]},
            "overall_against_control": None,
        }
    },
    "claims": [
        {"title": "PW is lower", "paper": -0.077, "found": CHANGE, "judgement": "cannot tell"}
    ],
    "planted": {
        "pl": {
            "label": "ARW-PL",
            "eer": {"all": 0.1, "channel: bad": 0.2},
            "hidden_group": CHANGE,
            "rank_of_hidden_group": [1, 2],
            "training_loss": {"hidden group": 0.85, "others": 0.75},
        }
    },
}
RESULTS["planted_narrow"] = RESULTS["planted_colored"] = RESULTS["planted"]
RESULTS["weighing"] = {
    "constant": {
        "effective_share": [0.9, 0.8],
        "largest_share": [0.02, 0.015],
        "correlation_with_loss": [0.1, -0.2],
        "collapsed": 0,
    }
}


def test_rates_claims_and_ranks_are_rows_of_tables():
    page = render(RESULTS)
    assert "| constant weight 2 | 0.90, 0.80 | 2.0, 1.5 | +0.10, -0.20 |" in page
    assert "| constant weight 2 | 10.00 [8.00, 12.50] |  |" in page
    assert "| PW is lower | -7.7 % | -5.0 % [-20.0, +10.0] | cannot tell | 21.0 % |" in page
    assert "| ARW-PL | 10.00 | 20.00 | -5.0 % [-20.0, +10.0] | 1, 2 | 0.85, 0.75 |" in page
