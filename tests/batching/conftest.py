"""A provider in a box, a client of it, and a batch that uses both."""

import pytest

from or_stream import Client
from or_stream.batching import batch
from or_stream.batching.pacing import _gate
from or_stream.emulator import Emulator, scenarios

KEY = "sk-or-v1-0123456789abcdef-not-a-real-key"


@pytest.fixture(autouse=True)
def _no_limiters():
    """A server of an earlier test may have had the same port."""
    _gate._limiters.clear()


@pytest.fixture
async def emulator():
    async with Emulator(scenario=scenarios.text("one two"), generation_delay_seconds=0) as running:
        yield running


@pytest.fixture
async def client(emulator):
    async with Client(api_key=KEY, base_url=emulator.base_url) as running:
        yield running


@pytest.fixture
def run(client):
    """`run(prompts, ...)`: a batch of that client."""

    def make(prompts, **options):
        return batch(prompts, **{"client": client, **options})

    return make
