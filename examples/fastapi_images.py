"""A picture generator: the browser paints each picture while it is being made, and fetches it from an address of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse

from or_stream import Client
from or_stream.relay import ImageStore
from or_stream.relay.asgi import StreamResponse

PAGE = """<!doctype html><meta charset="utf-8"><title>Pictures</title>
<style>img { display: block; max-width: 100% }</style>
<form><input name="prompt" value="A lighthouse at dusk"> <button>Draw</button></form><p></p>
<script>
  const output = document.querySelector("p");
  document.querySelector("form").onsubmit = submitted => {
    submitted.preventDefault();
    output.replaceChildren();
    const source = new EventSource("/draw?" + new URLSearchParams(new FormData(submitted.target)));
    source.addEventListener("text_delta", event => output.append(JSON.parse(event.data).text));
    source.addEventListener("image_start", event => {
      const url = JSON.parse(event.data).url;
      if (url) output.append(Object.assign(new Image(), { src: url }));  // painted while it arrives
    });
    source.addEventListener("stream_end", () => source.close());
    source.addEventListener("error", event => {
      source.close();  // or it would ask, and pay, again
      output.append(" [" + (event.data ? JSON.parse(event.data).text : "The service did not answer.") + "]");
    });
  };
</script>"""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with Client() as app.state.client:
        yield


app = FastAPI(lifespan=lifespan)
store = ImageStore("/pictures", max_bytes=512 * 2**20)
app.mount("/pictures", store.asgi_app)


@app.get("/", response_class=HTMLResponse)
async def page() -> str:
    return PAGE


@app.get("/draw")
async def draw(prompt: str, request: Request) -> StreamResponse:
    return StreamResponse(request.app.state.client.stream(prompt), images=store)


if __name__ == "__main__":
    uvicorn.run(app)
