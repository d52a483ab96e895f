# SPDX-License-Identifier: Apache-2.0
"""From encoder frames to events: the search and the turns of many streams, frame by frame.

A turn may end at any frame, and where a detector of voice listens also within a block of frames
that the encoder gives together. So what the detector heard and the frames are taken in the order in
which they become known: chunks change nothing.

Legend: B streams, T frames, D joiner width.
"""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from evenear.search import Search
from evenear.streaming.events import Event
from evenear.streaming.stream import StreamState
from evenear.streaming.turns import TurnState, TurnTracker

__all__ = ["TurnReader"]


class TurnReader:
    """Follows searches and turns. It keeps nothing of any stream.

    Args:
        search: The search for tokens or words.
        tracker: Says when turns begin and end.
    """

    def __init__(self, search: Search, tracker: TurnTracker) -> None:
        self.search, self.tracker = search, tracker
        frame_seconds = tracker.moments.clock.frame_seconds
        self._remembered_frames = math.ceil(tracker.config.endpoint_seconds / frame_seconds)

    def read(
        self, projected_BTD: Tensor, states: Sequence[StreamState], tracker: TurnTracker
    ) -> tuple[list[list[Event]], list[StreamState]]:
        """Search encoder frames one by one, since a turn may end at any of them.

        What a detector of voice heard within a block of frames comes before the block.
        """
        events: list[list[Event]] = [[] for _ in states]
        states = list(states)
        for t in range(projected_BTD.shape[1] + 1):
            for b, state in enumerate(states):
                if state.silences:
                    found, states[b] = self._hear(state, tracker)
                    events[b] += found
            if t == projected_BTD.shape[1]:
                break
            searches = [state.search for state in states]
            searches = self.search.step(projected_BTD[:, t : t + 1], searches)
            for b, state in enumerate(states):
                found, search, turns = self._follow(searches[b], state.turns, tracker)
                states[b] = state._replace(search=search, turns=turns)
                events[b] += found
        return events, states

    def _hear(self, state: StreamState, tracker: TurnTracker) -> tuple[list[Event], StreamState]:
        """What a detector of voice made known before the next block of encoder frames is."""
        events: list[Event] = []
        search, turns = state.search, state.turns
        following = tracker.moments.order(search.num_frames + 1)
        count = sum(silence.seconds < following for silence in state.silences)
        for silence in state.silences[:count]:
            num_frames = search.num_frames
            best = self.search.best(search)
            found, turns, is_over = tracker.hear(turns, best, silence, num_frames)
            events += found
            if is_over:
                last = self.search.finalized(search)
                known = tracker.moments.told(silence.seconds)
                found, turns = tracker.close(turns, last, known, silence.is_over)
                events, search = events + found, self.search.restart(search)
        left = state.silences[count:]
        return events, state._replace(search=search, turns=turns, silences=left)

    def _follow(
        self, search: Any, turns: TurnState, tracker: TurnTracker
    ) -> tuple[list[Event], Any, TurnState]:
        """What a frame made known: of the turn, and of the words that can be final now."""
        num_frames = search.num_frames
        best = self.search.best(search)
        events, turns, is_over = tracker.observe(turns, best, num_frames)
        if is_over:
            last = self.search.finalized(search)
            found, turns = tracker.close(turns, last, tracker.moments.known(num_frames))
            return events + found, self.search.restart(search), turns
        if not best.tokens:
            oldest = num_frames - self._remembered_frames
            return events, self.search.without_stale(search, oldest), turns
        if not tracker.is_due(num_frames):
            return events, search, turns
        known = tracker.moments.known(num_frames)
        count = tracker.num_ready(best, self.search.num_shared(search))
        if count:
            found, turns = tracker.hand_out(turns, best, count, known)
            events, search = events + found, self.search.commit(search, best, count)
            best = self.search.best(search)
        if tracker.is_late(best, num_frames):
            judged = self.search.finalized(search, is_over=False)
            count = tracker.num_late(judged, num_frames)
            if not count:
                judged, count = best, tracker.num_late(best, num_frames)
            found, turns = tracker.hand_out(turns, judged, count, known)
            events, search = events + found, self.search.commit(search, judged, count)
        return events, search, turns
