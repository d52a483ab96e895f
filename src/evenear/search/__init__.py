# SPDX-License-Identifier: Apache-2.0
"""Search: from encoder frames to tokens."""

from evenear.search.greedy import GreedySearch, GreedyState, greedy_search
from evenear.search.hypotheses import Hypothesis, Search

__all__ = ["GreedySearch", "GreedyState", "Hypothesis", "Search", "greedy_search"]
