# SPDX-License-Identifier: Apache-2.0
"""Search: from encoder frames to tokens or words, for many streams at once."""

from evenear.search.beam import BeamConfig, BeamSearch, BeamState, TokenScorer, beam_search
from evenear.search.forced import emission_frames
from evenear.search.greedy import GreedySearch, GreedyState, greedy_search
from evenear.search.hypotheses import Hypothesis, Search
from evenear.search.lexicon import LexiconConfig, LexiconSearch, LexiconState
from evenear.search.rescoring import Rescoring
from evenear.search.tree import PronunciationTree

__all__ = [
    "BeamConfig",
    "BeamSearch",
    "BeamState",
    "GreedySearch",
    "GreedyState",
    "Hypothesis",
    "LexiconConfig",
    "LexiconSearch",
    "LexiconState",
    "PronunciationTree",
    "Rescoring",
    "Search",
    "TokenScorer",
    "beam_search",
    "emission_frames",
    "greedy_search",
]
