"""Answers of the Image API, POST /images: previews, text, pictures that are done, and what can go wrong with them.

By name they are `image-api-stream` and so on.
"""

from or_stream.emulator._painting import JPEG, Scene, base64_of, picture
from or_stream.emulator._painting import svg as markup_of
from or_stream.emulator._script import Close, Comment, Done, Event, Scenario, Send, Step
from or_stream.emulator._wire import image_completed, images_body, partial_image, text_chunk, usage
from or_stream.emulator.scenarios._answers import json_body
from or_stream.emulator.scenarios._images import specimen

__all__ = [
    "comments",
    "cut",
    "empty",
    "error",
    "jpeg",
    "json",
    "stream",
    "svg",
    "unfinished",
    "unknown",
    "untyped",
]

_CREATED = 1787584664
_TOKENS = usage(prompt_tokens=9, completion_tokens=4175, image_tokens=4175)
_MARKUP = markup_of(Scene.of("a lighthouse at dusk"), 96, 64)


def _previews(count: int, index: int = 0) -> list[Step]:
    small = base64_of(picture("a lighthouse at dusk", 24, 16, index=index))
    return [Event(partial_image(number, small)) for number in range(count)]


def _completed(index: int = 0, *, last: bool = True, byte_size: int | None = None) -> Event:
    data = picture("a lighthouse at dusk", 96, 64, byte_size, index=index)
    return Event(image_completed(base64_of(data), "image/png", _CREATED, _TOKENS if last else None))


def stream(previews: int = 2, images: int = 1, byte_size: int | None = None) -> Scenario:
    """Previews, then the picture, for each picture; usage with the last. `byte_size` is the length of each file."""
    steps: list[Step] = []
    for index in range(images):
        steps += [*_previews(previews, index), _completed(index, last=index == images - 1, byte_size=byte_size)]
    return Scenario((*steps, Done()))


def svg() -> Scenario:
    """A picture that is text: thoughts, a draft, its markup in pieces, and the whole of it in base64 (2026-07)."""
    content = [Event(text_chunk(_MARKUP[at : at + 64])) for at in range(0, len(_MARKUP), 64)]
    done = Event(image_completed(base64_of(_MARKUP.encode()), "image/svg+xml", _CREATED, _TOKENS))
    return Scenario((Event(text_chunk("A lamp.", "reasoning")), Event(text_chunk("<svg>", "draft")), *content, done, Done()))


def json(images: int = 1) -> Scenario:
    """One document, though a stream was asked for: most models cannot stream. `created` is 0, as recorded (2026-08)."""
    return json_body(images_body([(base64_of(specimen(index)), "image/png") for index in range(images)], 0, _TOKENS))


def jpeg() -> Scenario:
    """A JPEG, as recorded of a Gemini model."""
    return json_body(images_body([(base64_of(JPEG), "image/jpeg")], 0, _TOKENS))


def untyped() -> Scenario:
    """No media type and no usage: both may be missing."""
    return Scenario((Event(image_completed(base64_of(specimen()), None, _CREATED)), Done()))


def empty() -> Scenario:
    """No picture at all, though it was a success."""
    return json_body(images_body([], 0, _TOKENS))


def comments() -> Scenario:
    """Comments before, between and after the events. Whether the service sends any here is not known."""
    return Scenario((Comment(count=3), *_previews(1), Comment(), _completed(), Comment(), Done()))


def error(previews: int = 1) -> Scenario:
    """An error after a preview; its code is a string."""
    error = {"message": "The upstream provider failed", "code": "server_error", "type": "provider_error", "param": None}
    return Scenario((*_previews(previews), Event({"type": "error", "error": error})))


def cut() -> Scenario:
    """The connection is closed after a preview."""
    return Scenario((*_previews(2), Close()))


def unfinished() -> Scenario:
    """The body ends in order after a preview: no picture, no [DONE]."""
    return Scenario(tuple(_previews(1)))


def unknown() -> Scenario:
    """Kinds of events and fields of next year, between good ones."""
    odd = Event({"type": "image_generation.weather", "weather": "fog"})
    return Scenario((odd, Send(b'data: {"type":"image_generation.partial_image"}\n\n'), _completed(), odd, Done()))
