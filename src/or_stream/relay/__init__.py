"""Events -> browsers: one line from a stream to a web response.

    events ──▶ _frames ──▶ _relay ──▶ asgi, aiohttp_web          errors ──▶ _failure: what may be shown of them
                  images: pictures by address ──▶ _image_answer

`or_stream.relay.asgi.StreamResponse` is for FastAPI, Starlette, Litestar and any other ASGI framework,
`or_stream.relay.aiohttp_web.stream_response` for aiohttp.web. Both relay any async iterable of events.
"""

from or_stream.relay._failure import Failure, failure_of
from or_stream.relay.images import ImageStore

__all__ = ["Failure", "ImageStore", "failure_of"]
