"""or_stream.protocol._error_body: error objects of every shape, and no key in any message."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from or_stream.errors import (
    APIStatusError,
    AuthenticationFailed,
    BadRequest,
    ModerationBlocked,
    OrStreamError,
    Overloaded,
    RateLimited,
    ServerFailed,
    StreamFailed,
)
from or_stream.protocol import ErrorBody, redact


def test_typed_error():
    """Code, type, provider and metadata of an error are its own words."""
    metadata = {"error_type": "provider_unavailable", "provider_name": "Novita"}
    body = ErrorBody.read({"code": 502, "message": "Provider returned error", "metadata": metadata})
    assert (body.code, body.status, body.error_type, body.provider) == (502, 502, "provider_unavailable", "Novita")
    assert body.metadata == metadata
    assert body.message == "Provider returned error (provider Novita)"
    assert body.retryable is None


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("plain words", "plain words"),
        (502, "502"),
        (["a"], "['a']"),
        ({}, "the server sent an error without a message"),
        ({"message": None}, "the server sent an error without a message"),
        ({"message": {"a": 1}, "metadata": []}, "the server sent an error without a message"),
    ],
)
def test_odd_errors(error: Any, message: str):
    """An error of any type becomes a message."""
    assert ErrorBody.read(error).message == message


def test_error_that_is_a_page():
    """A text in the place of the error object is cut to a readable length."""
    assert len(ErrorBody.read("x" * 10_000).message) == 500


@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        ('{"error": {"message": "quota"}}\n', "quota"),
        ('{\n  "detail": "bad gateway"\n}', '{"detail": "bad gateway"}'),
        ('{"message": "inner"}', "inner"),
        ('{"error": "text"}', "text"),
        ("  prose of the provider\n", "prose of the provider"),
        ({"retryable": True}, '{"retryable": true}'),
        ("[1]", "[1]"),
        ("x" * 600, "x" * 500),
    ],
)
def test_words_of_the_provider(raw: Any, detail: str):
    """What the provider said stands behind what the router said."""
    body = ErrorBody.read({"message": "Provider returned error", "metadata": {"raw": raw}})
    assert body.message == f"Provider returned error: {detail}"


@pytest.mark.parametrize(
    "raw", [None, "", "   ", "null", "Provider returned error", '{"message": "Provider returned error"}', [], 0]
)
def test_provider_that_adds_nothing(raw: Any):
    """Where the provider said nothing new, nothing is added."""
    assert ErrorBody.read({"message": "Provider returned error", "metadata": {"raw": raw}}).message == "Provider returned error"


@pytest.mark.parametrize("raw", ["[" * 100_000, "9" * 5000])
def test_provider_that_sends_madness(raw: str):
    """JSON nested without end, or a number without end, is prose."""
    assert raw[:500] in ErrorBody.read({"message": "no", "metadata": {"raw": raw}}).message


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"code": 429}, 429),
        ({"code": "429"}, 429),
        ({"code": "server_error", "http_status": 503}, 503),
        ({"code": "server_error"}, None),
        ({"code": 0}, None),
        ({"code": 99}, None),
        ({"code": 600}, None),
        ({"code": -1}, None),
        ({"code": True}, None),
        ({"code": 10**400}, None),
        ({"code": "1e999"}, None),
        ({"code": "nan"}, None),
        ({"code": [429]}, None),
    ],
)
def test_status(error: dict[str, Any], status: int | None):
    """The status is the code where that is an HTTP status."""
    assert ErrorBody.read(error).status == status


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        ({"availability": {"retry_after": 7}, "metadata": {"retry_after_seconds": 9}}, 7),
        ({"metadata": {"retry_after_seconds": "9.5"}}, 9.5),
        ({"metadata": {"headers": {"Retry-After": "12"}}}, 12),
        ({"metadata": {"headers": {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}}}, None),
        ({"availability": {"retry_after": None}, "metadata": {"retry_after_seconds": -1}}, None),
        ({"availability": [], "metadata": None}, None),
    ],
)
def test_retry_after(error: dict[str, Any], seconds: float | None):
    """Three places may say when to come back."""
    assert ErrorBody.read(error).retry_after == seconds


def test_reset_time():
    """The reset of the router's own limit is in milliseconds and a string."""
    headers = {"X-RateLimit-Limit": "50", "X-RateLimit-Reset": "1788825600000"}
    assert ErrorBody.read({"code": 429, "metadata": {"headers": headers}}).reset_at_milliseconds == 1788825600000


@pytest.mark.parametrize(
    ("error", "error_type"),
    [
        ({"metadata": {"error_type": "a"}, "error_type": "b", "type": "c"}, "a"),
        ({"error_type": "b", "type": "c"}, "b"),
        ({"type": "c"}, "c"),
        ({"type": 5}, None),
    ],
)
def test_error_type(error: dict[str, Any], error_type: str | None):
    """The error's type stands in one of three places."""
    assert ErrorBody.read(error).error_type == error_type


@pytest.mark.parametrize(("code", "is_retryable"), [(502, True), (400, False), (None, False)])
def test_whether_to_try_again(code: int | None, is_retryable: bool):
    """The status says whether to try again, unless the server does."""
    assert ErrorBody.read({"code": code}).stream_failed().retryable is is_retryable
    told = ErrorBody.read({"code": code, "availability": {"retryable": not is_retryable}})
    assert told.stream_failed().retryable is not is_retryable
    assert ErrorBody.read({"code": code, "availability": {"retryable": "yes"}}).stream_failed().retryable is is_retryable


def test_stream_failed_carries_everything():
    """The exception inside a stream has what the error object said."""
    failure = ErrorBody.read(
        {"code": 429, "message": "slow", "metadata": {"provider_name": "P", "retry_after_seconds": 3, "error_type": "t"}}
    ).stream_failed()
    assert isinstance(failure, StreamFailed)
    assert (failure.status, failure.code, failure.provider, failure.retry_after, failure.error_type) == (429, 429, "P", 3, "t")
    assert failure.metadata["provider_name"] == "P"


@pytest.mark.parametrize(
    ("status", "error", "expected", "told"),
    [
        (401, {"code": 401}, AuthenticationFailed, 401),
        (400, {"code": 401}, BadRequest, 400),
        (200, {"code": 429}, RateLimited, 429),
        (200, {"code": "x"}, ServerFailed, 500),
        (200, {"code": 200}, ServerFailed, 500),
        (529, "busy", Overloaded, 529),
        (403, {"metadata": {"reasons": ["violence"]}}, ModerationBlocked, 403),
    ],
)
def test_refusals(status: int, error: Any, expected: type[APIStatusError], told: int):
    """The HTTP status chooses the exception; under 200 the body's own code does."""
    failure = ErrorBody.read(error).api_status_error(status)
    assert type(failure) is expected
    assert failure.status == told
    assert str(failure).startswith(f"HTTP {told}: ")


@pytest.mark.parametrize(
    "secret", ["sk-or-v1-0123456789abcdef", "sk-proj_0123456789", "Bearer abc.def-ghi", "Bearer sk-or-v1-0123456789abcdef"]
)
def test_no_key_in_a_message(secret: str):
    """What looks like a key is not shown, wherever the server repeats it."""
    kept = secret.removeprefix("Bearer ").removeprefix("sk-or-v1-")
    assert kept not in redact(f"key {secret}!")
    assert kept not in ErrorBody.read(f"bad {secret}").message
    assert kept not in ErrorBody.read({"message": secret, "metadata": {"raw": f'{{"error": "{secret}"}}'}}).message
    assert kept not in str(ErrorBody.read({"message": secret}).stream_failed())
    assert kept not in repr(ErrorBody.read({"metadata": {"headers": [{"authorization": secret}]}}).stream_failed().metadata)


def test_endless_message():
    """A message is cut where nobody reads on."""
    assert len(str(ErrorBody.read({"message": "x" * 10**6}).stream_failed())) < 5000


@pytest.mark.parametrize(
    ("code", "now", "seconds"), [(429, 1000.0, 50.0), (429, 2000.0, 0.0), (429, None, None), (502, 1000.0, None)]
)
def test_how_far_a_reset_is(code: int, now: float | None, seconds: float | None):
    """The reset of a 429 is some seconds away once the time is known, in either exception; of another status it means nothing."""
    body = ErrorBody.read({"code": code, "metadata": {"headers": {"X-RateLimit-Reset": "1050000"}}})
    assert body.stream_failed(now).retry_after == seconds
    assert body.api_status_error(code, now).retry_after == seconds


def test_deep_error():
    """An error of a thousand levels is cut to what can be walked through, wherever the levels are."""
    deep: Any = "sk-or-v1-0123456789"
    for level in range(1000):
        deep = [deep] if level % 2 else {"a": deep}
    for error in (deep, {"metadata": deep}, {"metadata": {"raw": deep}}, {"code": deep, "message": deep}):
        body = ErrorBody.read(error)
        assert len(repr(body)) < 2000
        assert copy.deepcopy(body.stream_failed()).metadata == body.metadata


def test_words_of_an_error_are_short():
    """A code, a type and a provider are words and not pages."""
    long = "y" * 10**6
    error = ErrorBody.read(
        {"code": long, "message": long, "metadata": {"error_type": long, "provider_name": long, "raw": long}}
    ).stream_failed()
    assert [len(text or "") for text in (error.code, error.error_type, error.provider)] == [200, 200, 200]
    assert len(str(error)) < 5000


def test_data_urls_are_shortened():
    """A picture that comes back in a message is not printed."""
    text = redact(f'bad image "data:image/png;base64,{"A" * 10_000}" sent')
    assert text == 'bad image "data:image/png;base64,..." sent'


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(10**400),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["code", "message", "metadata", "raw", "headers", "availability", "retryable", "error", "provider_name"]
            ),
            inner,
            max_size=5,
        )
    ),
)


@given(JSON, st.integers(100, 599))
def test_any_error_is_an_exception(error: Any, status: int):
    """An `error` field of any JSON becomes an exception of ours."""
    body = ErrorBody.read(error)
    assert isinstance(body.stream_failed(), OrStreamError)
    assert isinstance(body.api_status_error(status), APIStatusError)
