"""The public types as a user's program meets them. Checked by mypy and pyright, never executed.

Only what the contract promises is written here; `assert_type` says what a checker must infer.
"""

from pathlib import Path
from typing import Any, assert_never, assert_type

import PIL.Image

from or_stream import (
    BatchItem,
    BatchRun,
    BatchStats,
    ChatStream,
    Client,
    Conversation,
    Picture,
    RetryPolicy,
    Timeouts,
    Turn,
    batch,
    fetch_image,
    generate,
    read_journal,
    stream,
)
from or_stream.errors import APIStatusError, OrStreamError, StreamFailed, StreamTimeout, TimeoutPhase
from or_stream.events import (
    AnnotationDelta,
    AudioDelta,
    Event,
    Heartbeat,
    ImageDelta,
    ImageDiscard,
    ImageEnd,
    ImagePreview,
    ImageStart,
    ReasoningDelta,
    RefusalDelta,
    Restart,
    StreamEnd,
    StreamStart,
    TextDelta,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
    UsageUpdate,
)
from or_stream.sse import SSEParser, encode_event
from or_stream.values import Image, Message, Status, ToolCall, Usage


async def loop_over_events() -> None:
    """A plain call, iterated at once."""
    async for event in stream("Draw a lighthouse at dusk, then describe it"):
        match event:
            case TextDelta(text=text):
                assert_type(text, str)
            case ImageEnd(image=image):
                assert_type(image.save("lighthouse"), Path)
            case _:
                pass


async def use_as_scope(folder: Path, pillow: PIL.Image.Image) -> Message:
    """A scope, with every view of the stream and what is known about it."""
    async with stream(
        [{"role": "user", "content": "a lighthouse"}],
        model="a/model",
        images=["lighthouse.png", folder / "other.png", b"", Image(), pillow, Picture(pillow, max_pixels=10, detail="low")],
        system="You draw.",
        modalities=["image", "text"],
        save_to=folder,
        require_image=True,
        timeouts=Timeouts(connect=10, first_content=120, idle=60, total=None),
        retry=RetryPolicy(attempts=3, base_seconds=0.5, cap_seconds=60, total_seconds=180, restart=False),
    ) as scope:
        assert_type(scope, ChatStream)
        async for event in scope:
            read_event(event)
        async for text in scope.text:
            assert_type(text, str)
        async for image in scope.images:
            assert_type(image, Image)
        assert_type(scope.message, Message)
        assert_type(scope.status, Status)
        assert_type(scope.generation_id, str | None)
        assert_type(scope.stats.attempts, int)
        message = await scope.final()
    await scope.aclose()
    return assert_type(message, Message)


async def use_client(earlier: Message) -> None:
    """Many generations over one session, and a conversation that goes on."""
    async with Client(api_key="key", base_url="http://localhost/v1", timeouts=Timeouts(), retry=RetryPolicy()) as client:
        assert_type(client, Client)
        assert_type(client.stream([earlier, {"role": "user", "content": "and at night?"}]), ChatStream)
        assert_type(await client.generate("a lighthouse"), Message)
        assert_type(await generate("a lighthouse", client=client), Message)


async def use_conversation(client: Client, path: Path) -> None:
    """Turns, with a client and without, kept, forgotten, saved and loaded."""
    conversation = Conversation(client=client, model="a/model", system="You draw.", save_to=path, temperature=0.5)
    assert_type(await conversation.generate("a lighthouse", images=[path], require_image=True), Message)
    assert_type(conversation.stream([{"role": "tool", "tool_call_id": "a", "content": "4"}]), ChatStream)
    conversation.add("a boat", Message(text="here"), images=["https://a.example/b.png"])
    assert_type(conversation.turns, tuple[Turn, ...])
    assert_type([turn.images for turn in conversation], list[tuple[Image, ...]])
    assert_type(conversation.answers, list[Message])
    conversation.forget_pictures(keep_last=1)
    conversation.forget_turns(keep_last=10)
    assert_type(conversation.undo(), Turn)
    assert_type(conversation.save(path / "chat.json"), Path)
    assert_type(Conversation.load(path / "chat.json", temperature=0.5), Conversation)


async def use_batch(client: Client, folder: Path) -> list[BatchItem]:
    """Many at once: with and without a client, with callbacks of both kinds."""

    async def follow(item: BatchItem, event: Event) -> None:
        read_event(event)

    def progress(stats: BatchStats) -> None:
        assert_type(stats.projected_cost, float | None)

    prompts = [{"prompt": "a lighthouse", "key": "one"}, "another"]
    run = batch(prompts, model="a/model", concurrency=64, save_to=folder, journal="run.jsonl", budget=5.0, on_event=follow)
    assert_type(run, BatchRun)
    async for item in run:
        assert_type(item, BatchItem)
        assert_type(item.message, Message | None)
        assert_type(item.error, OrStreamError | None)
        assert_type(item.cost, float | None)
    assert_type(run.stats, BatchStats)
    for item in read_journal(folder / "run.jsonl"):
        assert_type(item.key, str)
    async with client.batch(iter(["a"]), ordered=True, dry_run=True, on_progress=progress) as other:
        assert_type(other, BatchRun)
        return assert_type(await other.collect(), list[BatchItem])


def read_event(event: Event) -> int:
    """Every kind of event, so that a kind that is added here or there is missed by neither checker."""
    match event:
        case StreamStart(generation_id=str(), model=str(), provider=str()):
            return event.choice
        case TextDelta(text=text) | ReasoningDelta(text=text) | RefusalDelta(text=text):
            return len(assert_type(text, str))
        case ImageStart(index=index, media_type=media_type):
            assert_type(media_type, str | None)
            return index
        case ImageDelta(data=data) | AudioDelta(data=data):
            return len(assert_type(data, bytes))
        case ImageEnd(image=image) | ImagePreview(image=image):
            return read_image(image)
        case ImageDiscard(duplicate_of=index) | ToolCallStart(index=index):
            return assert_type(index, int)
        case ToolCallDelta(arguments=arguments):
            return len(assert_type(arguments, str))
        case ToolCallEnd(call=call):
            assert_type(call, ToolCall)
            return len(call.arguments) if call.complete else 0
        case AnnotationDelta(annotation=annotation):
            return len(assert_type(annotation, dict[str, Any]))
        case UsageUpdate(usage=usage):
            return read_usage(usage)
        case Restart(attempt=attempt, discarded=message):
            assert_type(message, Message)
            return attempt
        case StreamEnd(message=message):
            return len(read_message(message))
        case Heartbeat() | StreamStart():
            return 0
        case _:
            assert_never(event)


def read_message(message: Message) -> str:
    """The parts of a message."""
    assert_type(message.id, str | None)
    assert_type(message.reasoning, str)
    assert_type(message.reasoning_details, list[dict[str, Any]] | None)
    assert_type(message.images, list[Image])
    assert_type(message.tool_calls, list[ToolCall])
    assert_type(message.parts, list[str | Image])
    assert_type(message.usage, Usage | None)
    assert_type(message.finish_reason, str | None)
    assert_type(message.status, Status)
    assert_type(message.to_param(), dict[str, Any])
    return message.text


def read_image(image: Image) -> int:
    """The parts of an image."""
    assert_type(image.media_type, str | None)
    assert_type(image.data, bytes)
    assert_type(image.sha256, str | None)
    assert_type(image.path, Path | None)
    assert_type(image.url, str | None)
    assert_type(image.data_url(), str)
    return (image.width or 0) * (image.height or 0) or image.size


def read_usage(usage: Usage) -> int:
    """The parts of a usage."""
    assert_type(usage.cost, float | None)
    return usage.total_tokens or 0


async def handle_errors() -> Message | None:
    """What an error carries."""
    try:
        return await generate("a lighthouse")
    except (APIStatusError, StreamFailed) as error:
        assert_type(error.status, int | None)
        assert_type(error.retry_after, float | None)
    except StreamTimeout as error:
        assert_type(error.phase, TimeoutPhase)
    except OrStreamError as error:
        assert_type(error.retryable, bool)
        assert_type(error.generation_id, str | None)
    return None


def parse_server_sent_events() -> str | None:
    """The generic parser on its own."""
    parser = SSEParser(max_event_size=64 * 2**20, on_comment=None)
    for event in [*parser.feed(encode_event("data", event="name", id="1", retry=1000)), *parser.flush()]:
        assert_type(event.data, str)
        assert_type(event.retry, int | None)
    return parser.last_event_id


async def picture_at_an_address(message: Message) -> None:
    """From an image that is only an address, or from the address."""
    assert_type(await fetch_image(message.images[0], save_to="out"), Image)
    assert_type(await fetch_image("https://a.example/b.png", max_bytes=1000, timeout_seconds=5), Image)
