"""The emulator for tests of applications: in a thread of its own, so that it serves whatever loop or thread the test runs in.

The pytest fixture `openrouter` is one of these. It comes with the package, needs no configuration, and sets OPENROUTER_BASE_URL
and OPENROUTER_API_KEY for the time of the test:

    def test_poster(openrouter, client):                          # client: a TestClient of an application of one's own
        openrouter.play("text-and-images")
        assert client.post("/posters", json={"about": "a boat"}).status_code == 200
        openrouter.assert_requested(model="google/gemini-3.1-flash-image", prompt="a boat", times=1)

`@pytest.mark.openrouter(credits=0.5, text_delay_seconds=0.01)` hands options to the `Emulator`. Without pytest it is a context
manager: `with OpenRouter() as openrouter: ...`. Everything it has may be used from any thread.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self, TypeVar

from or_stream.emulator._bill import Bill
from or_stream.emulator._endpoints import prompt_of
from or_stream.emulator._rate_limit import RateLimit
from or_stream.emulator._recorded import RecordedRequest, Signal
from or_stream.emulator._script import Scenario
from or_stream.emulator._server import Emulator, Script

__all__ = ["OpenRouter"]

_START_SECONDS_AT_MOST = 10.0
_PREFIX = "/api/v1"
_SHOWN_CHARACTERS = 60
_MISSING = "(missing)"

_T = TypeVar("_T")


class OpenRouter:
    """An `Emulator` in a thread. `options` are those of the Emulator, but that its seed is 0 unless told otherwise."""

    def __init__(self, **options: Any) -> None:
        self.api_key: str = "sk-or-v1-emulated"
        self._options: dict[str, Any] = {"seed": 0, **options}
        self._thread: threading.Thread | None = None
        self._emulator: Emulator | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = Signal()

    def start(self) -> None:
        """Listen; once it returns, requests are answered. Raises what the emulator raises."""
        if self._thread is not None:
            raise RuntimeError("it is running already")
        started: Future[None] = Future()
        self._emulator, self._stop = Emulator(**self._options), Signal()
        self._thread = threading.Thread(target=self._run, args=(started,), name="or-stream-emulator-server", daemon=True)
        self._thread.start()
        try:
            started.result(_START_SECONDS_AT_MOST)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop, and drop every connection. May be called twice. What was requested stays to be looked at."""
        thread, self._thread = self._thread, None
        self._stop.set()
        if thread is not None:
            thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def _run(self, started: "Future[None]") -> None:
        # Not the loop of the policy, which may be one that somebody has patched, or that has no sockets of its own to reset.
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(self._serve(started))

    async def _serve(self, started: "Future[None]") -> None:
        try:
            await self.emulator.start()
        except OSError as error:
            started.set_exception(error)
            return
        self._loop = asyncio.get_running_loop()
        started.set_result(None)
        await self._stop.wait()
        await self.emulator.aclose()

    # What it answers

    @property
    def emulator(self) -> Emulator:
        """The emulator itself. Only what this class offers of it may be used outside its thread. RuntimeError before `start`."""
        if self._emulator is None:
            raise RuntimeError("it is not running: enter it with `with`, or call start()")
        return self._emulator

    @property
    def base_url(self) -> str:
        """The address, for `base_url=` of a client."""
        return self.emulator.base_url

    def play(self, *played: Scenario | str, times: int = 1, path: str | None = None) -> None:
        """Answer the next requests with these: see `Emulator.play`."""
        self._in_its_thread(lambda: self.emulator.play(*played, times=times, path=path))

    @property
    def scenario(self) -> Scenario | str | None:
        """What is answered where nothing else is asked for; None is the assistant."""
        return self.emulator.scenario

    @scenario.setter
    def scenario(self, scenario: Scenario | str | None) -> None:
        self.emulator.scenario = scenario

    @property
    def script(self) -> Script | None:
        """A function of each request that has no answer yet. It is called in the emulator's thread."""
        return self.emulator.script

    @script.setter
    def script(self, script: Script | None) -> None:
        self.emulator.script = script

    @property
    def rate_limit(self) -> RateLimit | None:
        """A `FixedWindow` or a `TokenBucket`."""
        return self.emulator.rate_limit

    @rate_limit.setter
    def rate_limit(self, rate_limit: RateLimit | None) -> None:
        self.emulator.rate_limit = rate_limit

    @property
    def credits(self) -> float | None:
        """USD there are to spend, None for no end of them."""
        return self.emulator.credits

    @credits.setter  # noqa: A003
    def credits(self, usd: float | None) -> None:
        self.emulator.credits = usd

    # What came

    @property
    def requests(self) -> list[RecordedRequest]:
        """All that came, in order."""
        return self._in_its_thread(lambda: list(self.emulator.requests))

    @property
    def generations(self) -> list[RecordedRequest]:
        """Those that were for a generation, and not for the catalogue, the bill or the key."""
        return [request for request in self.requests if request.method == "POST"]

    @property
    def last_request(self) -> RecordedRequest:
        """The last request for a generation. AssertionError where there was none."""
        __tracebackhide__ = True
        if not self.generations:
            raise AssertionError("nothing was requested")
        return self.generations[-1]

    @property
    def bill(self) -> Bill:
        """What was made, and what it cost."""
        return self.emulator.bill

    @property
    def refused(self) -> int:
        """How many requests the rate limit refused."""
        return self.emulator.refused

    @property
    def early(self) -> int:
        """How many requests came before the Retry-After of a 429 was over."""
        return self.emulator.early

    @property
    def refused_early(self) -> int:
        """Those of `early` that were refused again."""
        return self.emulator.refused_early

    @property
    def active(self) -> int:
        """How many answers are under way."""
        return self.emulator.active

    @property
    def peak_active(self) -> int:
        """How many answers were under way at the same time, at most."""
        return self.emulator.peak_active

    def wait_for(self, count: int = 1, timeout_seconds: float = 10.0) -> list[RecordedRequest]:
        """Hold this thread until that many requests have come, and return them. AssertionError where they do not."""
        __tracebackhide__ = True
        try:
            return self._arrivals(count).result(timeout_seconds)
        except TimeoutError:
            raise AssertionError(f"{len(self.requests)} of {count} requests came in {timeout_seconds} seconds") from None

    async def received(self, count: int = 1) -> list[RecordedRequest]:
        """Wait until that many requests have come, and return them."""
        return await asyncio.wrap_future(self._arrivals(count))

    def assert_requested(
        self,
        *,
        times: int | None = None,
        path: str | None = None,
        prompt: str | None = None,
        headers: Mapping[str, Any] | None = None,
        **body: Any,
    ) -> RecordedRequest:
        """Assert that there was such a request, exactly `times` where given, and return the last one.

        `body` are keys of its JSON; of an object only the keys given are compared, and `unittest.mock.ANY` stands for anything.
        `prompt` is in the text of the last thing the user said, or of an image's prompt. `path` is like "/chat/completions".
        """
        __tracebackhide__ = True
        if times == 0:
            raise ValueError("times counts from one: assert_not_requested asserts that there was none")
        wanted = _Wanted(path, prompt, headers or {}, body)
        candidates, found = self._candidates(wanted)
        if not found:
            raise AssertionError(wanted.failure("no such request", candidates))
        if times not in (None, len(found)):
            raise AssertionError(wanted.failure(f"{len(found)} like it, not {times},", candidates))
        return found[-1]

    def assert_not_requested(
        self, *, path: str | None = None, prompt: str | None = None, headers: Mapping[str, Any] | None = None, **body: Any
    ) -> None:
        """Assert that there was no such request; the arguments are those of `assert_requested`."""
        __tracebackhide__ = True
        wanted = _Wanted(path, prompt, headers or {}, body)
        candidates, found = self._candidates(wanted)
        if found:
            raise AssertionError(wanted.failure(f"{len(found)} like it, not 0,", candidates))

    def _candidates(self, wanted: "_Wanted") -> tuple[list[RecordedRequest], list[RecordedRequest]]:
        """(all requests that are looked at, those of them that are like that)."""
        candidates = self.generations if wanted.path is None else self.requests
        return candidates, [request for request in candidates if not wanted.differences(request)]

    def _arrivals(self, count: int) -> "Future[list[RecordedRequest]]":
        assert self._loop is not None, "it is not running"
        return asyncio.run_coroutine_threadsafe(self.emulator.received(count), self._loop)

    def _in_its_thread(self, call: Callable[[], _T]) -> _T:
        """The result of a call in the emulator's thread; a direct one where it is there already, or has ended."""
        thread = self._thread
        if self._loop is None or thread is None or thread is threading.current_thread():
            return call()

        async def called() -> _T:
            return call()

        return asyncio.run_coroutine_threadsafe(called(), self._loop).result(_START_SECONDS_AT_MOST)


class _Wanted:
    """What a request should be like, and how it differs from that."""

    def __init__(self, path: str | None, prompt: str | None, headers: Mapping[str, Any], body: Mapping[str, Any]) -> None:
        self.path, self.prompt, self.body = path if path is None else path.removeprefix(_PREFIX), prompt, body
        self.headers = {name.lower(): value for name, value in headers.items()}

    def __str__(self) -> str:
        parts = [f"{name}={value!r}" for name, value in (("path", self.path), ("prompt", self.prompt)) if value is not None]
        return ", ".join([*parts, *(f"{name}={_short(value)}" for name, value in {**self.headers, **self.body}.items())]) or "any"

    def failure(self, what: str, candidates: list[RecordedRequest]) -> str:
        """What is told where it is not as it should be: a line for each request."""
        came = f"among {len(candidates)}" if candidates else "(nothing was requested)"
        seen = [f"{number}. {self._told(request)}" for number, request in enumerate(candidates, 1)]
        return "\n".join([f"{what} {came}: {self}", *seen])

    def _told(self, request: RecordedRequest) -> str:
        differences = "; ".join(self.differences(request)) or "is one"
        return f"{request.method} {request.path.removeprefix(_PREFIX)}: {differences}"

    def differences(self, request: RecordedRequest) -> list[str]:
        body = request.body if isinstance(request.body, dict) else {}
        found = []
        if self.path is not None and request.path.removeprefix(_PREFIX) != self.path:
            found.append(f"path is {request.path.removeprefix(_PREFIX)!r}")
        if self.prompt is not None and self.prompt not in (said := prompt_of(body)):
            found.append(f"prompt is {_short(said)}")
        for name, wanted in self.headers.items():
            value = request.headers.get(name, _MISSING)
            if not _fits(wanted, value):  # a key stays out of the log of a failed test
                found.append(f"{name} is {'another' if name == 'authorization' else _short(value)}")
        actual = [(name, wanted, body.get(name, _MISSING)) for name, wanted in self.body.items()]
        return found + [f"{name} is {_short(value)}" for name, wanted, value in actual if not _fits(wanted, value)]


def _fits(wanted: Any, value: Any) -> bool:
    """Equal, but that an object may have more keys."""
    if isinstance(wanted, Mapping) and isinstance(value, Mapping):
        return all(name in value and _fits(inner, value[name]) for name, inner in wanted.items())
    if isinstance(wanted, list | tuple) and isinstance(value, list | tuple):
        return len(wanted) == len(value) and all(map(_fits, wanted, value))
    return bool(wanted == value)


def _short(value: Any) -> str:
    shown = value if value is _MISSING else repr(value)
    return shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[: _SHOWN_CHARACTERS - 1]}…"
