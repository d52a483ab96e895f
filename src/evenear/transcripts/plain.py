# SPDX-License-Identifier: Apache-2.0
"""Plain text: one line per segment, nothing else."""

from collections.abc import Sequence

from evenear.transcripts.segments import Segment, in_order, one_line

__all__ = ["format_text", "parse_text"]


def format_text(segments: Sequence[Segment]) -> str:
    """The texts, one per line, by session and start. Segments without text have no line."""
    lines = (one_line(segment.text) for segment in in_order(segments))
    return "".join(f"{line}\n" for line in lines if line)


def parse_text(text: str, session_id: str) -> list[Segment]:
    """One segment per line that is not blank, with no speaker and no times (0 s to 0 s)."""
    return [
        Segment(session_id=session_id, speaker="", start_seconds=0.0, end_seconds=0.0, text=line)
        for line in map(one_line, text.split("\n"))
        if line
    ]
