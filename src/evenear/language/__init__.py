# SPDX-License-Identifier: Apache-2.0
"""Language models: which tokens, or which words, are likely to follow."""

from evenear.language.arpa import ArpaModel
from evenear.language.mixing import mixed
from evenear.language.ngrams import NgramModel, TextScore
from evenear.language.smoothing import NgramConfig
from evenear.language.words import WordModel

__all__ = ["ArpaModel", "NgramConfig", "NgramModel", "TextScore", "WordModel", "mixed"]
