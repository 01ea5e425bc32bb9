"""Tool calls, with everything recorded streams do to them."""

from typing import Any

from or_stream.emulator._script import Done, Scenario
from or_stream.emulator._wire import choice, delta, ending, finish, opening, usage_chunk, words

_NAME = "light_lamp"
_CALLED = ending(None, "tool_calls", "tool_calls")


def call(index: int | None = 0, arguments: str | None = "", **fields: Any) -> dict[str, Any]:
    """An entry of `tool_calls`. With `name` it opens a call, without it continues one."""
    function = {key: fields.pop(key) for key in ("name",) if key in fields}
    entry = {**fields, "function": {**function, "arguments": arguments}}
    return entry if index is None else {"index": index, **entry}


def _opened(index: int = 0, arguments: str = "", name: str = _NAME) -> dict[str, Any]:
    return call(index, arguments, id=f"call_{index + 1}", type="function", name=name)


def _deltas(*entries: dict[str, Any]) -> tuple[Any, ...]:
    # Content is null exactly on deltas with tool calls.
    return tuple(delta(None, tool_calls=[entry]) for entry in entries)


def tool_call() -> Scenario:
    """One call, its arguments in pieces, after some text."""
    parts = _deltas(_opened(), call(0, '{"color": '), call(0, '"red", "seconds": 3}'))
    return Scenario((*opening(), *words("I light it."), *parts, *_CALLED))


def tool_calls_parallel() -> Scenario:
    """Two calls whose fragments alternate."""
    parts = _deltas(_opened(0), _opened(1), call(0, '{"color":'), call(1, '{"color":'), call(0, '"red"}'), call(1, '"green"}'))
    return Scenario((*parts, *_CALLED))


def tool_calls_same_index(calls: int = 15) -> Scenario:
    """Many whole calls, all with index 0 and each with its own id and its own finish, then "stop" (Gemini, 2025-11)."""
    chunks = []
    for number in range(calls):
        entry = call(0, f'{{"number":{number}}}', id=f"tool_0_{_NAME}_{number}", type="function", name=_NAME)
        chunks.append(choice({"content": None, "role": "assistant", "tool_calls": [entry]}, "tool_calls", None))
    return Scenario((*opening(), *chunks, finish("stop", "STOP"), usage_chunk(None, "stop", "STOP"), Done()))


def tool_calls_in_one_delta() -> Scenario:
    """Two whole calls in one delta (Mistral)."""
    both = [_opened(0, '{"color": "red"}'), _opened(1, '{"color": "green"}')]
    return Scenario((delta(""), delta(None, tool_calls=both), *_CALLED))


def tool_call_id_null() -> Scenario:
    """Later fragments say `id: null`, `name: null`."""
    return Scenario(
        (*_deltas(_opened(), call(0, '{"color":', id=None, name=None), call(0, '"red"}', id=None, name=None)), *_CALLED)
    )


def tool_call_id_empty() -> Scenario:
    """Later fragments say `id: ""`, `type: ""`."""
    return Scenario((*_deltas(_opened(), call(0, '{"color":', id="", type=""), call(0, '"red"}', id="", type="")), *_CALLED))


def tool_call_id_repeated() -> Scenario:
    """Each fragment repeats id, type and name."""
    return Scenario((*_deltas(_opened(0, '{"color":'), _opened(0, '"red"'), _opened(0, "}")), *_CALLED))


def tool_call_arguments_null() -> Scenario:
    """Fragments with `arguments: null`, with no arguments, with `function: {}`."""
    missing = {"index": 0, "type": "function", "function": {}}
    opened = {"index": 0, "id": "call_1", "type": "function", "function": {"name": _NAME}}
    return Scenario((*_deltas(opened, call(0, None), missing, call(0, '{"color": "red"}'), call(0, None, id="")), *_CALLED))


def tool_call_parameterless() -> Scenario:
    """A tool without parameters: its arguments stay empty and are never `{}`."""
    return Scenario((*_deltas(_opened(), call(0, "")), *_CALLED))


def tool_call_index_missing() -> Scenario:
    """No index at all."""
    opened = call(None, '{"color":', id="call_1", type="function", name=_NAME)
    return Scenario((*_deltas(opened, call(None, '"red"}')), *_CALLED))


def tool_call_truncated() -> Scenario:
    """Cut by the token limit, yet finished as "tool_calls": only the native reason shows it, and that it is not JSON."""
    return Scenario((*_deltas(_opened(), call(0, '{"color": "re')), *ending(None, "tool_calls", "max_output_tokens")))


def finish_conflicting() -> Scenario:
    """The call finishes as "tool_calls", the stream then as "stop" (Gemini)."""
    entry = _opened(0, '{"color":"red"}')
    called = choice({"content": None, "role": "assistant", "tool_calls": [entry]}, "tool_calls", None)
    return Scenario((*opening(), called, finish("stop", "STOP"), usage_chunk(None, "stop", "STOP"), Done()))


def finish_three_times() -> Scenario:
    """Three finishes whose native reasons differ (Kimi)."""
    three = (finish("tool_calls", "tool_calls"), finish("tool_calls", "tool_calls"), finish("tool_calls", "stop"))
    return Scenario((*_deltas(_opened(0, '{"color":"red"}')), *three, usage_chunk(None, "tool_calls", "stop"), Done()))
