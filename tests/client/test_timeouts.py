"""The clocks of a stream, as data."""

import pytest

from or_stream import ConfigurationError, Timeouts


def test_defaults():
    """What the documentation says."""
    timeouts = Timeouts()
    assert (timeouts.connect, timeouts.first_content, timeouts.idle, timeouts.total) == (10, 120, 60, None)


@pytest.mark.parametrize("name", ["connect", "first_content", "idle", "total"])
@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_seconds_are_checked(name, seconds):
    """A time that is none is refused, and None is offered for no limit."""
    with pytest.raises(ConfigurationError, match=rf"Timeouts\.{name} .* None for no limit"):
        Timeouts(**{name: seconds})


@pytest.mark.parametrize("name", ["connect", "first_content", "idle", "total"])
def test_no_limit(name):
    """None is no limit."""
    assert getattr(Timeouts(**{name: None}), name) is None
