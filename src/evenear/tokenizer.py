# SPDX-License-Identifier: Apache-2.0
"""Text to token ids and back, and the one home of special ids.

Word pieces by sentencepiece. Blank, padding and turn marks are pieces of the model itself, so their
ids come from here and nobody does arithmetic on them. Text is upper case with apostrophes, as the
"basic" normalizer of `evenear.metrics.words` leaves it.

Source: Kudo and Richardson 2018, SentencePiece, arXiv:1808.06226.
"""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import sentencepiece

from evenear.errors import TokenizerError

__all__ = ["SPECIAL_PIECES", "Tokenizer"]

SPECIAL_PIECES = ("<blank>", "<sot>", "<eot>")
"""Blank, start of turn and end of turn."""
_WORD_START = "▁"


class Tokenizer:
    """A sentencepiece model with our special pieces.

    Args:
        model: The bytes of a sentencepiece model.

    Raises:
        TokenizerError: The bytes are no such model, or it lacks a special piece.
    """

    def __init__(self, model: bytes) -> None:
        self.model = model
        try:
            self._pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
        except (RuntimeError, OSError) as error:
            raise TokenizerError(
                f"Expected a sentencepiece model, got {len(model)} bytes that are none ({error})."
            ) from None
        ids = [self._pieces.piece_to_id(piece) for piece in SPECIAL_PIECES]
        missing = [
            p for p, i in zip(SPECIAL_PIECES, ids, strict=True) if i == self._pieces.unk_id()
        ]
        if missing:
            raise TokenizerError(
                f"A tokenizer must know {', '.join(SPECIAL_PIECES)}; this one lacks "
                f"{', '.join(missing)}.",
                hint="Train it with `Tokenizer.train`.",
            )
        self.blank_id, self.sot_id, self.eot_id = ids
        self.special_ids = frozenset(ids)

    @classmethod
    def train(cls, texts: Iterable[str], vocabulary_size: int) -> "Tokenizer":
        """Learn word pieces (unigram model) from normalized texts.

        Args:
            texts: Normalized texts.
            vocabulary_size: Pieces, special ones included; there will be fewer if the texts do not
                hold so many.

        Raises:
            TokenizerError: There is no text, or it has more characters than there may be pieces.
        """
        texts = [text for text in texts if text]
        needed = len({letter for text in texts for letter in text if letter != " "} | {_WORD_START})
        needed += len(SPECIAL_PIECES) + 1
        if not texts or needed > vocabulary_size:
            raise TokenizerError(
                f"These texts need at least {needed} pieces, one for each of their characters, and "
                f"the vocabulary may have {vocabulary_size}."
                if texts
                else "There is no text to learn word pieces from.",
                hint=f"--set data.vocabulary_size={needed}, or more" if texts else "",
            )
        try:
            return cls(_learned(texts, vocabulary_size, fit=False))
        except RuntimeError:  # so many pieces there are not
            pass
        try:
            return cls(_learned(texts, vocabulary_size, fit=True))
        except RuntimeError as error:
            raise TokenizerError(
                f"These texts give no vocabulary of {vocabulary_size} pieces: {error}",
                hint="Give more text, or another data.vocabulary_size.",
            ) from None

    @classmethod
    def load(cls, path: Path) -> "Tokenizer":
        """Read a model file."""
        if not path.is_file():
            raise TokenizerError(f"There is no tokenizer at {path}.")
        return cls(path.read_bytes())

    def __len__(self) -> int:
        return self._pieces.vocab_size()

    def encode(self, text: str) -> list[int]:
        """Token ids of a normalized text.

        Raises:
            TokenizerError: The text has a character that no piece covers.
        """
        ids = self._pieces.encode(text)
        if self._pieces.unk_id() in ids:
            pieces = self._pieces.encode(text, out_type=str)
            unknown = sorted(
                {p for p, i in zip(pieces, ids, strict=True) if i == self._pieces.unk_id()}
            )
            raise TokenizerError(
                f"The tokenizer has no piece for {' '.join(map(repr, unknown))} in {text!r}.",
                hint="Normalize the text (upper case, no digits) or train another tokenizer.",
            )
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids; special pieces are left out."""
        return self._pieces.decode([i for i in ids if i not in self.special_ids])

    def piece(self, token: int) -> str:
        """The piece of a token id."""
        return self._pieces.id_to_piece(token)

    def starts_word(self, token: int) -> bool:
        """Whether a word begins with this token."""
        return token not in self.special_ids and self.piece(token).startswith(_WORD_START)

    def word_spans(self, ids: Sequence[int]) -> list[tuple[str, int, int]]:
        """Words with the positions of their tokens: (word, first, one past the last).

        Special tokens belong to no word.
        """
        spans: list[tuple[str, int, int]] = []
        for position, token in enumerate(ids):
            if token in self.special_ids:
                continue
            text = self.piece(token).removeprefix(_WORD_START)
            if self.starts_word(token) or not spans:
                spans.append((text, position, position + 1))
            else:
                word, first, _ = spans[-1]
                spans[-1] = (word + text, first, position + 1)
        return [span for span in spans if span[0]]


def _learned(texts: list[str], vocabulary_size: int, *, fit: bool) -> bytes:
    """A sentencepiece model of so many pieces, or of as many as there are if it shall fit."""
    model = io.BytesIO()
    limit: dict[str, Any] = {"hard_vocab_limit": False} if fit else {}  # the model records it
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        vocab_size=vocabulary_size,
        model_type="unigram",
        character_coverage=1.0,
        user_defined_symbols=list(SPECIAL_PIECES),
        unk_id=0,
        bos_id=-1,
        eos_id=-1,
        pad_id=-1,
        add_dummy_prefix=True,
        normalization_rule_name="identity",
        num_threads=1,
        minloglevel=2,
        **limit,
    )
    return model.getvalue()
