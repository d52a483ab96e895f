# SPDX-License-Identifier: Apache-2.0
"""Target tokens of each output channel, turns marked, with the frame in which each turn ends.

    "none"            WORDS OF TURN ONE WORDS OF TURN TWO          MS-RNN-T
    "between"         WORDS OF TURN ONE <eot> WORDS OF TURN TWO    MT-RNN-T, whose <cot> it is
    "start-and-end"   <sot> WORDS <eot> <sot> WORDS <eot>          Separator-Transducer-Segmenter

Source: Sklyar et al. 2022, MT-RNN-T, arXiv:2112.10200; STS, arXiv:2205.05199.
Our reading: the paper removes the start of the first turn and the end of the last one because
nothing is heard before and after them, and does not say whether of a mixture or of a channel; the
reason holds for the mixture, so `trim_edges` means that. It is off by default: our mixtures begin
and end with silence, and live streams do, too.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from evenear.data.conversations.mixtures import PlannedTurn
from evenear.tokenizer import Tokenizer
from evenear.units import FrameClock, Frames

__all__ = ["ChannelTarget", "TurnMarks", "turn_targets"]

TurnMarks = Literal["none", "between", "start-and-end"]


class ChannelTarget(NamedTuple):
    """Tokens of one channel."""

    tokens: tuple[int, ...]
    ends: tuple[Frames, ...]
    """For each end-of-turn token the frame in which the turn's speech ends; for others -1."""


def turn_targets(
    turns: Sequence[PlannedTurn],
    tokenizer: Tokenizer,
    clock: FrameClock,
    marks: TurnMarks,
    *,
    num_channels: int = 2,
    trim_edges: bool = False,
) -> list[ChannelTarget]:
    """The target of each channel, its turns in order of their start.

    Args:
        turns: All turns of a mixture, their text normalized.
        tokenizer: Makes tokens of text.
        clock: The clock of encoder frames.
        marks: How turns are marked.
        num_channels: Channels that there are.
        trim_edges: Leave out the mark before the mixture's first turn and after its last.
    """
    ordered = sorted(turns, key=lambda turn: turn.start_sample)
    first = ordered[0] if ordered else None
    last = max(ordered, key=lambda turn: turn.end_sample) if ordered else None
    targets = []
    for channel in range(num_channels):
        own = [turn for turn in ordered if turn.channel == channel]
        tokens: list[int] = []
        ends: list[Frames] = []
        for number, turn in enumerate(own):
            start = marks == "start-and-end" and not (trim_edges and turn is first)
            end = marks == "start-and-end" and not (trim_edges and turn is last)
            end = end or (marks == "between" and number + 1 < len(own))
            words = tokenizer.encode(turn.text)
            tokens += [tokenizer.sot_id] * start + words + [tokenizer.eot_id] * end
            last_frame = clock.frame_at(turn.end_seconds)
            ends += [-1] * (start + len(words)) + [last_frame] * end
        targets.append(ChannelTarget(tuple(tokens), tuple(ends)))
    return targets
