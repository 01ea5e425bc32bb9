"""What may be shown of a failure."""

import inspect

import pytest

from or_stream import errors
from or_stream.errors import OrStreamError, RateLimited, StreamFailed
from or_stream.relay import failure_of

SECRET = "sk-or-v1-secret: the upstream said this"


def made(kind):
    """An error of a class, with a text that nobody may see."""
    options = {"StreamTimeout": {"phase": "idle"}, "NoImageProduced": {"text": "", "native_finish_reason": None}}
    return kind(SECRET, **options.get(kind.__name__, {}))


KINDS = [kind for name, kind in inspect.getmembers(errors, inspect.isclass) if name in errors.__all__]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_has_words_of_its_own(kind):
    """No class shows its own message, and each has an error status."""
    failure = failure_of(made(kind))
    assert "secret" not in repr(failure)
    assert failure.text
    assert 400 <= failure.status <= 599


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in {OrStreamError, errors.APIStatusError}])
def test_no_error_falls_through(kind):
    """Only the two classes that say nothing, and bad configuration, are an internal error."""
    assert (failure_of(made(kind)).code == "internal_error") == (kind is errors.ConfigurationError)


def test_a_stranger_is_an_internal_error():
    """An exception that is not ours says nothing either."""
    failure = failure_of(KeyError(SECRET))
    assert (failure.status, failure.code, failure.retryable) == (500, "internal_error", False)


@pytest.mark.parametrize(
    ("status", "code"), [(429, "rate_limited"), (402, "unavailable"), (502, "provider_failed"), (None, "provider_failed")]
)
def test_refusal_inside_a_stream(status, code):
    """It is shown like the same refusal in front of it; what breaks there is a break."""
    assert failure_of(StreamFailed(SECRET, status=status)).code == code


@pytest.mark.parametrize("status", [401, 402])
def test_the_key_is_no_fault_of_the_browser(status):
    """A refusal of the backend's key or credit is a failure of the backend."""
    assert failure_of(errors.error_class_for_status(status, {})(SECRET, status=status)).status >= 500


def test_what_the_server_knows_of_retrying_is_kept():
    """Whether and when to try again."""
    failure = failure_of(RateLimited(SECRET, status=429, retry_after=7.5))
    assert (failure.retryable, failure.retry_after) == (True, 7.5)


@pytest.mark.parametrize("hint", [float("inf"), float("nan"), -1.0, 1e300, None])
def test_a_time_that_is_none_is_left_out(hint):
    """No header and no browser could use it."""
    assert failure_of(RateLimited(SECRET, status=429, retry_after=hint)).retry_after is None


def test_words_of_the_application_that_fail(caplog):
    """The default is shown, and the log says why."""

    def error_text(error):
        raise ZeroDivisionError

    error = RateLimited(SECRET, status=429)
    assert failure_of(error, error_text) == failure_of(error)
    assert [record.exc_info[0] for record in caplog.records] == [ZeroDivisionError]


def test_words_of_the_application():
    """They win, and where there are none the default holds."""
    error = RateLimited(SECRET, status=429)
    assert failure_of(error, lambda error: f"Langsam! {type(error).__name__}").text == "Langsam! RateLimited"
    assert failure_of(error, lambda error: None) == failure_of(error)
