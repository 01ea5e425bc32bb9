"""A provider in a box and a client of it."""

import pytest

from or_stream import Client, RetryPolicy

KEY = "sk-or-v1-0123456789abcdef-not-a-real-key"


@pytest.fixture
async def client(emulator):
    """Retries at once."""
    async with Client(api_key=KEY, base_url=emulator.base_url, retry=RetryPolicy(base_seconds=0)) as running:
        yield running


@pytest.fixture
def client_of():
    """`client_of(server)`: a client of a raw server, which sends each request once unless told otherwise."""

    def make(server, **options):
        return Client(**{"api_key": KEY, "base_url": server.base_url, "retry": RetryPolicy(attempts=1), **options})

    return make


@pytest.fixture
def key():
    return KEY
