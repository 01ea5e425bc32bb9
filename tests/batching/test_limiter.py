"""The limiter on a clock of its own, against servers of several kinds whose limit changes."""

import pytest

from batching.rate_limits import FixedWindow, TokenBucket, simulate
from or_stream.batching.pacing._limiter import Allowance, Limiter

PHASES = [(180, 600), (180, 100), (180, 600)]
SEEDS = range(10)


def outcomes(server, *, round_trip_seconds, phases=PHASES):
    for seed in SEEDS:
        yield simulate(Limiter(), server(), phases, seed=seed, round_trip_seconds=round_trip_seconds, service_seconds=2)


@pytest.mark.parametrize("round_trip_seconds", [0.004, 0.1])
@pytest.mark.parametrize("bucket_seconds", [1, 10, 60])
def test_bucket(bucket_seconds, round_trip_seconds):
    """Of a limit that goes from 600 to 100 to 600 a minute, nine tenths are used from the twentieth second of each phase on."""
    for outcome in outcomes(lambda: TokenBucket(bucket_seconds), round_trip_seconds=round_trip_seconds):
        for begin, allowed in ((0, 600), (180, 100), (360, 600)):
            assert outcome.per_minute(begin + 20, begin + 180) >= 0.9 * allowed
        assert outcome.refused_share <= 0.03
        assert outcome.too_early == 0


@pytest.mark.parametrize("bucket_seconds", [1, 10, 60])
def test_bucket_that_changes_soon(bucket_seconds):
    """The rate after a fall is found with few refusals, so that they are few of all requests also where phases are short."""
    phases = [(120, per_minute) for _, per_minute in PHASES]
    for outcome in outcomes(lambda: TokenBucket(bucket_seconds), round_trip_seconds=0.004, phases=phases):
        assert outcome.refused_share <= 0.02
        assert outcome.per_minute(140, 240) >= 0.9 * 100


@pytest.mark.parametrize("window_seconds", [6, 10, 12, 20])
def test_window_that_changes_soon(window_seconds):
    """Of short phases with short windows, too, nine tenths are used from the twentieth second on."""
    phases = [(120, per_minute) for _, per_minute in PHASES]
    for outcome in outcomes(lambda: FixedWindow(window_seconds), round_trip_seconds=0.1, phases=phases):
        for begin, allowed in ((0, 600), (120, 100), (240, 600)):
            assert outcome.per_minute(begin + 20, begin + 120) >= 0.9 * allowed
        assert outcome.refused_share <= 0.03


@pytest.mark.parametrize("round_trip_seconds", [0.004, 0.1])
@pytest.mark.parametrize("window_seconds", [10, 60])
def test_window(window_seconds, round_trip_seconds):
    """Of windows that take 600, 100 and 600 a minute, nine tenths of each is used that begins after the twentieth second."""
    for outcome in outcomes(lambda: FixedWindow(window_seconds), round_trip_seconds=round_trip_seconds):
        for begin, allowed in ((0, 600), (180, 100), (360, 600)):
            begin_of_window = begin + (20 if window_seconds == 10 else 60)
            assert outcome.per_minute(begin_of_window, begin + 180) >= 0.9 * allowed
        assert outcome.refused_share <= 0.03
        assert outcome.too_early == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_first_window_is_used_up(seed):
    """A window is used to its end also where the run begins in it, and where its limit was just lifted."""
    outcome = simulate(Limiter(), FixedWindow(60), PHASES, seed=seed, round_trip_seconds=0.02, service_seconds=2)
    assert [round(outcome.per_minute(begin, begin + 60)) for begin in (0, 180, 360)] == [600, 100, 600]


def test_no_limit_is_no_brake():
    """Without a refusal the rate is soon beyond what a process can send."""
    outcome = simulate(
        Limiter(), TokenBucket(60), [(20, 60_000)], seed=1, round_trip_seconds=0.004, service_seconds=1, workers=500
    )
    assert outcome.per_minute(5, 20) > 0.9 * 500 * 60


def test_one_refusal_counts_once():
    """What was sent before the gate shut is the same news: the rate falls once."""
    limiter, other = Limiter(), Limiter()
    for each in (limiter, other):
        assert each.seconds_to_wait(0.0) == 0.0
    for _ in range(20):
        limiter.refused(0.1, sent_at=0.0, retry_after=2)
    other.refused(0.1, sent_at=0.0, retry_after=2)
    for each in (limiter, other):
        each.seconds_to_wait(3.0)
    assert limiter.requests_per_minute == other.requests_per_minute < 6000


def test_gate_is_the_longest():
    """Of several times that a server names the last one holds."""
    limiter = Limiter()
    for retry_after in (5, 30, 1):
        limiter.refused(0.0, sent_at=0.0, retry_after=retry_after)
    assert limiter.seconds_to_wait(0.0) == 30
    assert limiter.seconds_to_wait(29.0) == 1
    assert limiter.seconds_to_wait(30.0) == 0


def test_late_refusal_shuts_the_gate_again():
    """A refusal of a request from before the gate opened is waited for, and leaves the rate as it is."""
    limiter = Limiter()
    limiter.seconds_to_wait(0.0)
    limiter.refused(0.1, sent_at=0.0, retry_after=1)
    limiter.seconds_to_wait(1.2)
    rate = limiter.requests_per_minute
    limiter.refused(1.3, sent_at=0.0, retry_after=9)
    assert limiter.seconds_to_wait(1.3) == pytest.approx(9)
    assert limiter.requests_per_minute == rate


def test_pause_without_a_hint_doubles():
    """Where the server names no time, each refusal in a row doubles the pause, up to a minute."""
    limiter, now, pauses = Limiter(), 0.0, []
    for _ in range(9):
        now += limiter.seconds_to_wait(now)
        now += limiter.seconds_to_wait(now)
        limiter.refused(now, sent_at=now, retry_after=None)
        pauses.append(round(limiter.seconds_to_wait(now)))
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_hint_of_zero_is_not_believed():
    """A server that always says 0 seconds is not hammered."""
    limiter = Limiter()
    limiter.refused(0.0, sent_at=0.0, retry_after=0)
    assert limiter.seconds_to_wait(0.0) == 1


def test_cap_is_kept():
    """A cap holds from the first request on, however much the server would take."""
    outcome = simulate(
        Limiter(requests_per_minute=60), TokenBucket(60), [(120, 6000)], seed=1, round_trip_seconds=0.01, service_seconds=1
    )
    assert 118 <= len(outcome.accepted) <= 122


def test_idle_time_is_no_evidence():
    """A refusal after an hour in which nobody asked does not say that the limit is one an hour."""
    limiter = Limiter()
    for _ in range(20):
        limiter.seconds_to_wait(0.0)
        limiter.accepted(0.0)
    now = 3600.0
    for _ in range(100):
        now += limiter.seconds_to_wait(now) or 0.0
        limiter.accepted(now)
    limiter.refused(now, sent_at=now, retry_after=1)
    limiter.seconds_to_wait(now + 1)
    assert limiter.requests_per_minute > 1000


def test_allowance_is_spent_evenly():
    """Of 60 a minute the second is there after a second, and nothing is saved up."""
    allowance = Allowance(60)
    assert allowance.seconds_to_wait(0.0) == 0
    allowance.take(1)
    assert allowance.seconds_to_wait(0.0) == pytest.approx(1)
    assert allowance.seconds_to_wait(100.0) == 0
    allowance.take(1)
    assert allowance.seconds_to_wait(100.0) == pytest.approx(1, abs=0.01)


def test_allowance_is_corrected():
    """What was taken for more than it was is given back."""
    allowance = Allowance(600)
    allowance.seconds_to_wait(0.0)
    allowance.take(1000)
    allowance.take(-990)
    assert allowance.seconds_to_wait(0.0) == pytest.approx(1)
