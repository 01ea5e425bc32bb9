"""Recordings served again: which one answers a request (`Replay`), and a server that does only that (`ReplayServer`)."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, Protocol
from urllib.parse import parse_qsl, urlencode

from aiohttp import web

from or_stream.emulator._http import Listener, Player
from or_stream.emulator._script import JSON_TYPE, Identity, Scenario, Send, dump
from or_stream.emulator._wire import error_body
from or_stream.emulator.recording._recording import (
    Pace,
    Recording,
    RequestHead,
    exchange_folders,
    read_body,
    read_head,
)
from or_stream.emulator.recording._scrubbing import PLACEHOLDER, Headers, Scrubber, scrubbed_query, secrets_of
from or_stream.errors import ConfigurationError

__all__ = ["Replay", "ReplayServer", "RequestKey"]

# What an application sets anew for each run, or that says who asks: no part of what is asked.
_IRRELEVANT: Final = frozenset({"metadata", "prompt_cache_key", "safety_identifier", "session_id", "trace", "user"})
_SCRUBBED: Final = re.compile(re.escape(PLACEHOLDER) + "{3,}")
_LISTED_AT_MOST: Final = 20


class Request(Protocol):
    """A request to be answered: a `RecordedRequest` of the emulator is one."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def query(self) -> Mapping[str, str]: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def raw(self) -> bytes: ...


class RequestKey(NamedTuple):
    """What of a request tells which recording answers it. `digest` is of the query and the body, less what does not matter."""

    method: str
    path: str
    model: str | None
    digest: str

    @classmethod
    def of(cls, head: RequestHead, body: bytes) -> "RequestKey":
        """The same for a request as it came and as it was recorded: secrets, their lengths and the order of keys are nothing."""
        scrubber = Scrubber(secrets_of(head.headers, head.query))
        query = sorted(parse_qsl(scrubbed_query(head.query, scrubber), keep_blank_values=True))
        scrubbed = scrubber.feed(body) + scrubber.finish()
        try:
            asked = json.loads(scrubbed)
        except (ValueError, RecursionError):
            asked = scrubbed.decode(errors="replace")
        model = asked.get("model") if isinstance(asked, dict) else None
        if isinstance(asked, dict):
            asked = {name: value for name, value in asked.items() if name not in _IRRELEVANT}
        text = _SCRUBBED.sub(PLACEHOLDER, json.dumps([query, asked], sort_keys=True))
        digest = hashlib.sha256(text.encode()).hexdigest()
        return cls(head.method, head.path.rstrip("/"), model if isinstance(model, str) else None, digest)

    def __str__(self) -> str:
        return f"{self.method} {self.path}" + (f" with model {self.model}" if self.model else "")


class Replay:
    """Answers requests from recordings: a folder of them, or some in memory. `Emulator(script=Replay("recordings"))`.

    A request gets the recording of the same request (method, path, query, body); of several, one after the other, and at the end
    the last again and again. Where there is none it gets the next one, in the order of recording, of the same method, path and
    model that has not been given yet, or the last of them. What matches nothing is a 404 that says what there is.

    Raises ConfigurationError where the folder has no recordings.
    """

    def __init__(self, recordings: str | Path | Iterable[Recording], *, pace: Pace = "recorded") -> None:
        self.pace: Pace = pace
        if isinstance(recordings, str | Path):
            self._shelf = _on_disk(Path(recordings))
        else:
            self._shelf = [_Entry(RequestKey.of(one.request, one.request_body), partial(_itself, one)) for one in recordings]

    def __call__(self, request: Request) -> Scenario:
        """The answer to this request, and count it as given."""
        head = RequestHead(request.method, request.path, urlencode(request.query), tuple(request.headers.items()))
        return self.answer(head, request.raw)

    def answer(self, head: RequestHead, body: bytes) -> Scenario:
        """The answer to this request, and count it as given."""
        key = RequestKey.of(head, body)
        recording = self.find(key)
        return self._missing(key) if recording is None else recording.scenario(self.pace)

    def find(self, key: RequestKey) -> Recording | None:
        """The next recording for such a request, counted as given; None where there is none."""
        same = [entry for entry in self._shelf if entry.key == key]
        alike = same or [entry for entry in self._shelf if entry.key[:3] == key[:3]]
        if not alike:
            return None
        chosen = next((entry for entry in alike if not entry.is_given), alike[-1])
        chosen.is_given = True
        return chosen.read()

    def _missing(self, key: RequestKey) -> Scenario:
        there = list(dict.fromkeys(str(entry.key) for entry in self._shelf))
        more = f" and {len(there) - _LISTED_AT_MOST} more" if len(there) > _LISTED_AT_MOST else ""
        message = f"no recording of {key}; recorded are: {'; '.join(there[:_LISTED_AT_MOST])}{more}"
        return Scenario((Send(dump(error_body(404, message))),), 404, JSON_TYPE, generation_header=False, name="no recording")


class _Entry:
    def __init__(self, key: RequestKey, read: Callable[[], Recording]) -> None:
        self.key, self.read = key, read
        self.is_given = False


def _itself(recording: Recording) -> Recording:
    return recording


def _on_disk(folder: Path) -> list[_Entry]:
    """The recordings of a folder. Their bodies are read when they are given."""
    shelf = [
        _Entry(RequestKey.of(read_head(path).request, read_body(path, "request")), partial(Recording.read, path))
        for path in exchange_folders(folder)
    ]
    if not shelf:
        raise ConfigurationError(f"there are no recordings in {folder}: make some with `or-stream emulate --record {folder}`")
    return shelf


class ReplayServer(Listener):
    """Serves recordings, and nothing else: whatever was asked, with whatever key.

        async with ReplayServer(Replay("recordings")) as server:
            client = Client(base_url=server.base_url, api_key="any")

    `on_end` is called with each request's path, what answered it and how many bytes of it were sent.
    """

    def __init__(
        self,
        replay: Replay,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        on_end: Callable[[str, Scenario, int], None] | None = None,
    ) -> None:
        super().__init__(host, port)
        self._replay = replay
        self._on_end = on_end

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        scenario = self._replay.answer(RequestHead(request.method, request.path, request.query_string, _headers(request)), body)
        player = Player(request, scenario, Identity())
        try:
            return await player.play()
        finally:
            if self._on_end is not None:
                self._on_end(f"{request.method} {request.path}", scenario, player.bytes_sent)


def _headers(request: web.Request) -> Headers:
    return tuple(request.headers.items())
