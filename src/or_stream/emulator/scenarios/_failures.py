"""Refusals, errors inside streams, and connections that break, hang or never speak."""

from collections.abc import Mapping
from typing import Any

from or_stream.emulator._script import (
    Chunk,
    Close,
    Comment,
    Done,
    Identity,
    Repeat,
    Reset,
    Scenario,
    Send,
    Stall,
    Step,
    Wait,
    dump,
)
from or_stream.emulator._wire import choice, completion, delta, error_body, finish, opening, usage, usage_chunk, words
from or_stream.emulator.scenarios._answers import TEXT, json_body, text

_USER: dict[str, Any] = {"user_id": "user_emulated"}
_UPSTREAM_429 = "z-ai/glm-5.2:free is temporarily rate-limited upstream."

# Bodies of refusals by HTTP status, in recorded or quoted shapes.
REFUSALS: Mapping[int, dict[str, Any]] = {
    400: error_body(400, "emulator/unknown is not a valid model ID", **_USER),
    401: error_body(401, "Missing Authentication header"),
    402: error_body(
        402,
        "This request requires more credits, or fewer max_tokens. You requested up to 16384 tokens, but can only afford 4000.",
        {"limit_source": "openrouter_credits", "remedy_hint": "Add credits, or lower max_tokens.", "provider_name": None},
        **_USER,
    ),
    403: error_body(
        403,
        'anthropic/claude-3-5-haiku requires moderation on Amazon Bedrock. Your input was flagged for "violence".',
        {"reasons": ["violence"], "flagged_input": "Tell me about"},
    ),
    404: error_body(
        404,
        "No endpoints found that support the requested output modalities: image, text",
        {
            "routing_funnel": [{"step": "Initial Endpoints", "endpoint_count": 1}],
            "failed_routing_step": "Filter by Model Output Modalities",
        },
    ),
    408: error_body(408, "Request timed out", {"error_type": "timeout"}),
    413: error_body(413, "Payload too large", {"error_type": "payload_too_large"}),
    422: error_body(422, "Unprocessable", {"error_type": "unprocessable"}),
    429: error_body(
        429,
        "Provider returned error",
        {"raw": _UPSTREAM_429, "provider_name": "Decart", "is_byok": False, "limit_source": "upstream_provider_shared_pool"},
    ),
    500: error_body(500, "Internal Server Error", {"error_type": "server"}),
    502: error_body(
        502, "Provider returned error", {"raw": '{\n  "detail": "bad gateway"\n}', "provider_name": "Novita"}, **_USER
    ),
    503: error_body(503, "No instances available", {"error_type": "provider_unavailable"}),
    504: error_body(504, "The provider did not answer in time", {"error_type": "timeout"}),
    524: error_body(524, "A timeout occurred", {"error_type": "timeout"}),
    529: error_body(529, "The provider is overloaded", {"error_type": "provider_overloaded"}),
}


def refused(status: int, body: Any = None, *, headers: Mapping[str, str] | None = None) -> Scenario:
    """A refusal before anything was made. Also to a streaming request it is JSON."""
    return json_body(REFUSALS[status] if body is None else body, status, headers=headers)


def rate_limited(retry_after: float | str | None = 1, *, where: str = "header") -> Scenario:
    """429. The hint is in the `header` Retry-After, in the `body` as recorded in 2026, in `availability`, or nowhere (None)."""
    metadata: dict[str, Any] = {"raw": _UPSTREAM_429, "provider_name": "Decart", "is_byok": False}
    error = error_body(429, "Provider returned error", metadata)
    if retry_after is None or where == "header":
        return refused(429, error, headers={} if retry_after is None else {"Retry-After": str(retry_after)})
    if where == "body":
        hint = {"retry_after_seconds": retry_after, "headers": {"Retry-After": str(retry_after)}}
        error["error"]["metadata"] = {**metadata, **hint}
    elif where == "availability":
        error["error"]["availability"] = {"code": "capacity_exhausted", "retryable": True, "retry_after": retry_after}
    else:
        raise ValueError(f"where is header, body or availability, not {where!r}")
    return refused(429, error)


def rate_limited_by_router(
    reset_milliseconds: int = 1787600000000, *, limit: int = 20, retry_after: int | None = None
) -> Scenario:
    """429 of the router itself: the time of reset, in milliseconds since 1970, in headers and again as strings in the body.

    Retry-After is documented, and was never recorded.
    """
    hint = {"X-RateLimit-Limit": str(limit), "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(reset_milliseconds)}
    body = error_body(429, "Rate limit exceeded: free-models-per-min. ", {"headers": hint, "provider_name": None}, **_USER)
    wait = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return refused(429, body, headers={**hint, **wait})


def rate_limited_then_text(times: int = 1, retry_after: float | str | None = 1) -> tuple[Scenario, ...]:
    """Refused that many times, then answered."""
    return (*(rate_limited(retry_after) for _ in range(times)), text())


def unavailable_then_text(times: int = 1, status: int = 503) -> tuple[Scenario, ...]:
    """A server error that many times, then an answer."""
    return (*(refused(status) for _ in range(times)), text())


def error_html(status: int = 502) -> Scenario:
    """What a proxy in front says: HTML."""
    page = f"<html><head><title>{status}</title></head><body><center><h1>{status} Bad Gateway</h1></center></body></html>\r\n"
    return Scenario((Send(page.encode()),), status, "text/html", generation_header=False)


def error_empty(status: int = 500) -> Scenario:
    """A status and nothing else."""
    return Scenario((), status, "text/plain", generation_header=False)


def error_plain_string(status: int = 400) -> Scenario:
    """`error` that is a string, as proxies send it."""
    return json_body({"error": "model overloaded"}, status)


def error_as_json() -> Scenario:
    """HTTP 200 with a JSON error: the status is only in the body."""
    return json_body(REFUSALS[429])


def error_in_json_choice() -> Scenario:
    """HTTP 200, a whole JSON answer with partial text and the error inside its choice."""
    error = {
        "code": 502,
        "message": "Error processing stream",
        "metadata": {"provider_name": "Nebius", "raw": {"retryable": True}},
    }
    fields = {"error": error, "finish_reason": None, "native_finish_reason": None}
    return json_body(completion(Identity().fields(), "The lamp", choice_fields=fields), keep_alive=1)


def html_at_200() -> Scenario:
    """HTTP 200 and a web page: the wrong base URL, or a login wall."""
    return Scenario((Send(b"<!doctype html><title>Sign in</title>"),), content_type="text/html; charset=utf-8")


# Errors inside a stream. `after` is the text that comes first; with "" the error is the first event.

_ERROR: dict[str, Any] = {"code": 502, "message": "Provider disconnected", "metadata": {"error_type": "provider_unavailable"}}


def _begun(after: str) -> tuple[Step, ...]:
    return (*opening(), *(words(after) if after else ()))


def midstream_error(after: str = TEXT) -> Scenario:
    """As documented: `error` beside a choice with finish "error"."""
    return Scenario((*_begun(after), choice({"content": ""}, "error", "error", error=_ERROR)))


def midstream_error_no_choices(after: str = TEXT) -> Scenario:
    """`choices: []`, the usual form of 2026, often as the only event."""
    error = {**_ERROR, "message": "JSON error injected into SSE stream"}
    return Scenario((*_begun(after), Chunk({"choices": [], "error": error})))


def midstream_error_in_choice(after: str = TEXT) -> Scenario:
    """`error` inside the choice (2025)."""
    error = {"message": "Error", "code": 502, "metadata": {"provider_name": "Nebius", "raw": {"retryable": True}}}
    return Scenario((*_begun(after), choice({"content": ""}, "error", "error", choice_fields={"error": error})))


def midstream_error_bare(after: str = "") -> Scenario:
    """`error` and `user_id`, nothing else: recorded after comments, with no [DONE]."""
    body = error_body(502, "Upstream error from Venice: EngineCore encountered an issue.", {"provider_name": "Venice"}, **_USER)
    return Scenario((*_begun(after), Send(b"data: %b\n\n" % dump(body))))


def midstream_error_finish_only(after: str = TEXT) -> Scenario:
    """Finish "error" and no error object."""
    return Scenario((*_begun(after), choice({"content": "", "role": "assistant"}, "error", "error"), Done()))


def midstream_error_on_usage(after: str = TEXT) -> Scenario:
    """`error` on the usage chunk, whose finish is null, after two chunks with finish "length"; then [DONE] (Minimax)."""
    error = {"code": 400, "message": "Token limit reached"}
    last = choice({"content": "", "role": "assistant"}, usage=usage(), error=error)
    return Scenario((*_begun(after), finish("length", "length"), finish("length", "length"), last, Done()))


def midstream_error_beside_stop(after: str = TEXT) -> Scenario:
    """`error` beside finish "stop", then usage (Gemini)."""
    error = {"message": "Provider returned error", "code": 502, "metadata": {"raw": "Malformed function call: call:light_lamp{"}}
    stopped = choice({"content": "", "role": "assistant"}, "stop", "MALFORMED_FUNCTION_CALL", error=error)
    return Scenario((*_begun(after), stopped, usage_chunk(None, "stop", "MALFORMED_FUNCTION_CALL")))


def midstream_error_masked(after: str = "") -> Scenario:
    """Finish "stop", no content: only the native reason "network_error" says that it failed (2026-08)."""
    return Scenario((*_begun(after), finish("stop", "network_error"), Done()))


def malformed_json() -> Scenario:
    """An event that is not JSON, between good ones."""
    return Scenario((*words(TEXT), Send(b'data: {"id":"gen-1","choices":[{"delta":\n\n'), *text().steps))


# Connections


def end_without_finish() -> Scenario:
    """The body ends in order after some text: no finish, no usage, no [DONE]."""
    return Scenario((*opening(), *words(TEXT)))


def end_inside_event() -> Scenario:
    """The body ends in order in the middle of an event."""
    return Scenario((*opening(), *words(TEXT), Send(b'data: {"id":"gen-1","object":"chat.comp')))


def end_at_once() -> Scenario:
    """200, text/event-stream, and an empty body."""
    return Scenario(())


def closed(after: str = TEXT) -> Scenario:
    """The connection is closed after some text, and the HTTP body is not complete."""
    return Scenario((*_begun(after), Close()))


def closed_after_finish() -> Scenario:
    """The connection is closed between finish and usage."""
    return Scenario((*_begun(TEXT), finish(), Close()))


def connection_reset(after: str = TEXT) -> Scenario:
    """The connection is reset after some text."""
    return Scenario((*_begun(after), Reset()))


def reset_before_headers() -> Scenario:
    """The connection is reset when the request has been read."""
    return Scenario((), before=(Reset(),))


def closed_before_headers() -> Scenario:
    """The connection is closed without a word when the request has been read."""
    return Scenario((), before=(Close(),))


def slow_headers(seconds: float = 1.0) -> Scenario:
    """The status line takes its time."""
    return text().after(Wait(seconds))


def no_headers() -> Scenario:
    """The request is read and nothing is ever said."""
    return Scenario((), before=(Stall(),))


def silence(after: str = "") -> Scenario:
    """Headers, perhaps some text, then nothing more, while the connection stays open."""
    return Scenario((*(words(after) if after else ()), Stall()))


def heartbeats_for_ever(after: str = "", *, every_seconds: float = 0.05) -> Scenario:
    """Headers, perhaps some text, then comments and nothing else."""
    return Scenario((*(words(after) if after else ()), Repeat((Comment(), Wait(every_seconds)))))


def empty_deltas_for_ever(*, every_seconds: float = 0.05) -> Scenario:
    """Chunks without content, for ever: alive by the bytes, dead by the answer."""
    return Scenario((Repeat((delta(""), Wait(every_seconds))),))


def text_for_ever(*, every_seconds: float = 0.01) -> Scenario:
    """Words until the client leaves."""
    return Scenario((*opening(), Repeat((delta(" on"), Wait(every_seconds)))))
