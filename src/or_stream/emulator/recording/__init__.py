"""Traffic recorded and served again, byte for byte and at its own time. See `or-stream emulate --help` for the same as a command.

    async with Recorder("recordings", upstream="https://openrouter.ai/api/v1") as recorder:
        ...                                         # any client of any language, its base URL being recorder.base_url

    async with ReplayServer(Replay("recordings")) as server: ...      # the same answers, for whoever asks the same
    async with Emulator(script=Replay("recordings", pace="none")) as emulator: ...
    emulator.play(Recording.read("recordings/000001-post-chat-completions").scenario())

A recording is a folder: what was said and when, a JSON object a line, and the two bodies as files of their own, so that they are
byte-exact and every tool can read them. Keys, cookies, user and account ids are `*` in it, in equal number, wherever they stood.
"""

from or_stream.emulator.recording._recorder import DEFAULT_UPSTREAM, Recorder
from or_stream.emulator.recording._recording import (
    Answer,
    End,
    Pace,
    Piece,
    Recording,
    RequestHead,
    exchange_folders,
    read_head,
    read_pieces,
)
from or_stream.emulator.recording._replay import Replay, ReplayServer
from or_stream.emulator.recording._writing import Exchange

__all__ = [
    "DEFAULT_UPSTREAM",
    "Answer",
    "End",
    "Exchange",
    "Pace",
    "Piece",
    "Recorder",
    "Recording",
    "Replay",
    "ReplayServer",
    "RequestHead",
    "exchange_folders",
    "read_head",
    "read_pieces",
]
