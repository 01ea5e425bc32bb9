r"""OpenRouter in a box: a real HTTP server on loopback that answers `/api/v1/chat/completions` as the service does today.

    from or_stream.emulator import Emulator, scenarios

    async with Emulator() as emulator:
        client = Client(base_url=emulator.base_url, api_key="any")

With nothing said it is a plausible assistant: it talks a word at a time, paints as many pictures as the prompt names where
`modalities` has "image" (`image_config` gives their size), streams or answers whole, and refuses what the service refuses: no
key, no JSON, no messages, wrong types, `text` from a model that only paints. `text_delay_seconds` and `image_seconds` slow it
down.

What it answers instead is a `Scenario`, found in this order:

1. the header `x-emulator-scenario: NAME`, or the model `emulator/NAME`, NAME one of `scenarios.names()`;
2. `emulator.play(scenario_or_name, ..., times=1)`: the next requests, one each, first come first served;
3. `script=` (or `emulator.script = `): a function of the request that returns a Scenario or None;
4. `scenario=`: the answer to all the rest.

`scenarios` has one function for each thing the wire has been seen to do. A scenario of one's own is data:

    from or_stream.emulator import Scenario, Comment, Chunk, Send, Done, Wait, WaitFor, Stall, Repeat, Close, Reset

    gate = asyncio.Event()
    emulator.play(Scenario((Comment(), Send(b'data: {"choices":[]}\n\n'), WaitFor(gate), Done())))
    emulator.play(scenarios.replay(recorded_bytes, pieces=recorded_lengths), scenarios.text("hi").cut(1, pace_seconds=0.01))
    scenarios.text("hi").body()                     # the bytes alone, for a parser, without a server
    scenarios.text().after(Wait(2))                 # the same answer, its status line two seconds late

What came is in `emulator.requests` (`RecordedRequest`: method, path, query, headers, raw, body, received_seconds, generation_id,
scenario, bytes_sent, closed_early, and the events `finished` and `disconnected`); `await emulator.received(3)` waits for three;
`emulator.active` and `emulator.peak_active` count the answers under way. A client that has gone is noticed at once, except where
the whole answer is already in the socket's buffers.

`picture(prompt, width, height, byte_size=None)` is the painter on its own: a PNG, of an exact length if wanted. Other endpoints
answer 404 in the service's shape.
"""

from or_stream.emulator import scenarios
from or_stream.emulator._pictures import data_url, picture
from or_stream.emulator._script import (
    Chunk,
    Close,
    Comment,
    Done,
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
from or_stream.emulator._server import Emulator, RecordedRequest

__all__ = [
    "Chunk",
    "Close",
    "Comment",
    "Done",
    "Emulator",
    "Identity",
    "RecordedRequest",
    "Repeat",
    "Reset",
    "Scenario",
    "Send",
    "Stall",
    "Step",
    "Wait",
    "WaitFor",
    "data_url",
    "picture",
    "scenarios",
]
