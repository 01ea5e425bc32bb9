"""A server that any OpenAI client can use, with the key kept here: `OpenAI(base_url="http://127.0.0.1:8080/v1")`."""

import logging
from collections.abc import AsyncIterator
from typing import Any, Literal

from aiohttp import web
from pydantic import BaseModel, ValidationError

from or_stream import Client, ConfigurationError, RateLimited
from or_stream.relay.aiohttp_web import stream_response

CLIENT = web.AppKey("client", Client)


class ChatBody(BaseModel):
    """What an OpenAI client posts, as far as it is served here."""

    messages: list[dict[str, Any]]
    model: str | None = None
    stream: Literal[True]


async def open_client(app: web.Application) -> AsyncIterator[None]:
    async with Client() as client:
        app[CLIENT] = client
        yield


def error_text(error: Exception) -> str | None:
    """Words of our own for one kind of error; the others keep theirs."""
    return "So many guests today! Come back in a minute." if isinstance(error, RateLimited) else None


async def complete(request: web.Request) -> web.StreamResponse:
    try:
        body = ChatBody.model_validate_json(await request.read())
        stream = request.app[CLIENT].stream(body.messages, model=body.model)
    except (ValidationError, ConfigurationError) as error:
        raise web.HTTPBadRequest(text="ask with messages and stream=True") from error
    return await stream_response(request, stream, protocol="openai", error_text=error_text)


app = web.Application(client_max_size=32 * 2**20)
app.cleanup_ctx.append(open_client)
app.router.add_post("/v1/chat/completions", complete)

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    web.run_app(app, port=8080)
