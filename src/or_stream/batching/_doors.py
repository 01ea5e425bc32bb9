"""What a batch needs of the client that other code has no use for."""

import os

from or_stream import client as _client
from or_stream.client import DEFAULT_BASE_URL, Client

__all__ = ["account_of", "seconds_before_retry"]

seconds_before_retry = _client._retry.seconds_before_retry  # noqa: SLF001  # the same decision as for one stream


def account_of(client: Client | None) -> str:
    """Address and key: what the limits of the service go by. None is the client that the environment describes."""
    if client is None:
        address, key = os.environ.get("OPENROUTER_BASE_URL") or DEFAULT_BASE_URL, os.environ.get("OPENROUTER_API_KEY") or ""
    else:
        address, key = client._base_url, client._api_key  # noqa: SLF001  # only a digest of it is kept
    return f"{address.rstrip('/')} {key.strip()!s}"
