"""`OpenRouter`, the emulator in a thread: used from other threads and loops, as the tests of applications do."""

import asyncio
import json
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import ANY

import aiohttp
import pytest

from or_stream.emulator import FixedWindow, Scenario, Send, Signal, WaitFor, scenarios
from or_stream.emulator.testing import OpenRouter


@pytest.fixture
def openrouter():
    with OpenRouter() as running:
        yield running


def ask(openrouter, prompt="hi", path="/chat/completions", **body):
    """A blocking request, and the status and body of its answer."""
    whole = {"messages": [{"role": "user", "content": prompt}], "stream": True, **body}
    headers = {"Authorization": f"Bearer {openrouter.api_key}", "X-Title": "lamps"}
    request = urllib.request.Request(openrouter.base_url + path, json.dumps(whole).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def failure_of(call, *arguments, **options):
    with pytest.raises(AssertionError) as caught:
        call(*arguments, **options)
    return str(caught.value)


def test_it_starts_at_once():
    """In less than 50 ms by the processor's clock, once it has been imported."""
    with OpenRouter():
        pass
    started = time.process_time()
    with OpenRouter():
        pass
    assert time.process_time() - started < 0.05


def test_it_leaves_no_thread():
    """Also after an answer that was painted."""
    before = threading.active_count()
    with OpenRouter() as openrouter:
        assert ask(openrouter, "a boat", modalities=["image"])[0] == 200
    assert threading.active_count() == before


def test_it_can_be_started_again_and_closed_twice():
    """A second life knows nothing of the first."""
    openrouter = OpenRouter()
    for _ in range(2):
        openrouter.start()
        ask(openrouter)
        assert len(openrouter.requests) == 1
        openrouter.close()
        openrouter.close()
    assert len(openrouter.requests) == 1


def test_it_cannot_be_started_twice(openrouter):
    """One thread, one port."""
    with pytest.raises(RuntimeError, match="running already"):
        openrouter.start()


def test_there_is_nothing_before_the_start():
    """The error says what to do."""
    with pytest.raises(RuntimeError, match="with"):
        _ = OpenRouter().base_url


def test_what_is_wrong_with_the_options_is_raised_here(openrouter):
    """A wrong name, and a port that is taken."""
    with pytest.raises(TypeError, match="colour"):
        OpenRouter(colour="red").start()
    taken = OpenRouter(port=openrouter.emulator.port)
    with pytest.raises(OSError, match="in use"):
        taken.start()
    taken.close()


def test_two_runs_are_alike():
    """Ids follow from a seed, so that what a test sees it sees again."""
    answers = []
    for _ in range(2):
        with OpenRouter() as openrouter:
            answers.append(ask(openrouter))
    assert answers[0] == answers[1]


def test_what_is_played_is_answered(openrouter):
    """Once and in order; then what `scenario` and `script` say, then the assistant."""
    openrouter.play("refused-503", scenarios.replay(b"one"), times=2)
    assert [ask(openrouter)[0] for _ in range(4)] == [503, 200, 503, 200]
    openrouter.scenario = scenarios.replay(b"default")
    openrouter.script = lambda request: scenarios.replay(b"script") if request.model == "a/b" else None
    assert (ask(openrouter)[1], ask(openrouter, model="a/b")[1]) == (b"default", b"script")
    openrouter.scenario = openrouter.script = None
    assert b"emulator" in ask(openrouter)[1]


def test_a_script_may_look_around(openrouter):
    """It runs in the emulator's thread, where what it asks is answered at once."""
    openrouter.script = lambda request: scenarios.replay(str(len(openrouter.requests)).encode())
    assert [ask(openrouter)[1] for _ in range(2)] == [b"1", b"2"]


def test_a_gate_is_opened_from_the_test(openrouter):
    """A `Signal` holds an answer until the test has looked."""
    gate = Signal()
    openrouter.play(Scenario((Send(b"before "), WaitFor(gate), Send(b"after"))))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, openrouter)
        (request,) = openrouter.wait_for(1)
        assert not request.finished.is_set()
        gate.set()
        assert answer.result(10) == (200, b"before after")
    assert request.finished.block(10)


def test_limits_and_credit_can_be_set_at_any_time(openrouter):
    """The next request meets them."""
    openrouter.rate_limit = FixedWindow(requests=1, seconds=60)
    assert [ask(openrouter)[0] for _ in range(2)] == [200, 429]
    assert (openrouter.refused, openrouter.early, openrouter.refused_early) == (1, 0, 0)
    assert isinstance(openrouter.rate_limit, FixedWindow)
    openrouter.rate_limit, openrouter.credits = None, 0
    assert (ask(openrouter)[0], openrouter.credits) == (402, 0)


def test_the_bill_is_there_when_the_answer_is(openrouter):
    """Also in another thread than the one that wrote it."""
    for number in range(30):
        assert ask(openrouter)[0] == 200
        assert len(openrouter.bill) == number + 1
    assert openrouter.bill.total > 0


def test_many_threads_at_once(openrouter):
    """Thirty-two threads are served at the same time, each with its own."""
    gate = Signal()
    openrouter.script = lambda request: Scenario((WaitFor(gate), Send(request.body["messages"][0]["content"].encode())))
    with ThreadPoolExecutor(32) as pool:
        answers = [pool.submit(ask, openrouter, str(number)) for number in range(32)]
        openrouter.wait_for(32)
        assert openrouter.active == openrouter.peak_active == 32
        gate.set()
        assert [answer.result(10) for answer in answers] == [(200, str(number).encode()) for number in range(32)]


async def test_it_is_used_from_another_loop(openrouter):
    """Its signals can be awaited there."""
    openrouter.play("silence")
    url, headers = f"{openrouter.base_url}/chat/completions", {"Authorization": "Bearer k"}
    async with aiohttp.ClientSession(headers=headers) as session, session.post(url, json={"prompt": "hi"}):
        (request,) = await openrouter.received()
    async with asyncio.timeout(10):
        await request.disconnected.wait()
    assert request.closed_early


# What was requested


def test_the_last_request_is_the_last_generation(openrouter):
    """What was asked of the catalogue does not count."""
    assert failure_of(lambda: openrouter.last_request) == "nothing was requested"
    ask(openrouter, "a boat")
    urllib.request.urlopen(f"{openrouter.base_url}/models", timeout=10).close()
    assert openrouter.last_request.body["messages"][0]["content"] == "a boat"
    assert [request.path for request in openrouter.requests] == ["/api/v1/chat/completions", "/api/v1/models"]


def test_a_request_is_found_by_what_it_says(openrouter):
    """By keys, parts of objects, words of the prompt, headers, path, and how many there were."""
    ask(openrouter, "a boat", model="a/b", provider={"only": ["openai"], "zdr": True}, tools=[{"type": "function"}])
    ask(openrouter, "a lamp", model="a/b")
    ask(openrouter, path="/images", model="openai/gpt-image-2", prompt="an image of a lamp", resolution="512")
    assert openrouter.assert_requested(model="a/b") is openrouter.requests[1]
    assert openrouter.assert_requested(prompt="boat", provider={"zdr": True}, tools=[ANY], times=1) is openrouter.requests[0]
    openrouter.assert_requested(model="a/b", times=2)
    failure_of(openrouter.assert_requested, provider={"zdr": True, "only": ["azure"]})
    failure_of(openrouter.assert_requested, tools=[])
    openrouter.assert_requested(headers={"X-Title": "lamps"}, times=3)
    openrouter.assert_requested(path="/images", prompt="image of a lamp")
    openrouter.assert_requested(path="/chat/completions", prompt="lamp", times=1)


def test_a_failure_tells_what_was_requested(openrouter):
    """One line a request, with what differs; a key is not told."""
    ask(openrouter, "a boat " * 30, model="a/b", seed=3)
    ask(openrouter, "a lamp", model="a/b")
    text = failure_of(openrouter.assert_requested, model="a/c", prompt="lamp", seed=3, headers={"Authorization": "Bearer x"})
    assert text == (
        "no such request among 2: prompt='lamp', authorization='Bearer x', model='a/c', seed=3\n"
        "1. POST /chat/completions: prompt is 'a boat a boat a boat a boat a boat a boat a boat a boat a …; "
        "authorization is another; model is 'a/b'\n"
        "2. POST /chat/completions: authorization is another; model is 'a/b'; seed is (missing)"
    )


def test_too_many_or_too_few_is_a_failure(openrouter):
    """The failure says how many there were."""
    ask(openrouter)
    assert failure_of(openrouter.assert_requested, times=2) == (
        "1 like it, not 2, among 1: any\n1. POST /chat/completions: is one"
    )
    assert failure_of(openrouter.assert_requested, path="/images") == (
        "no such request among 1: path='/images'\n1. POST /chat/completions: path is '/chat/completions'"
    )


def test_what_must_not_be_requested(openrouter):
    """A failure lists the requests; `times=0` says what to use instead."""
    openrouter.assert_not_requested()
    assert failure_of(openrouter.assert_requested, model="a/b") == "no such request (nothing was requested): model='a/b'"
    ask(openrouter, model="a/b")
    openrouter.assert_not_requested(model="a/c")
    assert failure_of(openrouter.assert_not_requested, model="a/b") == (
        "1 like it, not 0, among 1: model='a/b'\n1. POST /chat/completions: is one"
    )
    with pytest.raises(ValueError, match="assert_not_requested"):
        openrouter.assert_requested(times=0)


def test_a_path_may_have_its_prefix(openrouter):
    """As it is in `request.path`."""
    ask(openrouter)
    assert openrouter.assert_requested(path=openrouter.last_request.path) is openrouter.last_request


def test_a_misspelt_scenario_is_told_at_once(openrouter):
    """And which ones are near."""
    with pytest.raises(ValueError, match=r"no scenario 'image_tiwns': perhaps 'image-twins'"):
        openrouter.play("image_tiwns")
    with pytest.raises(ValueError, match=r"names\(\)"):
        openrouter.scenario = "qqq"
    with pytest.raises(ValueError, match="no scenario"):
        OpenRouter(scenario="qqq").start()


def test_waiting_for_what_does_not_come_is_a_failure(openrouter):
    """It says how many came."""
    ask(openrouter)
    assert failure_of(openrouter.wait_for, 2, timeout_seconds=0.05) == "1 of 2 requests came in 0.05 seconds"
