"""A provider in a box, a client of it, and a conversation that keeps its pictures in a folder."""

import pytest

from or_stream import Client, Conversation, RetryPolicy


@pytest.fixture
async def client(emulator):
    """Sends each request once."""
    async with Client(api_key="sk-or-v1-a-key", base_url=emulator.base_url, retry=RetryPolicy(attempts=1)) as running:
        yield running


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "pictures"


@pytest.fixture
def conversation(client, folder):
    return Conversation(client=client, save_to=folder)
