"""Tool calls put together from their fragments."""

import json
from typing import Any

from or_stream.events import Event, ToolCallDelta, ToolCallEnd, ToolCallStart
from or_stream.values import ToolCall

__all__ = ["ToolCallTracker"]


class _OpenCall:
    __slots__ = ("arguments", "extra", "id", "index", "name", "wire_index")

    def __init__(self, index: int, wire_index: int | None, call_id: str, name: str) -> None:
        self.index = index
        self.wire_index = wire_index
        self.id = call_id
        self.name = name
        self.arguments: list[str] = []
        self.extra: dict[str, Any] = {}

    def build(self) -> ToolCall:
        arguments = "".join(self.arguments)
        arguments = arguments if arguments.strip() else "{}"
        return ToolCall(id=self.id, name=self.name, arguments=arguments, complete=_is_whole_json(arguments), extra=self.extra)


class ToolCallTracker:
    """The calls of one choice: `feed` fragments, `finish` when the stream ended honestly, `calls` at any moment.

    A fragment belongs to the latest call of its wire index, unless it brings an id of its own: one recorded stream has 15 calls,
    all with index 0 (docs/wire.md). Calls end with the stream and not with a finish reason, because fragments and further finish
    reasons may follow one.
    """

    def __init__(self, choice: int) -> None:
        self._choice = choice
        self._calls: list[_OpenCall] = []
        self._latest: dict[tuple[str | None, int | None], _OpenCall] = {}  # by id and wire index, None for any

    def feed(
        self, wire_index: int | None, call_id: str | None, name: str | None, arguments: str | None, extra: dict[str, Any]
    ) -> list[Event]:
        """One fragment. None or empty means that the fragment does not say."""
        events: list[Event] = []
        call = self._find(wire_index, call_id, name)
        if call is None:
            call = _OpenCall(len(self._calls), wire_index, call_id or "", name or "")
            self._calls.append(call)
            self._latest[None, None] = self._latest[None, call.wire_index] = call
            events.append(ToolCallStart(call.index, call.id, call.name, self._choice))
        if call_id:
            call.id = call.id or call_id
            self._latest[call_id, None] = self._latest[call_id, call.wire_index] = call
        call.name = call.name or name or ""
        call.extra.update(extra)
        if arguments:
            call.arguments.append(arguments)
            events.append(ToolCallDelta(call.index, arguments, self._choice))
        return events

    def finish(self, *, was_cut: bool) -> list[Event]:
        """The stream ended: every call does. `was_cut` tells that the model hit its length limit."""
        return [
            ToolCallEnd(call.index, built, self._choice)
            for call, built in zip(self._calls, self.calls(was_cut=was_cut), strict=True)
        ]

    def calls(self, *, was_cut: bool) -> list[ToolCall]:
        """The calls so far. A last call without any arguments is not complete where the model was cut."""
        calls = [call.build() for call in self._calls]
        if calls and was_cut and not self._calls[-1].arguments:
            calls[-1].complete = False
        return calls

    def _find(self, wire_index: int | None, call_id: str | None, name: str | None) -> _OpenCall | None:
        call = self._latest.get((call_id or None, wire_index))
        if call is None and call_id:
            call = self._latest.get((None, wire_index))
            return None if call is not None and call.id else call
        if call is None or call_id or not name or not call.name:
            return call
        # Without an index and an id, a call that came whole in one fragment is followed by another, of the same name or not.
        is_another = name != call.name or (wire_index is None and len(call.arguments) == 1 and _is_whole_json(call.arguments[0]))
        return None if is_another else call


def _is_whole_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
