r"""OpenRouter in a box: a real HTTP server on loopback that answers as the service does today.

    from or_stream.emulator import Emulator, scenarios

    async with Emulator() as emulator:
        client = Client(base_url=emulator.base_url, api_key="any")

It has chat completions and the Image API, streamed and in one piece, the catalogue of models, and /generation, /key and /credits,
which are read off its bill. With nothing said it is a plausible assistant, and refuses what the service refuses. `rate_limit`,
`credits` and `seed` are options; `text_delay_seconds` and `image_seconds` slow it down. docs/emulator.md describes all of it.

What is answered instead is a `Scenario`, found in this order:

1. the header `x-emulator-scenario: NAME`, or the model `emulator/NAME`, NAME one of `scenarios.names()`;
2. `emulator.play(scenario_or_name, ..., times=1)`: the next requests for a generation, one each, first come first served;
   `path="/models"` is for the next request there;
3. `script=` (or `emulator.script = `): a function of the request that returns a Scenario or None;
4. `scenario=`: the answer to all the rest.

`scenarios` has one function for each thing the wire has been seen to do. A scenario of one's own is data:

    from or_stream.emulator import Scenario, Comment, Chunk, Send, Done, Wait, WaitFor, Signal, Stall, Repeat, Close, Reset

    gate = Signal()
    emulator.play(Scenario((Comment(), Send(b'data: {"choices":[]}\n\n'), WaitFor(gate), Done())))
    emulator.play(scenarios.replay(recorded_bytes, pieces=recorded_lengths), scenarios.text("hi").cut(1, pace_seconds=0.01))
    scenarios.text("hi").body()                     # the bytes alone, for a parser, without a server
    scenarios.text().after(Wait(2))                 # the same answer, its status line two seconds late
    scenarios.text_and_images().broken(900, Close())    # and the connection closed after 900 bytes of it

What came is in `emulator.requests` (`RecordedRequest`); `await emulator.received(3)` waits for three; `emulator.active` and
`emulator.peak_active` count the answers under way. A client that has gone is noticed at once, except where the whole answer is
already in the socket's buffers. `emulator.bill` has what each generation cost; `refused`, `early` and `refused_early` count who
met the rate limit, and who did not wait.

For tests of applications `or_stream.emulator.testing` has the same in a thread of its own, and pytest the fixture `openrouter`.
`picture(prompt, width, height, byte_size=None)` is the painter on its own: a PNG, of an exact length if wanted.
"""

from or_stream.emulator import scenarios
from or_stream.emulator._bill import Bill, BillEntry
from or_stream.emulator._painting import data_url, picture
from or_stream.emulator._rate_limit import FixedWindow, RateLimit, TokenBucket
from or_stream.emulator._recorded import RecordedRequest, Signal
from or_stream.emulator._script import (
    Chunk,
    Close,
    Comment,
    Done,
    Event,
    Identity,
    Repeat,
    Reset,
    Scenario,
    Send,
    Stall,
    Step,
    Wait,
    WaitFor,
)
from or_stream.emulator._server import Emulator

__all__ = [
    "Bill",
    "BillEntry",
    "Chunk",
    "Close",
    "Comment",
    "Done",
    "Emulator",
    "Event",
    "FixedWindow",
    "Identity",
    "RateLimit",
    "RecordedRequest",
    "Repeat",
    "Reset",
    "Scenario",
    "Send",
    "Signal",
    "Stall",
    "Step",
    "TokenBucket",
    "Wait",
    "WaitFor",
    "data_url",
    "picture",
    "scenarios",
]
