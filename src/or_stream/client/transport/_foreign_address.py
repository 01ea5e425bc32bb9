"""A GET of an address that somebody else chose: no key, no cookies, no private network, whatever the name resolves to."""

import errno
import ipaddress
import socket
from collections.abc import Callable
from typing import Any, Final

import aiohttp
from yarl import URL

from or_stream.client.transport._answers import MappedErrors, status_error
from or_stream.errors import ConfigurationError, OrStreamError, ProtocolViolation
from or_stream.protocol import redact

__all__ = ["is_public", "read_foreign_address"]

_MAX_REDIRECTS: Final = 5
_MAX_ERROR_BODY_BYTES: Final = 2**12
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
# A body that is no picture as it comes is none: nothing is decompressed.
_HEADERS: Final = {"Accept": "image/*", "Accept-Encoding": "identity"}
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: the last four bytes are an IPv4 address


async def read_foreign_address(address: str, take: Callable[[bytes], None], *, may_connect: Callable[[str], bool]) -> None:
    """Hand the body at an http address to `take`, piece by piece. What `take` raises ends it.

    `may_connect` is asked about each IP address at the moment a socket for it is made, so that neither a redirect nor a name that
    resolves differently the second time leads around it. A proxy would resolve names itself: none is used. Raises an
    APIStatusError for an answer that says no, ProtocolViolation for an address that must not be fetched.
    """
    refused: list[str] = []

    def socket_for(info: Any) -> socket.socket:
        family, kind, protocol, _, (host, *_) = info
        if not may_connect(host):
            refused.append(host)
            raise OSError(errno.EACCES, "not a public address")
        return socket.socket(family, kind, protocol)

    connector = aiohttp.TCPConnector(socket_factory=socket_for)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False) as session:
        try:
            await _follow(session, address, take)
        except ConfigurationError as error:
            raise _not_fetched(address, "it is no http address") from error
        except OrStreamError as error:
            if refused:
                raise _not_fetched(address, f"it leads to {refused[-1]}, which is no public address") from error
            raise


async def _follow(session: aiohttp.ClientSession, first: str, take: Callable[[bytes], None]) -> None:
    address = first
    for _ in range(_MAX_REDIRECTS + 1):
        if not address.lower().startswith(("http://", "https://")):
            raise _not_fetched(first, "it is no http address")
        with MappedErrors(before_response=True):
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=None, sock_read=None)
            async with session.get(address, headers=_HEADERS, timeout=timeout, allow_redirects=False) as response:
                if response.status in _REDIRECTS:
                    address = str(response.url.join(URL(response.headers.get("Location", ""))))
                elif response.status != 200:
                    body = await response.content.read(_MAX_ERROR_BODY_BYTES)
                    raise status_error(response.status, response.headers, body)
                else:
                    async for data in response.content.iter_any():
                        take(data)
                    return
    raise _not_fetched(first, f"it redirects more than {_MAX_REDIRECTS} times")


def _not_fetched(address: str, why: str) -> ProtocolViolation:
    return ProtocolViolation(f"the address {redact(address[:80])!r} is not fetched: {why}")


def is_public(address: str) -> bool:
    """Whether an IP address is one of the Internet at large, and so is the IPv4 address that it may carry."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        embedded = ip.ipv4_mapped or ip.sixtofour or (ip.teredo or (None, None))[1]
        if ip in _NAT64:
            embedded = ipaddress.IPv4Address(ip.packed[-4:])
        if embedded is not None:
            return is_public(str(embedded))
        if ip.is_site_local:
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved
