"""Named answers: the one place where each known oddity of the wire is written down.

Every function returns a `Scenario` (those that end in `_then_text` a tuple of them, for as many requests). Use them with
`emulator.play(...)`, or by name, where `_` may be written `-`: as the model `emulator/image-with-finish`, or in the header
`x-emulator-scenario: image-with-finish`. `refused-429` and the like name the refusals, `image-api-stream` and the like the
answers of the Image API, which are in `scenarios.image_api`. Behind a name may stand how it is sent: `text?pieces=7&pace=0.1`
(bytes a write, seconds between two), `wait=2` (seconds before the status line), `end=900`, `close=900`, `reset=900` or
`stall=900` (after that byte of the body), `gzip`.
"""

from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from typing import Literal

from or_stream.emulator._script import Scenario
from or_stream.emulator.scenarios import image_api
from or_stream.emulator.scenarios._answers import (
    TEXT,
    annotations,
    audio,
    comment_before_usage,
    content_filter,
    crlf,
    emoji,
    empty_completion,
    empty_length,
    finish_length,
    finish_missing_done,
    finish_unnormalized,
    finish_with_content,
    gzip,
    json_answer,
    json_body,
    logprobs,
    logprobs_odd,
    no_space,
    null_deltas,
    reasoning_details,
    reasoning_encrypted_only,
    reasoning_interleaved,
    reasoning_late_signature,
    reasoning_plain,
    reasoning_summary_encrypted,
    refusal,
    replay,
    text,
    trailing_bytes,
    unknown_fields,
    unterminated,
    usage_2024_11,
    usage_2025,
    usage_2026_03,
    usage_missing,
    usage_with_nulls,
)
from or_stream.emulator.scenarios._failures import (
    REFUSALS,
    closed,
    closed_after_finish,
    closed_before_headers,
    connection_reset,
    empty_deltas_for_ever,
    end_at_once,
    end_inside_event,
    end_without_finish,
    error_as_json,
    error_empty,
    error_html,
    error_in_json_choice,
    error_plain_string,
    heartbeats_for_ever,
    html_at_200,
    malformed_json,
    midstream_error,
    midstream_error_bare,
    midstream_error_beside_stop,
    midstream_error_finish_only,
    midstream_error_in_choice,
    midstream_error_masked,
    midstream_error_no_choices,
    midstream_error_on_usage,
    no_headers,
    rate_limited,
    rate_limited_by_router,
    rate_limited_then_text,
    refused,
    reset_before_headers,
    silence,
    slow_headers,
    text_for_ever,
    unavailable_then_text,
)
from or_stream.emulator.scenarios._images import (
    CAPTION,
    event_too_large,
    image_by_address,
    image_cut,
    image_formats,
    image_in_message,
    image_index_missing,
    image_index_repeated,
    image_list_empty,
    image_media_type_parameters,
    image_misnamed,
    image_missing,
    image_not_base64,
    image_only,
    image_repeated,
    image_repeated_in_message,
    image_slashes_escaped,
    image_twins,
    image_unpadded,
    image_url_plain,
    image_with_finish,
    image_with_text,
    images_in_one_delta,
    specimen,
    text_and_images,
)
from or_stream.emulator.scenarios._options import with_options
from or_stream.emulator.scenarios._tools import (
    finish_conflicting,
    finish_three_times,
    tool_call,
    tool_call_arguments_null,
    tool_call_id_empty,
    tool_call_id_null,
    tool_call_id_repeated,
    tool_call_index_missing,
    tool_call_parameterless,
    tool_call_truncated,
    tool_calls_in_one_delta,
    tool_calls_parallel,
    tool_calls_same_index,
)

__all__ = [
    "CAPTION",
    "REFUSALS",
    "TEXT",
    "annotations",
    "audio",
    "by_name",
    "closed",
    "closed_after_finish",
    "closed_before_headers",
    "comment_before_usage",
    "connection_reset",
    "content_filter",
    "crlf",
    "emoji",
    "empty_completion",
    "empty_deltas_for_ever",
    "empty_length",
    "end_at_once",
    "end_inside_event",
    "end_without_finish",
    "error_as_json",
    "error_empty",
    "error_html",
    "error_in_json_choice",
    "error_plain_string",
    "event_too_large",
    "finish_conflicting",
    "finish_length",
    "finish_missing_done",
    "finish_three_times",
    "finish_unnormalized",
    "finish_with_content",
    "gzip",
    "heartbeats_for_ever",
    "html_at_200",
    "image_api",
    "image_by_address",
    "image_cut",
    "image_formats",
    "image_in_message",
    "image_index_missing",
    "image_index_repeated",
    "image_list_empty",
    "image_media_type_parameters",
    "image_misnamed",
    "image_missing",
    "image_not_base64",
    "image_only",
    "image_repeated",
    "image_repeated_in_message",
    "image_slashes_escaped",
    "image_twins",
    "image_unpadded",
    "image_url_plain",
    "image_with_finish",
    "image_with_text",
    "images_in_one_delta",
    "json_answer",
    "json_body",
    "logprobs",
    "logprobs_odd",
    "malformed_json",
    "midstream_error",
    "midstream_error_bare",
    "midstream_error_beside_stop",
    "midstream_error_finish_only",
    "midstream_error_in_choice",
    "midstream_error_masked",
    "midstream_error_no_choices",
    "midstream_error_on_usage",
    "names",
    "no_headers",
    "no_space",
    "null_deltas",
    "rate_limited",
    "rate_limited_by_router",
    "rate_limited_then_text",
    "reasoning_details",
    "reasoning_encrypted_only",
    "reasoning_interleaved",
    "reasoning_late_signature",
    "reasoning_plain",
    "reasoning_summary_encrypted",
    "refusal",
    "refused",
    "replay",
    "reset_before_headers",
    "silence",
    "slow_headers",
    "specimen",
    "text",
    "text_and_images",
    "text_for_ever",
    "tool_call",
    "tool_call_arguments_null",
    "tool_call_id_empty",
    "tool_call_id_null",
    "tool_call_id_repeated",
    "tool_call_index_missing",
    "tool_call_parameterless",
    "tool_call_truncated",
    "tool_calls_in_one_delta",
    "tool_calls_parallel",
    "tool_calls_same_index",
    "trailing_bytes",
    "unavailable_then_text",
    "unknown_fields",
    "unterminated",
    "usage_2024_11",
    "usage_2025",
    "usage_2026_03",
    "usage_missing",
    "usage_with_nulls",
]

_Made = Callable[[], Scenario | tuple[Scenario, ...]]

# What is no answer, or none without arguments.
_NOT_NAMED = frozenset(
    {"CAPTION", "REFUSALS", "TEXT", "by_name", "image_api", "json_body", "names", "refused", "replay", "specimen"}
)
_CHAT: dict[str, _Made] = {name.replace("_", "-"): globals()[name] for name in __all__ if name not in _NOT_NAMED}
_IMAGES: dict[str, _Made] = {f"image-api-{name}": getattr(image_api, name) for name in image_api.__all__}
_REFUSALS: dict[str, _Made] = {f"refused-{status}": partial(refused, status) for status in REFUSALS}


def by_name(name: str) -> tuple[Scenario, ...]:
    """The answers of that name, one for each request in turn. ValueError where there is none; it says which are near."""
    name, sign, options = name.partition("?")
    wanted, known = name.replace("_", "-"), _CHAT | _IMAGES | _REFUSALS
    if wanted not in known:
        near = " or ".join(repr(each) for each in get_close_matches(wanted, known)) or "one of scenarios.names()"
        raise ValueError(f"there is no scenario {name!r}: perhaps {near}?")
    made = known[wanted]()
    turns = (made,) if isinstance(made, Scenario) else made
    return tuple(replace(with_options(scenario, options), name=f"{wanted}{sign}{options}") for scenario in turns)


def names(endpoint: Literal["chat", "images"] = "chat") -> list[str]:
    """All that `by_name` knows and that is an answer of that endpoint, as written in a model or a header."""
    return sorted((_CHAT if endpoint == "chat" else _IMAGES) | _REFUSALS)
