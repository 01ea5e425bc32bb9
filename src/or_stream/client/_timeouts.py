"""The clocks of a stream, as data."""

from dataclasses import dataclass, fields

from or_stream.errors import ConfigurationError

__all__ = ["Timeouts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long to wait, in seconds; None waits for ever.

    `connect`: for TCP and TLS. `first_content`: from the request to the first content. `idle`: between content and content, not
    counting the time in which nobody asked for more. `total`: for everything, retries included. Content is text, reasoning,
    refusal, image or audio bytes, a piece of a tool call, an annotation; comments, roles and empty deltas are not.
    """

    connect: float | None = 10
    first_content: float | None = 120
    idle: float | None = 60
    total: float | None = None

    def __post_init__(self) -> None:
        for clock in fields(self):
            seconds = getattr(self, clock.name)
            if seconds is not None and not 0 < seconds < float("inf"):
                raise ConfigurationError(
                    f"Timeouts.{clock.name} must be more than 0 seconds, or None for no limit, not {seconds!r}"
                )
