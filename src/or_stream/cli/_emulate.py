"""`or-stream emulate`: the emulator as a server; also one that records real traffic, and one that serves recordings again."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Final

import typer

from or_stream.cli._outcome import run
from or_stream.cli.terminal import file_size, printable
from or_stream.emulator import Emulator, FixedWindow, RecordedRequest, Scenario, scenarios
from or_stream.emulator.recording import DEFAULT_UPSTREAM, Exchange, Pace, Recorder, Replay, ReplayServer
from or_stream.errors import ConfigurationError

__all__ = ["emulate"]

Server = Emulator | Recorder | ReplayServer

_OF_IMAGES: Final = frozenset(scenarios.names("images")) - set(scenarios.names())
_SCENARIOS: Final = sorted({*scenarios.names(), *_OF_IMAGES})
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
# Of the requests that came, with their bodies, so many are kept in memory: the emulator's own number is for tests.
_KEEP_REQUESTS: Final = 100
_ENDS: Final = {
    "complete": "",
    "cut": ", cut off by the server",
    "reset": ", reset by the server",
    "left": ", left by the client",
    "stopped": ", stopped here",
}


def _list_scenarios(wanted: bool) -> None:
    if wanted:
        width = max(map(len, _SCENARIOS))
        for name in _SCENARIOS:
            print(f"{name:{width}}  {_about(name)}")
        raise typer.Exit


def _about(name: str) -> str:
    """The first line of what is said of a scenario where it is written."""
    place, function = (scenarios.image_api, name.removeprefix("image-api-")) if name in _OF_IMAGES else (scenarios, name)
    told = getattr(getattr(place, function.replace("-", "_"), None), "__doc__", None)
    status = name.removeprefix("refused-")
    return told.partition("\n")[0] if told else f"HTTP {status}, as the service says it."


_Scenario = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Answer every request for a generation with this scenario.", show_default="an assistant"),
]
_Credits = Annotated[
    float | None,
    typer.Option(min=0, metavar="USD", help="What there is to spend; then it answers 402.", show_default="no end"),
]
_RateLimit = Annotated[
    str | None,
    typer.Option(metavar="N/SECONDS", help="So many requests in so many seconds; then it answers 429.", show_default="none"),
]
_Record = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Pass everything on to [bold]--upstream[/bold] and record it in this folder."),
]
_Pace = Annotated[str, typer.Option(help="Of a replay: [bold]recorded[/bold], [bold]none[/bold], or seconds between two pieces.")]


def emulate(
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0 takes a free port.")] = 8080,
    host: Annotated[
        str, typer.Option(help="The address to listen on. Others than loopback let other machines in.")
    ] = "127.0.0.1",
    scenario: _Scenario = None,
    listed: Annotated[
        bool, typer.Option("--list", callback=_list_scenarios, is_eager=True, help="Print the scenarios and exit.")
    ] = False,
    api_key: Annotated[str | None, typer.Option(help="Accept only this key.", show_default="any key")] = None,
    text_delay: Annotated[float, typer.Option(min=0, help="Seconds between two words of the assistant.")] = 0.0,
    image_seconds: Annotated[float, typer.Option(min=0, help="Seconds that a picture of the assistant takes.")] = 0.0,
    credits: _Credits = None,
    rate_limit: _RateLimit = None,
    record: _Record = None,
    upstream: Annotated[str, typer.Option(metavar="URL", help="The server to record.")] = DEFAULT_UPSTREAM,
    replay: Annotated[Path | None, typer.Option(metavar="DIR", help="Serve the recordings in this folder.")] = None,
    pace: _Pace = "recorded",
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="A line for each request also where standard error is no terminal.")
    ] = False,
) -> None:
    """Be OpenRouter, on this machine: no key, no cost.

    Its address goes to standard output: point any client of the API at it. Ctrl-C ends it, with exit code 130.
    The model [bold]emulator/NAME[/bold] asks for the scenario of that name.

    With [bold]--record DIR[/bold] it stands between any client and the service instead.
    It passes everything on as it comes, and keeps each exchange byte for byte, with the time of each piece.
    Keys, cookies, user and account ids are not kept. [bold]or-stream inspect[/bold] explains a recording.

    With [bold]--replay DIR[/bold] the same requests get the recorded answers again.
    A request that was not recorded gets the next recording of its path and model.
    """
    limit, known = _limit(rate_limit), _known(scenario)
    emulated = {"--scenario": scenario, "--api-key": api_key, "--credits": credits, "--rate-limit": rate_limit}
    _refuse_mixtures({"--record": record}, {"--replay": replay}, emulated)
    tell = _tell if verbose or sys.stderr.isatty() else _keep_silent

    def server() -> Server:
        if record is not None:
            secrets = filter(None, [os.environ.get("OPENROUTER_API_KEY")])
            return Recorder(record, upstream=upstream, host=host, port=port, secrets=secrets, on_end=_recorded(tell))
        if replay is not None:
            return ReplayServer(Replay(replay, pace=_pace(pace)), host=host, port=port, on_end=_replayed(tell))
        return Emulator(
            host=host,
            port=port,
            api_key=api_key,
            scenario=known,
            credits=credits,
            rate_limit=limit,
            text_delay_seconds=text_delay,
            image_seconds=image_seconds,
            keep_requests=_KEEP_REQUESTS,
        )

    run(lambda: _serve(server(), tell))


async def _serve(server: Server, tell: Callable[[str], None]) -> None:
    """Listen until interrupted."""
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(server)
        except OSError as error:
            raise ConfigurationError(f"cannot listen on {server.host} port {server.port}: {error.strerror or error}") from error
        _say_where(server)
        if isinstance(server, Emulator):
            await _follow(server, tell)
        else:
            await asyncio.Event().wait()


def _say_where(server: Server) -> None:
    address = server.base_url
    print(address, flush=True)
    key = "..." if isinstance(server, Recorder) else "any"
    lines = [
        f"  export OPENROUTER_BASE_URL={address} OPENROUTER_API_KEY={key}    # or-stream",
        f'  OpenAI(base_url="{address}", api_key="{key}")    # openai-python; others in their own way',
        "Ctrl-C ends it.",
    ]
    if server.host not in _LOOPBACK:
        lines.append(f"Whoever can reach {server.host} can use it.")
    for line in lines:
        _tell(line)


async def _follow(emulator: Emulator, tell: Callable[[str], None]) -> None:
    """A line for each request, when its answer has ended."""
    async with asyncio.TaskGroup() as answers:
        async for request in _arrivals(emulator):
            answers.create_task(_tell_end(request, tell))


async def _arrivals(emulator: Emulator) -> AsyncIterator[RecordedRequest]:
    last: RecordedRequest | None = None
    seen = 0
    while True:
        requests = list(await emulator.received(seen + 1))
        # Where more have come than are kept, the oldest go untold.
        new = requests[requests.index(last) + 1 :] if last is not None and last in requests else requests
        seen += max(1, len(new))
        for request in new:
            last = request
            yield request


async def _tell_end(request: RecordedRequest, tell: Callable[[str], None]) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in (request.finished, request.disconnected)]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    left = _ENDS["left"] if request.closed_early else ""
    tell(f"{request.method} {request.path} · {request.scenario or 'answered'} · {file_size(request.bytes_sent)}{left}")


def _recorded(tell: Callable[[str], None]) -> Callable[[Exchange], None]:
    def end(exchange: Exchange) -> None:
        status = f"HTTP {exchange.answered.status}" if exchange.answered else "no answer"
        how = _ENDS[exchange.ended or "stopped"]
        tell(f"{exchange.name} · {status} · {file_size(exchange.received_bytes)} in {exchange.seconds:.1f} s{how}")
        if exchange.failure:
            _tell(f"{exchange.path} could not be recorded: {exchange.failure}")

    return end


def _replayed(tell: Callable[[str], None]) -> Callable[[str, Scenario, int], None]:
    return lambda request, scenario, size: tell(f"{request} · {scenario.name} · {file_size(size)}")


def _tell(line: str) -> None:
    print(printable(line), file=sys.stderr, flush=True)


def _keep_silent(_line: str) -> None:
    pass


def _pace(text: str) -> Pace:
    if text in ("recorded", "none"):
        return text  # type: ignore[return-value]  # mypy does not narrow a str to its literals
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise typer.BadParameter(f"{text!r} is neither `recorded` nor `none` nor a number of seconds", param_hint="--pace")
    return seconds


def _refuse_mixtures(*servers: Mapping[str, object]) -> None:
    """Refuse options of more than one of the servers."""
    given = [name for options in servers for name in [name for name, value in options.items() if value is not None][:1]]
    if len(given) > 1:
        raise typer.BadParameter(f"{given[0]} does not go with {given[1]}: start a server for each")


def _limit(text: str | None) -> FixedWindow | None:
    if text is None:
        return None
    requests, _, seconds = text.partition("/")
    try:
        return FixedWindow(requests=int(requests), seconds=float(seconds))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not like 60/60: requests, and seconds", param_hint="--rate-limit") from None


def _known(scenario: str | None) -> str | None:
    try:
        if scenario is not None:
            scenarios.by_name(scenario)
    except ValueError as error:
        raise typer.BadParameter(f"{error} --list shows them all.", param_hint="--scenario") from None
    return scenario
