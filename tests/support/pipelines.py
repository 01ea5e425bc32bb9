"""Bytes for the pure core and what it makes of them. The one module of this folder that imports the package under test."""

import json
from collections.abc import Iterable
from dataclasses import replace
from itertools import groupby
from typing import Any, Literal, NamedTuple

from or_stream.errors import OrStreamError
from or_stream.events import Event, ImageDelta, ImageDiscard, ImageEnd, ImageStart, StreamEnd
from or_stream.protocol import Pipeline
from or_stream.values import Message
from support.feeding import chunkings

__all__ = ["DONE", "Outcome", "choice", "chunk", "data_line", "outcome_of", "said", "same_outcome"]

DONE = b"data: [DONE]\n\n"

Cuts = Literal["few", "every"]


def data_line(document: Any) -> bytes:
    """One event of this JSON, or of these bytes."""
    return b"data: %b\n\n" % (document if isinstance(document, bytes) else json.dumps(document, ensure_ascii=False).encode())


def choice(delta: Any = None, finish_reason: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"index": 0, "delta": {} if delta is None else delta, "finish_reason": finish_reason, **fields}


def chunk(delta: Any = None, finish_reason: str | None = None, **fields: Any) -> bytes:
    """One event of one choice."""
    return data_line({"id": "gen-1", "choices": [choice(delta, finish_reason, **fields)]})


class Outcome(NamedTuple):
    """All that an answer made a pipeline say. Neighbouring deltas of one image are joined: their cuts mean nothing."""

    events: list[Event]
    failure: OrStreamError | None
    message: Message

    @property
    def told(self) -> tuple[Any, ...]:
        """What must not depend on how the bytes were cut. Of an image that broke off, how far it had come may."""
        unfinished = {event.index for event in self.events if isinstance(event, ImageStart)} - {
            event.index for event in self.events if isinstance(event, ImageEnd | ImageDiscard)
        }
        events = [
            event for event in self.events if not (isinstance(event, ImageStart | ImageDelta) and event.index in unfinished)
        ]
        return events, type(self.failure), str(self.failure), self.message


def outcome_of(pieces: Iterable[bytes], **options: Any) -> Outcome:
    """Feed the pieces to a pipeline of these options and finish."""
    pipeline = Pipeline(**options)
    events: list[Event] = []
    for piece in pieces:
        events += pipeline.feed(piece)
    events += pipeline.finish()
    ends = [isinstance(event, StreamEnd) for event in events]
    assert ends.count(True) == (pipeline.failure is None), "an answer ends in exactly one way"
    assert not any(ends[:-1]), "StreamEnd comes last"
    return Outcome(joined(events), pipeline.failure, pipeline.message("complete" if pipeline.failure is None else "failed"))


def joined(events: list[Event]) -> list[Event]:
    result: list[Event] = []
    for is_delta, group in groupby(events, lambda event: isinstance(event, ImageDelta)):
        if is_delta:
            deltas = [event for event in group if isinstance(event, ImageDelta)]
            assert all(event.data for event in deltas), "an image delta is never empty"
            assert len({event.index for event in deltas}) == 1, "one image at a time"
            result.append(replace(deltas[0], data=b"".join(event.data for event in deltas)))
        else:
            result += group
    return result


def same_outcome(data: bytes, cuts: Cuts = "every", **options: Any) -> Outcome:
    """The outcome of these bytes, which must not depend on how they are cut."""
    whole = outcome_of([data], **options)
    told = whole.told
    for name, pieces in chunkings(data):
        if cuts == "every" or not name.startswith("cut"):
            assert outcome_of(pieces, **options).told == told, name
    return whole


def said(outcome: Outcome) -> list[str]:
    """The kinds of the events in their order, `stream_start` and `stream_end` left out."""
    return [event.type for event in outcome.events if event.type not in ("stream_start", "stream_end")]
