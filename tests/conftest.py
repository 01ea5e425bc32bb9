"""What holds for every test: nothing from the outside reaches it."""

import os
from unittest.mock import Mock

import aiohttp
import aioresponses.core
import pytest
from hypothesis import settings

from or_stream.emulator import Emulator

# A loaded machine is slow, not wrong; on CI the same examples every time.
settings.register_profile("or_stream", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("or_stream")

# aiohttp 3.14 gave ClientResponse a required argument that aioresponses 0.7.9 does not pass.
if tuple(int(part) for part in aiohttp.__version__.split(".")[:2]) >= (3, 14):

    class _ClientResponse(aiohttp.ClientResponse):
        def __init__(self, *arguments, **options):
            options.setdefault("stream_writer", Mock(output_size=0))
            super().__init__(*arguments, **options)

    aioresponses.core.ClientResponse = _ClientResponse

_FROM_OUTSIDE = ("OPENROUTER_API_KEY", "OPENROUTER_BASE_URL", "OR_STREAM_MODEL", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    """No test finds a real key, the address of the real service, or a proxy."""
    for name in _FROM_OUTSIDE:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
async def emulator():
    """A provider in a box, where a module needs none of its own kind."""
    async with Emulator() as running:
        yield running
