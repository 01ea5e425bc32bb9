"""What goes in and what comes out: a `Task` is one prompt with all its options, a `BatchItem` what became of it."""

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from or_stream.client import DEFAULT_MODEL, Picture, RetryPolicy
from or_stream.errors import ConfigurationError, OrStreamError
from or_stream.values import Image, Message

__all__ = ["BatchItem", "Task", "file_stem", "identify", "read_task"]

# What changes how a request is sent or kept, and not what is asked for: it is no part of a key.
_NOT_IDENTITY: Final = frozenset({"extra_headers", "key", "require_image", "retry", "save_to", "timeouts"})
# Windows opens a device for `nul.txt`.
_PLAIN_NAME: Final = re.compile(r"(?!(?:aux|con|nul|prn|com\d|lpt\d)\.)[a-z0-9][a-z0-9._-]{0,99}")
_DIGEST_BYTES: Final = 16


@dataclass(slots=True)
class BatchItem:
    """One prompt of a batch and what became of it.

    `message` is the answer, None where `error` says why there is none; what had come by then is in `error.partial`. `attempts`
    counts requests, `cost` is of all of them, in US dollars, and None where nobody said; `generation_ids` are theirs. `seconds`
    run from the first request. `is_resumed` is set on an item that an earlier run with the same journal has finished.
    """

    index: int
    key: str
    prompt: Any
    model: str = ""
    message: Message | None = None
    error: OrStreamError | None = None
    attempts: int = 0
    cost: float | None = None
    seconds: float = 0.0
    generation_ids: list[str] = field(default_factory=list)
    is_resumed: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """One prompt, ready to be sent. `request` is the digest of what is asked for, which is also the key where there is no own."""

    index: int
    key: str
    request: str
    prompt: Any
    model: str
    options: Mapping[str, Any]


def read_task(given: object, index: int, model: str | None, options: Mapping[str, Any]) -> Task:
    """The task that a prompt, or a mapping with `prompt`, stands for.

    Raises ConfigurationError for anything else. Its text has no number: the item has one.
    """
    if isinstance(given, ConfigurationError):
        raise given
    own: Mapping[str, Any] = given if isinstance(given, Mapping) else {"prompt": given}
    if "prompt" not in own:
        raise ConfigurationError('there is no "prompt"')
    for name in own:
        if not isinstance(name, str):
            raise ConfigurationError(f"an option has a name, which {name!r} is not")
    prompt, key, own_model, retry = own["prompt"], own.get("key"), own.get("model", model), own.get("retry")
    if not isinstance(prompt, str | Sequence) or isinstance(prompt, bytes | bytearray):
        raise ConfigurationError(f"a prompt must be a string or a list of messages, not {type(prompt).__name__}")
    if not isinstance(key, str | int | None) or isinstance(key, bool) or key == "":
        raise ConfigurationError(f"a key must be text or a number, not {key!r}")
    if not isinstance(retry, RetryPolicy | None):
        raise ConfigurationError(f"retry must be a RetryPolicy, not {retry!r}")
    if own_model is None:
        own_model = os.environ.get("OR_STREAM_MODEL") or DEFAULT_MODEL
    if not isinstance(own_model, str):
        raise ConfigurationError(f"the model must be a name such as {DEFAULT_MODEL!r}, not {own_model!r}")
    merged = {**options, **{name: value for name, value in own.items() if name not in ("prompt", "key", "model")}}
    request = identify(prompt, own_model, merged)
    return Task(index, request if key is None else str(key), request, prompt, own_model, merged)


def identify(prompt: Any, model: str, options: Mapping[str, Any]) -> str:
    """A digest that is the same for the same request in every run. A picture sent in counts by its bytes, not by its name."""
    said = {name: value for name, value in options.items() if name not in _NOT_IDENTITY and value is not None}
    if "images" in said and isinstance(said["images"], Sequence) and not isinstance(said["images"], str | bytes):
        said["images"] = [_picture(image) for image in said["images"]]
    try:
        text = json.dumps([prompt, model, said], sort_keys=True, ensure_ascii=True, separators=(",", ":"), default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"the request cannot be written as JSON: {error}") from error
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).hexdigest()


def _picture(image: Any) -> Any:
    if isinstance(image, Picture):
        return [_picture(image.source), image.max_pixels, image.detail]
    if isinstance(image, str | os.PathLike) and not (isinstance(image, str) and re.match(r"https?://|data:", image)):
        try:
            return _digest(Path(image).read_bytes())
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"cannot read the image {os.fspath(image)!r}: {error}") from error
    return image


def _plain(value: Any) -> Any:
    if isinstance(value, Image):
        return value.url or _digest(value.read_bytes())
    if isinstance(value, Message):
        return value.to_param()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, bytes | bytearray):
        return _digest(bytes(value))
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "getpalette"):  # a picture of Pillow: its pixels, as what they are encoded to depends on versions
        return [value.mode, value.size, value.getpalette(), _digest(value.tobytes())]
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).hexdigest()


def file_stem(key: str) -> str:
    """The name of a key's files: the key itself where every file system takes it and no other key can have the same name."""
    if _PLAIN_NAME.fullmatch(key):
        return key
    readable = re.sub(r"[^a-z0-9]+", "-", key.lower())[:60].strip("-")
    return f"{readable or 'item'}-{_digest(key.encode(errors='surrogatepass'))[:12]}"
