"""or_stream.errors: one tree, drawn in its docstring, and what each error carries."""

import copy
import inspect
import pickle
from typing import Any

import pytest

from or_stream import errors
from or_stream.errors import (
    APIStatusError,
    AuthenticationFailed,
    BadRequest,
    ModerationBlocked,
    NoImageProduced,
    NotFound,
    OrStreamError,
    Overloaded,
    PayloadTooLarge,
    PaymentRequired,
    PermissionDenied,
    ProviderUnavailable,
    RateLimited,
    RequestTimeout,
    ServerFailed,
    StreamFailed,
    StreamTimeout,
    StreamTruncated,
    error_class_for_status,
)

CLASSES: list[Any] = [value for name in errors.__all__ if inspect.isclass(value := getattr(errors, name))]


def drawn() -> dict[str, str]:
    """Each class of the tree in the module's docstring with the one above it."""
    above: list[tuple[int, str]] = []
    tree = {}
    for line in (errors.__doc__ or "").splitlines()[2:]:
        name = line.lstrip("│├└─ ").split(" ")[0]
        depth = line.index(name) // 4
        above = [entry for entry in above if entry[0] < depth]
        tree[name] = above[-1][1] if above else ""
        above.append((depth, name))
    return tree


def test_drawing_is_the_tree():
    """The tree in the docstring is the tree of the classes."""
    tree = drawn()
    assert set(tree) == {kind.__name__ for kind in CLASSES}
    for kind in CLASSES:
        ours = [parent.__name__ for parent in kind.__mro__[1:] if parent in CLASSES]
        assert tree[kind.__name__] == (ours[0] if ours else "")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, BadRequest),
        (401, AuthenticationFailed),
        (402, PaymentRequired),
        (403, PermissionDenied),
        (404, NotFound),
        (408, RequestTimeout),
        (412, BadRequest),
        (413, PayloadTooLarge),
        (422, BadRequest),
        (429, RateLimited),
        (500, ServerFailed),
        (501, ServerFailed),
        (502, ProviderUnavailable),
        (503, ProviderUnavailable),
        (504, RequestTimeout),
        (524, RequestTimeout),
        (529, Overloaded),
        (599, ServerFailed),
    ],
)
def test_class_of_a_status(status: int, expected: type[APIStatusError]):
    """Each HTTP status has its class."""
    assert error_class_for_status(status, {}) is expected


def test_moderation():
    """A 403 with reasons is moderation; reasons elsewhere mean nothing."""
    assert error_class_for_status(403, {"reasons": []}) is ModerationBlocked
    assert error_class_for_status(400, {"reasons": []}) is BadRequest


@pytest.mark.parametrize("status", [None, 400, 401, 402, 403, 404, 413, 422, 408, 429, 500, 502, 503, 504, 524, 529])
@pytest.mark.parametrize("kind", [APIStatusError, StreamFailed])
def test_what_may_be_retried(kind: type[APIStatusError | StreamFailed], status: int | None):
    """The status says whether to try again, and the server's own word wins."""
    assert kind("no", status=status).retryable is (status in {408, 429, 500, 502, 503, 504, 524, 529})
    assert kind("no", status=status, retryable=True).retryable is True


def test_what_every_error_carries():
    """Until somebody knows better there is no partial message, no id and no attempt."""
    for kind in (OrStreamError, StreamTruncated):
        error = kind("words")
        assert (error.partial, error.generation_id, error.attempts, str(error)) == (None, None, 0, "words")
    assert StreamTruncated.retryable
    assert not OrStreamError.retryable


def test_what_some_errors_carry():
    """A timeout names its phase, a missing image what came instead, a refusal all that was said."""
    assert StreamTimeout("late", phase="idle").phase == "idle"
    missing = NoImageProduced("none", text="sorry", native_finish_reason="NO_IMAGE")
    assert (missing.text, missing.native_finish_reason) == ("sorry", "NO_IMAGE")
    refusal = RateLimited("slow", status=429, code="x", error_type="t", metadata={"a": 1}, retry_after=2.0, provider="P")
    assert (refusal.status, refusal.code, refusal.error_type, refusal.metadata) == (429, "x", "t", {"a": 1})
    assert (refusal.retry_after, refusal.provider) == (2.0, "P")
    assert RateLimited("slow").metadata == {}


@pytest.mark.parametrize(
    "error",
    [
        StreamTruncated("a"),
        RateLimited("a", status=429, metadata={"x": 1}),
        StreamTimeout("a", phase="idle"),
        NoImageProduced("a", text="t", native_finish_reason=None),
    ],
)
def test_errors_travel(error: OrStreamError):
    """An error survives a copy and a pickle, as a process pool makes them, with what it carries."""
    error.attempts = 3
    for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(other) is type(error)
        assert vars(other) == vars(error)


def test_message_is_short():
    """A picture given for a path, or a page of a server, is not repeated whole."""
    picture = "iVBOR" * 100_000
    assert len(str(errors.ConfigurationError(f"cannot read {picture!r} of yours"))) < 300
    assert str(errors.ConfigurationError(f"cannot read {picture!r} of yours")).endswith(" of yours")
    assert len(str(errors.ConfigurationError("word " * 10_000))) == 6000
