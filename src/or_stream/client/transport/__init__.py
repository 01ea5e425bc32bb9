"""HTTP over aiohttp, the only place of the client that imports it: requests, bytes, foreign exceptions mapped."""

from or_stream.client.transport._answers import FOREIGN
from or_stream.client.transport._foreign_address import is_public, read_foreign_address
from or_stream.client.transport._response import Response
from or_stream.client.transport._session import Session, Transport

__all__ = ["FOREIGN", "Response", "Session", "Transport", "is_public", "read_foreign_address"]
