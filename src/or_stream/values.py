"""What a stream adds up to: pydantic models that users keep, dump and load. No wire names and no I/O but `Image.save`."""

import hashlib
import json
import mimetypes
import os
import secrets
import shutil
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Literal

import pybase64
from pydantic import BaseModel, ConfigDict, Field

from or_stream._image_format import SUFFIXES, media_type_of, pixel_size
from or_stream._short_repr import shown
from or_stream.errors import ConfigurationError

__all__ = ["Audio", "Image", "Message", "Status", "ToolCall", "Usage"]

Status = Literal["pending", "streaming", "complete", "failed", "truncated", "cancelled"]


class _Value(BaseModel):
    # Building the validators at first use keeps `import or_stream` at the cost of importing aiohttp and pydantic.
    model_config: ClassVar[ConfigDict] = ConfigDict(defer_build=True, ser_json_bytes="base64", val_json_bytes="base64")

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """What pydantic's repr shows, without the data of data URLs."""
        return ((name, shown(value)) for name, value in super().__repr_args__())


class Image(_Value):
    """A picture the model made, or one to send to it.

    `media_type` was read from the bytes themselves; it is what the server claimed where they are of no known kind, and None for
    a picture that is only an address. `data` is empty where the picture is in a file (`path`) or only an address (`url`).
    `size` is in bytes; `width` and `height` are in pixels, None where the header does not say.
    """

    media_type: str | None = None
    data: bytes = Field(default=b"", repr=False)
    path: Path | None = None
    url: str | None = None
    size: int = 0
    width: int | None = None
    height: int | None = None
    known_sha256: str | None = Field(default=None, repr=False)
    """The digest where it was noted when the picture came or was kept; None where it was not, which `sha256` makes good."""

    @classmethod
    def from_bytes(cls, data: bytes, *, claimed_media_type: str | None = None) -> "Image":
        """A picture in memory; what the bytes say about their type wins over `claimed_media_type`."""
        width, height = pixel_size(data) or (None, None)
        media_type = media_type_of(data) or claimed_media_type
        return cls(media_type=media_type, data=data, size=len(data), width=width, height=height)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, claimed_media_type: str | None = None) -> "Image":
        """A picture in a file, of which only the header is read. Raises OSError where that is not possible."""
        path = Path(path)
        with path.open("rb") as file:
            head = file.read(_HEADER_BYTES)
            size = os.fstat(file.fileno()).st_size
        width, height = pixel_size(head) or (None, None)
        media_type = media_type_of(head) or claimed_media_type
        return cls(media_type=media_type, path=path, size=size, width=width, height=height)

    @cached_property
    def sha256(self) -> str | None:
        """Hex digest of the bytes, taken when first asked for: 0.6 ms a megabyte, for which a file is read in the calling thread.

        None for a picture that is only an address. Raises OSError where the file is gone.
        """
        if self.known_sha256 is not None:
            return self.known_sha256
        if self.path is not None and not self.data:
            with self.path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        return hashlib.sha256(self.data).hexdigest() if self.data else None

    @property
    def suffix(self) -> str:
        """The file name suffix of the media type with its dot, `.bin` for an unknown one."""
        return SUFFIXES.get(self.media_type or "", ".bin")

    def read_bytes(self) -> bytes:
        """The bytes, from memory or from the file. Raises `ConfigurationError` for a picture that is only an address."""
        if self.data:
            return self.data
        if self.path is not None:
            return self.path.read_bytes()
        if not self.url:
            raise ConfigurationError("this image has no data: make it with Image.from_bytes(...) or Image.from_file(...)")
        raise ConfigurationError(
            f"this image is only an address, {_shorten(self.url)!r}: await or_stream.fetch_image(image) gets it"
        )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture and return where. Missing folders are made.

        The right suffix is added where `path` ends in none that is a file type: `save("gemini-2.5")` writes `gemini-2.5.png`.

        The file appears whole or not at all. Raises OSError where it cannot be written.
        """
        target = Path(path)
        if mimetypes.guess_type(target.name)[0] is None:
            target = target.with_name(target.name + self.suffix)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{secrets.token_hex(8)}.part")
        try:
            with temporary.open("xb") as file:
                self._copy_to(file)
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return target

    def _copy_to(self, file: BinaryIO) -> None:
        if self.path is not None and not self.data:
            with self.path.open("rb") as source:
                shutil.copyfileobj(source, file)
        else:
            file.write(self.read_bytes())

    def data_url(self) -> str:
        """The picture as a `data:` URL, or its address where it is only an address."""
        if not self.data and self.path is None and self.url is not None:
            return self.url
        return f"data:{self.media_type or 'application/octet-stream'};base64,{pybase64.b64encode_as_string(self.read_bytes())}"

    def _repr_png_(self) -> bytes | None:
        return self.read_bytes() if self.media_type == "image/png" else None

    def _repr_jpeg_(self) -> bytes | None:
        return self.read_bytes() if self.media_type == "image/jpeg" else None

    def __repr__(self) -> str:
        if self.url is not None and not self.data and self.path is None:
            return f"<Image at {_shorten(self.url)}>"
        kind = (self.media_type or "unknown").removeprefix("image/")
        pixels = f" {self.width}x{self.height}" if self.width else ""
        place = f" in {self.path}" if self.path else ""
        digest = f" sha256:{(self.sha256 or '')[:4]}..." if self.data or self.known_sha256 else ""
        return f"<Image {kind}{pixels} {_human_size(self.size)}{digest}{place}>"

    __str__ = __repr__


class Audio(_Value):
    """Sound the model made. `transcript` is what it says; `expires_at` is in Unix seconds, None where the server did not say."""

    id: str | None = None
    data: bytes = Field(default=b"", repr=False)
    transcript: str = ""
    expires_at: int | None = None


class ToolCall(_Value):
    """A call of a tool. `arguments` is JSON text, `{}` where the model sent nothing.

    `complete` is False where the arguments were cut short, so that they are no whole JSON text: do not run such a call.
    """

    id: str = ""
    name: str = ""
    arguments: str = "{}"
    complete: bool = True
    extra: dict[str, Any] = Field(default_factory=dict)

    def json(self) -> Any:  # type: ignore[override]  # pydantic's own `json` is deprecated; the contract gives the name to this one
        """The arguments as a value. Raises ValueError where they are no whole JSON text."""
        return json.loads(self.arguments)


class Usage(_Value):
    """Tokens and cost of one generation. Each part is None where the server did not send it; `cost` is in US dollars.

    `extra` holds what has no field here.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cost: float | None = None
    is_byok: bool | None = None
    cost_details: dict[str, Any] | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    image_tokens: int | None = None
    audio_tokens: int | None = None
    web_search_requests: int | None = None
    extra: dict[str, Any] = Field(default_factory=dict)


class Message(_Value):
    """What a generation has come to: whole after `StreamEnd`, else as much as was received.

    `images` are in the order in which they came; `image_offsets[i]` is how many characters of `text` came before image i, and
    `parts` puts the two together. `reasoning_details` is None where the server sent none, and must go back untouched in the
    next turn. `choice` messages of a request for several answers are in `alternatives`. `extra` holds what has no field here.
    """

    id: str | None = None
    model: str | None = None
    provider: str | None = None
    text: str = ""
    reasoning: str = ""
    reasoning_details: list[dict[str, Any]] | None = None
    refusal: str = ""
    images: list[Image] = Field(default_factory=list)
    image_offsets: list[int] = Field(default_factory=list, repr=False)
    audio: Audio | None = None
    tool_calls: list[ToolCall] = Field(default_factory=list)
    annotations: list[dict[str, Any]] = Field(default_factory=list)
    usage: Usage | None = None
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    created: int | None = None
    status: Status = "complete"
    alternatives: list["Message"] = Field(default_factory=list)
    extra: dict[str, Any] = Field(default_factory=dict)

    @property
    def parts(self) -> list[str | Image]:
        """Text and images in the order in which they came."""
        parts: list[str | Image] = []
        position = 0
        for image, offset in zip(self.images, [*self.image_offsets, *[len(self.text)] * len(self.images)], strict=False):
            if offset > position:
                parts.append(self.text[position:offset])
                position = offset
            parts.append(image)
        if position < len(self.text):
            parts.append(self.text[position:])
        return parts

    def to_param(self) -> dict[str, Any]:
        """The message to send back in the next turn: images inline, reasoning details untouched.

        Tool calls that were cut short are left out: a server refuses them. A message of tool calls alone has None as its content,
        which Bedrock wants. Raises OSError where an image's file is gone.
        """
        param: dict[str, Any] = {"role": "assistant", "content": self.text or None}
        if self.images:
            param["images"] = [{"type": "image_url", "image_url": {"url": image.data_url()}} for image in self.images]
            param["content"] = self.text
        if self.reasoning_details is not None:
            param["reasoning_details"] = self.reasoning_details
        elif self.reasoning:
            param["reasoning"] = self.reasoning
        if self.refusal:
            param["refusal"] = self.refusal
        calls = [call for call in self.tool_calls if call.complete]
        if calls:
            param["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}, **call.extra}
                for call in calls
            ]
        if self.annotations:
            param["annotations"] = self.annotations
        if not calls and param["content"] is None:
            param["content"] = ""
        return param


_HEADER_BYTES = 256 * 1024  # a JPEG's size stands behind its EXIF and colour profile, each segment of which is at most 64 KiB


def _human_size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"


def _shorten(url: str) -> str:
    return url if len(url) <= 80 else f"{url[:60]}... ({len(url)} characters)"
