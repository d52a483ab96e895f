# SPDX-License-Identifier: Apache-2.0
"""Who said what, when: segments of text, and the files that hold them.

A transcript is a list of `Segment`s. It is read from and written to eight formats. SegLST is the
native one; `seglst` and `json` hold everything, the others what their definition has room for:

    format   session  channel  speaker  times  text  word times  confidence
    seglst   yes      yes      yes      yes    yes   yes         yes
    json     yes      yes      yes      yes    yes   yes         yes
    stm      yes      yes      yes      yes    yes   no          no
    ctm      yes      yes      no       yes    no    yes         of words
    rttm     yes      yes      yes      yes    no    no          of segments
    vtt      no       no       yes      yes    yes   no          no
    srt      no       no       as text  yes    yes   no          no
    text     no       no       no       no     yes   no          no

Times are rounded to milliseconds and confidences to 4 decimals. In the formats made of lines, runs
of white space in text become one space, and segments are sorted by session, then by start. A ctm
file has one segment per session and channel when it is read back: it does not say where segments
end, and the words of speakers who share a channel are interleaved.

This package needs nothing but Python.
"""

from evenear.transcripts.files import (
    FORMATS,
    format_transcript,
    parse_transcript,
    read_transcript,
    write_transcript,
)
from evenear.transcripts.segments import Segment, Word

__all__ = [
    "FORMATS",
    "Segment",
    "Word",
    "format_transcript",
    "parse_transcript",
    "read_transcript",
    "write_transcript",
]
