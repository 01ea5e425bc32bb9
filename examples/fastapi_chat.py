"""FastAPI behind `useChat` of the AI SDK: the whole conversation comes in, text and pictures go out as they are made."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import uvicorn
from fastapi import FastAPI, Request
from pydantic import BaseModel, Field

from or_stream import Client
from or_stream.relay.asgi import StreamResponse


class UIMessage(BaseModel):
    """A message as the AI SDK keeps it."""

    role: Literal["system", "user", "assistant"]
    parts: list[dict[str, Any]]

    def to_param(self) -> dict[str, Any]:
        """The same for OpenRouter."""
        text = "".join(part["text"] for part in self.parts if part["type"] == "text")
        urls = [part["url"] for part in self.parts if part["type"] == "file" and part["mediaType"].startswith("image/")]
        images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        if self.role == "assistant":
            return {"role": self.role, "content": text, **({"images": images} if images else {})}
        return {"role": self.role, "content": [{"type": "text", "text": text}, *images] if images else text}


class ChatBody(BaseModel):
    """What `useChat` posts, as far as it matters here."""

    messages: list[UIMessage] = Field(min_length=1)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with Client() as app.state.client:
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/api/chat")
async def chat(body: ChatBody, request: Request) -> StreamResponse:
    conversation = [message.to_param() for message in body.messages]
    return StreamResponse(request.app.state.client.stream(conversation), protocol="ui-message")


if __name__ == "__main__":
    uvicorn.run(app)
