"""Whether to send a request again and when: the decision, and the requests that follow from it."""

import asyncio
import time
from email.utils import formatdate

import pytest

from or_stream import (
    AuthenticationFailed,
    ConfigurationError,
    ConnectionFailed,
    Heartbeat,
    OrStreamError,
    PaymentRequired,
    ProtocolViolation,
    RateLimited,
    Restart,
    RetryPolicy,
    ServerFailed,
    StreamEnd,
    StreamFailed,
    StreamStart,
    StreamTimeout,
    StreamTruncated,
    TextDelta,
    Timeouts,
)
from or_stream.client._retry import seconds_before_retry
from or_stream.emulator import Chunk, Scenario, scenarios
from support.raw_server import RawServer, answer, chunked, head

TEXT = scenarios.TEXT


def decide(error=None, *, attempt=1, elapsed=0.0, fraction=1.0, **policy):
    error = error or ServerFailed("x", status=500)
    return seconds_before_retry(
        RetryPolicy(**policy), attempt=attempt, error=error, elapsed_seconds=elapsed, random_fraction=fraction
    )


# ---- the decision


@pytest.mark.parametrize(
    ("attempt", "fraction", "seconds"),
    [(1, 0.0, 0.0), (1, 1.0, 0.5), (2, 1.0, 1.0), (3, 1.0, 2.0), (3, 0.25, 0.5), (50, 1.0, 60.0), (2000, 1.0, 60.0)],
)
def test_full_jitter(attempt, fraction, seconds):
    """From nothing up to the base doubled each time, and never more than the cap."""
    assert decide(attempt=attempt, fraction=fraction, attempts=10_000) == seconds


def test_attempts_are_requests_in_all():
    """With three attempts there is a third request and no fourth."""
    assert [decide(attempt=attempt, fraction=0) for attempt in (1, 2, 3)] == [0, 0, None]


@pytest.mark.parametrize(
    "error", [AuthenticationFailed("x", status=401), ProtocolViolation("x"), ConfigurationError("x"), OrStreamError("x")]
)
def test_what_will_not_pass_is_not_retried(error):
    """An error that says it is not retryable is final."""
    assert decide(error) is None


@pytest.mark.parametrize("error", [ConnectionFailed("x"), StreamTruncated("x"), StreamTimeout("x", phase="connect")])
def test_what_may_pass_is_retried(error):
    """Connections and clocks may do better the next time."""
    assert decide(error, fraction=0.5) == 0.25


@pytest.mark.parametrize("phase", ["first_content", "idle"])
def test_the_callers_own_deadline(phase):
    """A stream that was too slow is not waited for again, unless the caller wants it whole at any price."""
    error = StreamTimeout("x", phase=phase)
    assert decide(error) is None
    assert decide(error, fraction=0, restart=True) == 0


def test_server_has_the_last_word():
    """`availability.retryable` wins over the status, both ways."""
    assert decide(ServerFailed("x", status=500, retryable=False)) is None
    assert decide(PaymentRequired("x", status=402, retryable=True)) is not None


def test_wait_is_at_least_what_the_server_asks():
    """The jitter comes on top, so that all who were told the same do not come back at once."""
    error = RateLimited("x", status=429, retry_after=7)
    assert (decide(error, fraction=0), decide(error, fraction=1)) == (7, 7.5)


def test_more_than_the_cap_is_not_waited_for():
    """A server that asks for more than the cap is not asked again, one that asks for just the cap is."""
    assert decide(RateLimited("x", status=429, retry_after=60.1)) is None
    assert decide(RateLimited("x", status=429, retry_after=60), fraction=0) == 60
    assert decide(RateLimited("x", status=429, retry_after=float("inf"))) is None


def test_total_bounds_the_wait():
    """A wait that would pass total_seconds is not begun."""
    assert decide(elapsed=180) is None
    assert decide(elapsed=179.5) == 0.5


@pytest.mark.parametrize(
    "values",
    [
        {"attempts": 0},
        {"attempts": 1.5},
        {"base_seconds": "1"},
        {"base_seconds": -1},
        {"cap_seconds": -0.1},
        {"total_seconds": float("nan")},
    ],
)
def test_policy_is_checked(values):
    """A policy that means nothing is refused and named."""
    with pytest.raises(ConfigurationError, match=next(iter(values))):
        RetryPolicy(**values)


# ---- the requests


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 524, 529])
async def test_retryable_status(emulator, client, status):
    """An answer follows a refusal that may pass."""
    emulator.play(scenarios.refused(status), scenarios.refused(status), scenarios.text())
    stream = client.stream("x")
    message = await stream.final()
    assert (message.text, stream.stats.attempts, len(emulator.requests)) == (TEXT, 3, 3)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422])
async def test_final_status(emulator, client, status):
    """A refusal that will not pass is asked for once."""
    emulator.play(scenarios.refused(status))
    with pytest.raises(OrStreamError) as caught:
        await client.generate("x", modalities=["text"])
    assert (caught.value.attempts, len(emulator.requests)) == (1, 1)


async def test_attempts_run_out(emulator, client):
    """The last error is raised and says how many requests there were."""
    emulator.scenario = scenarios.refused(503)
    with pytest.raises(OrStreamError) as caught:
        await client.generate("x")
    assert (caught.value.attempts, len(emulator.requests)) == (3, 3)


@pytest.mark.parametrize("name", ["reset-before-headers", "closed-before-headers"])
async def test_connection_lost_before_the_answer(emulator, client, name):
    """A connection that breaks before the headers is tried again."""
    emulator.play(name, "text")
    assert (await client.generate("x")).text == TEXT


@pytest.mark.parametrize("make", [scenarios.midstream_error_no_choices, scenarios.midstream_error_bare])
async def test_error_as_the_first_event(emulator, client, make):
    """An error in front of everything else of a 200 stream is retried, heartbeats or not."""
    emulator.play(make(after=""), scenarios.text())
    events = [event async for event in client.stream("x")]
    assert type(events[-1]) is StreamEnd
    assert [type(event) for event in events].count(StreamStart) == 1
    assert len(emulator.requests) == 2


async def test_json_error_under_200(emulator, client):
    """So is an error that comes as JSON."""
    emulator.play("error-as-json", "text")
    assert (await client.generate("x")).text == TEXT


async def test_stream_that_ends_at_once(emulator, client):
    """So is a stream with nothing in it."""
    emulator.play("end-at-once", "text")
    assert (await client.generate("x")).text == TEXT


async def test_no_retry_after_the_first_event(emulator, client):
    """Once anything but a heartbeat was handed out, an error is an error."""
    emulator.play("connection-reset", "text")
    seen = []

    async def read():
        async for event in client.stream("x"):
            seen.append(event)  # noqa: PERF401  # the exception would lose them

    with pytest.raises(StreamTruncated) as caught:
        await read()
    assert "".join(event.text for event in seen if isinstance(event, TextDelta)) == TEXT == caught.value.partial.text
    assert len(emulator.requests) == 1


async def test_first_content_of_all_attempts(emulator, client):
    """The time to the first content is that of the first attempt that had any, however long the others took."""
    emulator.play("midstream-error", "text")
    stream = client.stream("x", retry=RetryPolicy(base_seconds=0, restart=True))
    first = None
    async for event in stream:
        if type(event) is TextDelta and first is None:
            first = stream.stats.seconds_to_first_content
    assert type(event) is StreamEnd
    assert stream.stats.attempts == 2
    assert stream.stats.seconds_to_first_content == first


async def test_restart(emulator, client):
    """With `restart` the stream starts over behind an event that carries what was discarded."""
    emulator.play("midstream-error", "text")
    events = [event async for event in client.stream("x", retry=RetryPolicy(base_seconds=0, restart=True))]
    (restart,) = (event for event in events if isinstance(event, Restart))
    assert (restart.attempt, restart.discarded.text) == (2, TEXT)
    assert restart.error
    after = events[events.index(restart) + 1 :]
    assert "".join(event.text for event in after if isinstance(event, TextDelta)) == TEXT
    assert events[-1].message.text == TEXT


async def test_restart_is_told_before_the_pause(emulator, client):
    """What came, and that it is void, is known at once and not when the wait is over."""
    error = {"error": {"code": 503, "message": "x", "availability": {"retryable": True, "retry_after": 30}}, "choices": []}
    emulator.play(Scenario((*scenarios.text("hello").steps[:4], Chunk(error))))
    async with client.stream("x", retry=RetryPolicy(restart=True)) as stream:
        async for event in stream:
            if isinstance(event, Restart):
                break
    assert stream.stats.seconds < 5


async def test_restart_gives_up_as_well(emulator, client):
    """`restart` has no more attempts than the policy."""
    emulator.scenario = "midstream-error"
    with pytest.raises(StreamFailed) as caught:
        await client.generate("x", retry=RetryPolicy(base_seconds=0, restart=True))
    assert caught.value.attempts == 3


@pytest.mark.parametrize("where", ["header", "body", "availability"])
async def test_retry_after_wherever_it_is(emulator, client, where):
    """The hint is found, waited for, and told by the error."""
    emulator.play(scenarios.rate_limited(0.2, where=where), scenarios.text())
    started = time.monotonic()
    await client.generate("x")
    assert 0.2 <= time.monotonic() - started < 5
    emulator.play(scenarios.rate_limited(77, where=where))
    with pytest.raises(RateLimited) as caught:
        await client.generate("x")
    assert (caught.value.retry_after, caught.value.attempts) == (77, 1)


async def hint_of(client_of, status, body, content_type="application/json", **headers):
    async def play(connection):
        await connection.request()
        connection.send(answer(body, status, content_type, **headers))

    async with RawServer(play) as server, client_of(server) as client:
        with pytest.raises(OrStreamError) as caught:
            await client.generate("x")
    return caught.value.retry_after


PLAIN = b'{"error":{"code":429,"message":"slow down"}}'


async def test_retry_after_as_a_date(client_of):
    """Retry-After may be a date."""
    seconds = await hint_of(client_of, 429, PLAIN, Retry_After=formatdate(time.time() + 100, usegmt=True))
    assert 90 < seconds <= 100


async def test_date_of_the_past(client_of):
    """A date that has passed means now."""
    assert await hint_of(client_of, 429, PLAIN, Retry_After=formatdate(0, usegmt=True)) == 0


@pytest.mark.parametrize(
    "value", ["soon", "", "0x10", "Mon, 99999999999999999999 Jan 2024 00:00:00 GMT", "Mon, 32 Jan 2024 00:00:00 GMT"]
)
async def test_retry_after_that_means_nothing(client_of, value):
    """Nonsense is no hint, and no other exception either."""
    assert await hint_of(client_of, 429, PLAIN, Retry_After=value) is None


async def test_negative_retry_after(client_of):
    """Less than nothing is nothing."""
    assert await hint_of(client_of, 429, PLAIN, Retry_After="-5") == 0


async def test_reset_time_in_the_header(client_of):
    """X-RateLimit-Reset is Unix time in milliseconds."""
    seconds = await hint_of(client_of, 429, PLAIN, X_RateLimit_Reset=str(int((time.time() + 50) * 1000)))
    assert 40 < seconds <= 50


async def test_reset_time_in_the_body(client_of):
    """As it was recorded: a string inside `metadata.headers`, which wins over the header."""
    reset = int((time.time() + 50) * 1000)
    body = b'{"error":{"code":429,"message":"m","metadata":{"headers":{"X-RateLimit-Reset":"%d"}}}}' % reset
    assert 40 < await hint_of(client_of, 429, body, X_RateLimit_Reset="1") <= 50


async def test_reset_time_inside_a_stream(client_of):
    """The same in an error that is the first event of a stream."""
    reset = int((time.time() + 70) * 1000)  # more than the cap, so that it is raised at once
    error = b'{"error":{"code":429,"message":"m","metadata":{"headers":{"X-RateLimit-Reset":"%d"}}}}' % reset
    assert 60 < await hint_of(client_of, 200, b"data: %b\n\n" % error, "text/event-stream") <= 70


@pytest.mark.parametrize("header", ["Retry_After", "X_RateLimit_Reset"])
@pytest.mark.parametrize(
    ("content_type", "body"), [("text/event-stream", b"data: %b\n\n" % PLAIN), ("application/json", PLAIN)], ids=["sse", "json"]
)
async def test_hint_in_the_headers_of_an_answer(client_of, header, content_type, body):
    """The headers of an answer that turns out to be an error count as those of a refusal do."""
    value = "70" if header == "Retry_After" else str(int((time.time() + 70) * 1000))
    assert 60 < await hint_of(client_of, 200, body, content_type, **{header: value}) <= 70


async def test_reset_time_of_another_status(client_of):
    """A limit that was not reached is no reason to wait: servers send its headers with every answer."""
    assert await hint_of(client_of, 502, PLAIN, X_RateLimit_Reset=str(int((time.time() + 50) * 1000))) is None


async def test_reset_time_that_means_nothing(client_of):
    """Nonsense is no hint."""
    assert await hint_of(client_of, 429, PLAIN, X_RateLimit_Reset="tomorrow") is None


async def test_too_long_a_wait_is_raised_at_once(emulator, client):
    """More than the cap is the caller's to wait for."""
    emulator.play(scenarios.rate_limited(3600))
    started = time.monotonic()
    with pytest.raises(RateLimited):
        await client.generate("x")
    assert time.monotonic() - started < 5


async def test_wait_past_the_total_clock_is_raised_at_once(emulator, client):
    """No wait is begun that Timeouts.total would end."""
    emulator.play(scenarios.rate_limited(30))
    with pytest.raises(RateLimited):
        await client.generate("x", timeouts=Timeouts(total=10))


async def test_each_attempt_is_closed(client_of):
    """The connection of an attempt that failed inside its stream is dropped before the next is made."""
    answers = [
        chunked(b'data: {"error":{"code":502,"message":"m"},"choices":[]}\n\n', end=False),
        chunked(scenarios.text().body()),
    ]

    async def play(connection):
        await connection.request()
        connection.send(head(Transfer_Encoding="chunked") + answers.pop(0))
        await connection.left.wait()

    async with RawServer(play) as server, client_of(server, retry=RetryPolicy(base_seconds=0)) as client:
        events = [event async for event in client.stream("x") if not isinstance(event, Heartbeat)]
        assert events[-1].message.text == TEXT
        first, _ = server.connections
        async with asyncio.timeout(1):
            await first.left.wait()


async def test_clock_that_ran_out_starts_anew(client_of):
    """An attempt that only sent heartbeats is followed by one with all its time."""
    served = []

    async def play(connection):
        await connection.request()
        served.append(connection)
        if len(served) > 1:
            connection.send(answer(scenarios.text().body()))
            return
        connection.send(head(Transfer_Encoding="chunked") + chunked(b": wait\n\n", end=False))
        await connection.left.wait()

    options = {"retry": RetryPolicy(base_seconds=0, restart=True), "timeouts": Timeouts(first_content=0.3)}
    async with RawServer(play) as server, client_of(server, **options) as client:
        assert (await client.generate("x")).text == TEXT
