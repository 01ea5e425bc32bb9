"""The fixture `openrouter`: an OpenRouter in a box for the tests of whoever has installed or_stream.

This module stands outside the package because pytest loads it in every run: it must not load or_stream, nor aiohttp, before a
test asks for the fixture.
"""

import os
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from or_stream.emulator.testing import OpenRouter

__all__ = ["openrouter", "pytest_configure"]


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "openrouter(**options): options of or_stream.emulator.Emulator for the fixture openrouter")


@pytest.fixture
def openrouter(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> "Iterator[OpenRouter]":
    """An emulator of OpenRouter on loopback; OPENROUTER_BASE_URL and OPENROUTER_API_KEY lead to it while the test runs."""
    marker = request.node.get_closest_marker("openrouter")
    testing = import_module("or_stream.emulator.testing")
    with testing.OpenRouter(**(marker.kwargs if marker else {})) as running:
        monkeypatch.setenv("OPENROUTER_BASE_URL", running.base_url)
        monkeypatch.setenv("OPENROUTER_API_KEY", running.api_key)
        for name in ("NO_PROXY", "no_proxy"):
            known = os.environ.get(name)
            monkeypatch.setenv(name, f"{known},127.0.0.1" if known else "127.0.0.1")
        yield running
