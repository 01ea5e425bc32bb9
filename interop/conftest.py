"""What holds for every counterparty: nothing of the outside's environment reaches a test, and the emulator is behind it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trustme

from or_stream import Client, RetryPolicy, Timeouts
from or_stream.emulator import Emulator

_FROM_OUTSIDE = ("OPENROUTER_API_KEY", "OPENROUTER_BASE_URL", "OR_STREAM_MODEL")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known: what has it is left out by `make interop` and run by `make interop-all`."""
    config.addinivalue_line("markers", "long: takes too long, or is too unsteady, for every run of the continuous integration")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*_FROM_OUTSIDE, *_PROXIES, *(name.upper() for name in _PROXIES)):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator() as started:
        yield started


class Clients:
    """Makes clients that ask once, and closes them."""

    def __init__(self) -> None:
        self._made: list[Client] = []

    def __call__(self, address: str, **options: object) -> Client:
        """A client of the API at `address`, without retries unless `retry` is given."""
        once = {"retry": RetryPolicy(attempts=1), "timeouts": Timeouts(connect=10, first_content=20, idle=20, total=60)}
        client = Client(base_url=f"{address}/api/v1", api_key="sk-or-v1-interop", **{**once, **options})  # type: ignore[arg-type]
        self._made.append(client)
        return client

    async def aclose(self) -> None:
        for client in self._made:
            await client.aclose()


@pytest.fixture
async def client_of() -> AsyncIterator[Clients]:
    clients = Clients()
    yield clients
    await clients.aclose()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A certificate authority that nobody trusts unless told to."""
    return trustme.CA()


@pytest.fixture(scope="session")
def certificate(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The key and certificate of 127.0.0.1 in one file."""
    path = tmp_path_factory.mktemp("certificate") / "server.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(path))
    yield path
    path.unlink()
