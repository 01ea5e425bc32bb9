"""Answers with images, and every way in which they have been seen or reported to differ from the documented one."""

from or_stream.emulator._painting import GIF, JPEG, WEBP, data_url, picture, with_other_metadata
from or_stream.emulator._script import Chunk, Comment, Done, Identity, Scenario, Send, encode
from or_stream.emulator._wire import choice, delta, ending, image_delta, image_entry, opening, usage, usage_chunk, words

CAPTION = "Here you go: "
_TOKENS = usage(prompt_tokens=9, completion_tokens=1295, image_tokens=1290)
_ENDING = ending(_TOKENS, "stop", "STOP")


def specimen(index: int = 0) -> bytes:
    """The picture of most scenarios: 96x64, about 2 kB."""
    return picture("a lighthouse at dusk", 96, 64, index=index)


def _url(index: int = 0) -> str:
    return data_url(specimen(index))


def text_and_images(images: int = 1, byte_size: int | None = None) -> Scenario:
    """Words, a comment, then each image whole in a delta of its own with words after it.

    `byte_size` is the length of each image file; a real one has 1 to 2 MB.
    """
    steps: list[Chunk | Comment] = [*words("Here you go:")]
    for index in range(images):
        data = picture("a lighthouse at dusk", 96, 64, byte_size, index=index)
        steps += [Comment(), image_delta(data_url(data)), *words(f" picture {index + 1}.")]
    return Scenario((*opening(), *steps, *_ENDING))


def image_only() -> Scenario:
    """The image is in the first chunk and there is no text at all."""
    return Scenario((*opening(6), image_delta(_url()), *_ENDING))


def image_with_finish() -> Scenario:
    """The image shares its chunk with the finish reason, as in both recorded streams (2025-11)."""
    final = choice({"content": "", "role": "assistant", "images": [image_entry(_url(), index=0)]}, "stop", "STOP")
    return Scenario((*opening(), delta(CAPTION), Comment(), final, usage_chunk(_TOKENS, "stop", "STOP"), Done()))


def image_with_text() -> Scenario:
    """Text and image in one delta."""
    return Scenario((*opening(), image_delta(_url(), content=CAPTION), *_ENDING))


def image_in_message() -> Scenario:
    """A chunk with a `message` in the place of its delta."""
    message = {"role": "assistant", "content": CAPTION, "images": [image_entry(_url())]}
    only = {"index": 0, "message": message, "finish_reason": "stop", "native_finish_reason": "STOP"}
    return Scenario((*opening(), Chunk({"choices": [only]}), usage_chunk(_TOKENS, "stop", "STOP"), Done()))


def images_in_one_delta() -> Scenario:
    """Two different images in one list."""
    return Scenario((*opening(), image_delta(_url(0), _url(1)), *_ENDING))


def image_repeated() -> Scenario:
    """The same image in two deltas, byte for byte."""
    return Scenario((*opening(), image_delta(_url()), image_delta(_url()), *_ENDING))


def image_repeated_in_message() -> Scenario:
    """An image in a delta, and again in a `message` at the end."""
    message = {"role": "assistant", "content": "", "images": [image_entry(_url())]}
    only = {"index": 0, "delta": {}, "message": message, "finish_reason": "stop", "native_finish_reason": "STOP"}
    return Scenario((image_delta(_url()), Chunk({"choices": [only]}), usage_chunk(_TOKENS, "stop", "STOP"), Done()))


def image_twins() -> Scenario:
    """The same pixels twice in different bytes, as gemini-3-pro-image sends them (2026-09)."""
    twin = data_url(with_other_metadata(specimen()))
    return Scenario((*opening(), image_delta(_url()), image_delta(twin), *_ENDING))


def image_index_missing() -> Scenario:
    """Two images without an index: the form since 2026-03."""
    return Scenario((*opening(), image_delta(_url(0)), image_delta(_url(1)), *_ENDING))


def image_index_repeated() -> Scenario:
    """Two different images, both with index 0."""
    first, second = (delta("", images=[image_entry(_url(index), index=0)]) for index in (0, 1))
    return Scenario((*opening(), first, second, *_ENDING))


def image_by_address() -> Scenario:
    """An https address instead of data."""
    return Scenario((*opening(), delta(CAPTION), image_delta("https://images.example.org/lighthouse.png"), *_ENDING))


def image_url_plain() -> Scenario:
    """`image_url` that is a string and not an object."""
    return Scenario((delta("", images=[{"type": "image_url", "image_url": _url()}]), *_ENDING))


def image_slashes_escaped() -> Scenario:
    r"""`\/` for each slash, in the media type and in the base64."""
    return Scenario((Chunk(image_delta(_url()).payload, escape_slashes=True), *_ENDING))


def image_misnamed() -> Scenario:
    """A JPEG that is called image/png."""
    return Scenario((*opening(), image_delta(data_url(JPEG, "image/png")), *_ENDING))


def image_formats() -> Scenario:
    """PNG, JPEG, WebP and GIF, each named rightly."""
    named = (("image/jpeg", JPEG), ("image/webp", WEBP), ("image/gif", GIF))
    return Scenario((image_delta(_url()), *(image_delta(data_url(data, name)) for name, data in named), *_ENDING))


def image_media_type_parameters() -> Scenario:
    """A media type with a parameter, in capitals."""
    odd = _url().replace("data:image/png;base64,", "data:IMAGE/PNG;charset=utf-8;base64,", 1)
    return Scenario((image_delta(odd), *_ENDING))


def image_unpadded() -> Scenario:
    """Base64 without its padding."""
    length = len(specimen()) // 3 * 3 + 100  # one byte more than a multiple of three: needs two signs of padding
    png = picture("a lighthouse at dusk", 96, 64, length)
    return Scenario((image_delta(data_url(png).rstrip("=")), *_ENDING))


def image_missing() -> Scenario:
    """An image was asked for; the model only talks."""
    return Scenario((*opening(), *words("I cannot draw that, but imagine a lamp."), *ending(None, "stop", "NO_IMAGE")))


def image_list_empty() -> Scenario:
    """`images: []`, `images: null`, and an entry without an address."""
    odd = [delta("", images=[]), delta("", images=None), delta("", images=[{"type": "image_url", "image_url": {"url": ""}}])]
    return Scenario((*odd, image_delta(_url()), *_ENDING))


def image_not_base64() -> Scenario:
    """A data URL whose data is not base64."""
    broken = _url()
    return Scenario((*opening(), delta(CAPTION), image_delta(broken[:200] + "~~ not base64 ~~" + broken[200:]), *_ENDING))


def image_cut() -> Scenario:
    """The body ends in order in the middle of an image: no end of its event, no finish."""
    whole = encode(image_delta(_url()), Identity())
    return Scenario((*opening(), delta(CAPTION), Send(whole[: len(whole) // 2])))


def event_too_large(event_bytes: int = 80 * 2**20) -> Scenario:
    """One event of that many bytes, all of them text. Larger than any limit a client should have."""
    filler = tuple(Send(b"x" * min(2**20, event_bytes - at)) for at in range(0, event_bytes, 2**20))
    return Scenario(
        (*opening(), Send(b'data: {"choices":[{"index":0,"delta":{"content":"'), *filler, Send(b'"}}]}\n\n'), *_ENDING)
    )
