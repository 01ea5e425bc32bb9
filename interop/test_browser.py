"""A real browser, headless Chromium: pages of the examples, EventSource, fetch and images, straight and through nginx."""

import asyncio
import base64
import json
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from counterparties import binary, nginx
from playwright.async_api import Page, async_playwright

from or_stream import Image
from or_stream.emulator import Scenario, Send, WaitFor, scenarios
from support.examples import load_example
from support.web_servers import served_by_uvicorn

# Nothing of the browser's own goes out, and it runs where a container gives it little.
FLAGS = (
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
WIDTH, HEIGHT = 400, 300
# What a script of the page sees of every EventSource: whether it is closed, or would ask again.
WATCHED = """window.sources = [];
window.EventSource = class extends EventSource {
  constructor(url) { super(url); sources.push(this); }
};"""
PIXELS = """async ([shot, points]) => {
  const image = Object.assign(new Image(), { src: "data:image/png;base64," + shot });
  await image.decode();
  const context = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height }).getContext("2d");
  context.drawImage(image, 0, 0);
  return points.map(([x, y]) => [...context.getImageData(x, y, 1, 1).data].slice(0, 3));
}"""
RED, WHITE = [255, 0, 0], [255, 255, 255]


def red_picture() -> bytes:
    """A PNG without compression, so that half of its bytes are half of its rows."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    rows = (b"\0" + b"\xff\0\0" * WIDTH) * HEIGHT
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 0)) + chunk(b"IEND", b"")


def painted_slowly(middle: asyncio.Event) -> Scenario:
    """A word, then a picture, which stops in the middle until the event is set."""
    first, *rest = scenarios.text("Look:", heartbeats=0).steps
    url = "data:image/png;base64," + base64.b64encode(red_picture()).decode()
    delta = {"content": "", "images": [{"type": "image_url", "image_url": {"url": url}}]}
    data = b"data: %b\n\n" % json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode()
    half = len(data) // 2
    return Scenario((first, Send(data[:half]), WaitFor(middle), Send(data[half:]), *rest))


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=binary("chromium"), args=FLAGS)
        page = await chromium.new_page(viewport={"width": 640, "height": 480})
        await page.add_init_script(WATCHED)
        yield page
        await chromium.close()


@pytest.fixture(params=["straight", "through nginx"])
async def site_of(request, emulator, monkeypatch, tmp_path) -> AsyncIterator[Callable[[str], Awaitable[str]]]:
    """Serves an example. Gives its address."""
    monkeypatch.setenv("OPENROUTER_API_KEY", "test")
    monkeypatch.setenv("OPENROUTER_BASE_URL", emulator.base_url)
    async with AsyncExitStack() as stack:

        async def serve(example: str) -> str:
            address = await stack.enter_async_context(served_by_uvicorn(load_example(example).app))
            if request.param == "straight":
                return address
            return stack.enter_context(nginx(tmp_path, f"location / {{ proxy_pass {address}; }}"))

        yield serve


async def colors(page: Page, *points: tuple[int, int]) -> list[list[int]]:
    """What is to be seen at points of the picture."""
    shot = await page.locator("img").screenshot()
    return await page.evaluate(PIXELS, [base64.b64encode(shot).decode(), points])


async def test_text_and_picture_as_they_come(emulator, page, site_of, tmp_path):
    """The page shows the word before the picture is begun, and half of the picture before the rest of it is made."""
    middle = asyncio.Event()
    emulator.play(painted_slowly(middle))
    await page.goto(await site_of("fastapi_images.py"))
    await page.get_by_role("button", name="Draw").click()
    await page.get_by_text("Look:").wait_for()
    await page.wait_for_function("document.querySelector('img')?.naturalWidth")
    async with asyncio.timeout(10):
        while (await colors(page, (200, 40)))[0] != RED:  # noqa: ASYNC110  # of another process
            await asyncio.sleep(0.05)
    await page.screenshot(path=tmp_path / "half.png")
    assert await colors(page, (200, 260)) == [WHITE]
    assert not await page.evaluate("document.querySelector('img').complete")
    middle.set()
    await page.wait_for_function("sources.length == 1 && sources[0].readyState == EventSource.CLOSED")
    await page.wait_for_function("document.querySelector('img').complete")
    await page.screenshot(path=tmp_path / "whole.png")
    assert await colors(page, (200, 40), (200, 260)) == [RED, RED]
    assert len(emulator.requests) == 1


@pytest.mark.parametrize(
    ("scenario", "shown"),
    [("refused-402", "[The service did not answer.]"), ("midstream-error", "[The answer broke off. Try again.]")],
)
async def test_failure(emulator, page, site_of, scenario, shown):
    """The page says so, and does not ask, and pay, again."""
    emulator.play(scenario, scenario, scenario)
    await page.goto(await site_of("fastapi_images.py"))
    await page.get_by_role("button", name="Draw").click()
    await page.get_by_text(shown).wait_for()
    assert await page.evaluate("sources[0].readyState == EventSource.CLOSED")


async def test_page_that_is_closed(emulator, page, site_of):
    """The provider is stopped."""
    emulator.play(scenarios.silence("The lamp"))
    await page.goto(await site_of("fastapi_images.py"))
    await page.get_by_role("button", name="Draw").click()
    await page.get_by_text("The lamp").wait_for()
    await page.close()
    async with asyncio.timeout(5):
        await emulator.requests[0].disconnected.wait()


ASK = """async () => {
  window.controller = new AbortController();
  const messages = [{ id: "1", role: "user", parts: [{ type: "text", text: "hi" }] }];
  const response = await fetch("/api/chat", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ messages }),
    signal: controller.signal,
  });
  window.text = "";
  (async () => {
    for (const reader = response.body.pipeThrough(new TextDecoderStream()).getReader(); ; ) {
      const { value, done } = await reader.read();
      if (done) break;
      text += value;
    }
  })().catch((error) => (window.failure = error.name));
  return response.headers.get("content-type");
}"""


async def test_fetch(emulator, page, site_of):
    """A stream that is fetched is read while it is made."""
    gate = asyncio.Event()
    first, *rest = scenarios.text("one two", heartbeats=0).steps
    emulator.play(Scenario((first, WaitFor(gate), *rest)))
    await page.goto(await site_of("fastapi_chat.py") + "/openapi.json")
    assert await page.evaluate(ASK) == "text/event-stream"
    await page.wait_for_function("text.includes('one')")
    assert "two" not in await page.evaluate("text")
    gate.set()
    await page.wait_for_function("text.endsWith('data: [DONE]\\n\\n')")


async def test_fetch_that_is_aborted(emulator, page, site_of):
    """The provider is stopped while the model is silent."""
    emulator.play(scenarios.silence("The lamp"))
    await page.goto(await site_of("fastapi_chat.py") + "/openapi.json")
    await page.evaluate(ASK)
    await page.wait_for_function("text.includes('lamp')")
    await page.evaluate("controller.abort()")
    await page.wait_for_function("window.failure == 'AbortError'")
    async with asyncio.timeout(5):
        await emulator.requests[0].disconnected.wait()


@pytest.mark.parametrize("site_of", ["straight"], indirect=True)
async def test_svg_runs_no_scripts(page, monkeypatch, site_of):
    """In an `<img>` it shows; opened by itself it is downloaded; in a frame its script does not run."""
    example = load_example("fastapi_images.py")
    svg = b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><script>top.hacked = true</script></svg>"
    path = example.store.add(Image.from_bytes(svg))
    async with served_by_uvicorn(example.app) as address:
        await page.goto(address)
        for tag, source in (("img", "src"), ("iframe", "src"), ("object", "data")):
            await page.evaluate(
                "([tag, source, path]) => document.body.append(Object.assign(document.createElement(tag), { [source]: path }))",
                [tag, source, path],
            )
        await page.wait_for_function("document.querySelector('img').naturalWidth == 9")
        async with page.expect_download():
            await page.evaluate("(path) => { location = path }", path)
        assert not await page.evaluate("window.hacked")
