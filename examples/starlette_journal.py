"""Starlette with a journal: what each answer was and cost is written down behind it, also where the browser left early."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.routing import Route

from or_stream import ChatStream, Client
from or_stream.relay.asgi import StreamResponse

JOURNAL = Path("journal.jsonl")


def note(prompt: str, stream: ChatStream) -> None:
    message = stream.message
    usage = message.usage.model_dump(mode="json", exclude_none=True) if message.usage else None
    entry = {"prompt": prompt, "status": stream.status, "id": stream.generation_id, "text": message.text, "usage": usage}
    with JOURNAL.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


async def chat(request: Request) -> StreamResponse:
    prompt = (await request.body()).decode()
    stream = request.app.state.client.stream(prompt)
    return StreamResponse(stream, background=BackgroundTask(note, prompt, stream))


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with Client() as app.state.client:
        yield


app = Starlette(routes=[Route("/api/chat", chat, methods=["POST"])], lifespan=lifespan)

if __name__ == "__main__":
    uvicorn.run(app)
