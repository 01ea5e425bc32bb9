"""A conversation as a JSON file, and back. What a file says is checked: it may come from somebody else.

{"kind": "conversation", "version": 1, "model": M, "system": S, "turns": [
  {"prompt": "...", "images": [{"path": "chat-pictures/ab12.png", "sha256": "ab12...", "detail": "low"}, {"url": "https://..."}],
   "answer": {a Message, whose images are written like those}}]}
"""

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from or_stream._json import parse_json
from or_stream.client import Picture
from or_stream.conversation._pictures import inflated, written
from or_stream.conversation._turn import Turn
from or_stream.errors import ConfigurationError
from or_stream.values import Image, Message

__all__ = ["Saved", "read_conversation", "write_conversation"]

_KIND: Final = "conversation"
_VERSION: Final = 1
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SEEN: Final = {"media_type", "size", "width", "height", "url"}  # of an Image, what is written as it is


class Saved(NamedTuple):
    """What a file holds."""

    model: str | None
    system: Any
    turns: list[Turn]


def write_conversation(path: Path, model: str | None, system: Any, turns: Sequence[Turn]) -> Path:
    """Write the file, whole or not at all. Raises ConfigurationError where that is not possible."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        described = [_described(turn, number, path) for number, turn in enumerate(turns, 1)]
        text = json.dumps(
            {"kind": _KIND, "version": _VERSION, "model": model, "system": system, "turns": described},
            ensure_ascii=False,
            indent=1,
            allow_nan=False,
        )
        temporary = path.with_name(f".{secrets.token_hex(8)}.part")
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ConfigurationError(f"the conversation cannot be written to {str(path)!r}: {error}") from error
    return path


def _described(turn: Turn, number: int, path: Path) -> dict[str, Any]:
    images = [_described_image(image, number, path) for image in turn.images]
    for image, detail in zip(images, turn.details, strict=True):
        if detail is not None:
            image["detail"] = detail
    answer = turn.answer.model_dump(mode="json", exclude={"images", "alternatives"}, exclude_defaults=True)
    answer["images"] = [_described_image(image, number, path) for image in turn.answer.images]
    return {"prompt": turn.prompt, "images": images, "answer": answer}


def _described_image(image: Image, number: int, path: Path) -> dict[str, Any]:
    described = image.model_dump(mode="json", include=_SEEN, exclude_defaults=True)
    if image.path is None and not image.data:
        return described
    folder = path.parent.resolve()
    if image.path is None or not image.path.resolve().is_relative_to(folder):
        pictures = path.parent / f"{path.stem}-pictures"
        pictures.mkdir(exist_ok=True)
        image = written(inflated(image, number), pictures)
    assert image.path is not None
    return {"path": image.path.resolve().relative_to(folder).as_posix(), "sha256": image.known_sha256, **described}


def read_conversation(path: Path) -> Saved:
    """What a file holds; its pictures are not read. Raises ConfigurationError for anything but a whole conversation."""
    try:
        said = parse_json(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"the conversation {str(path)!r} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{str(path)!r} is cut short or no JSON: restore the file, or name another ({error})") from error
    if not isinstance(said, dict) or said.get("kind") != _KIND:
        raise ConfigurationError(f"{str(path)!r} is no conversation: name a file that save() has written")
    if said.get("version") != _VERSION:
        version = said.get("version")
        raise ConfigurationError(f"{str(path)!r} is a conversation of version {version!r}; this or_stream reads {_VERSION}")
    model, system = said.get("model"), said.get("system")
    try:
        _expect(isinstance(model, str | None) and isinstance(system, str | list | None))
        turns = [_turn(record, path.parent.resolve()) for record in _list(said.get("turns"))]
    except (_Strange, ValidationError) as error:
        raise ConfigurationError(f"{str(path)!r} is a damaged conversation: restore the file") from error
    return Saved(model, system, turns)


class _Strange(Exception):
    """Something that `write_conversation` does not write."""


def _expect(holds: bool) -> None:
    if not holds:
        raise _Strange


def _list(value: Any) -> list[Any]:
    _expect(isinstance(value, list))
    return list(value)


def _mapping(value: Any) -> Mapping[str, Any]:
    _expect(isinstance(value, dict))
    return dict(value)


def _turn(record: Any, folder: Path) -> Turn:
    record = _mapping(record)
    prompt, pictures, answer = record.get("prompt"), _list(record.get("images")), _mapping(record.get("answer"))
    if not isinstance(prompt, str):
        prompt = tuple(_mapping(message) for message in _list(prompt))
        _expect(bool(prompt) and all(isinstance(message.get("role"), str) for message in prompt))
    images = tuple(_image(picture, folder) for picture in pictures)
    details = tuple(Picture("", detail=picture.get("detail")).detail for picture in pictures)
    # Pydantic is shown no picture that was not looked at here: a path in a Message would be read when it is sent.
    said = {**answer, "images": [_image(image, folder) for image in _list(answer.get("images"))], "alternatives": []}
    return Turn(prompt, images, details, Message.model_validate(said))


def _image(record: Any, folder: Path) -> Image:
    record = _mapping(record)
    image = Image.model_validate({name: value for name, value in record.items() if name in _SEEN})
    _expect(image.size < 2**63)  # what a file can have
    if "path" not in record:
        _expect(bool(image.url))
        return image
    path, digest = record["path"], record.get("sha256")
    _expect(isinstance(path, str) and isinstance(digest, str) and _SHA256.fullmatch(digest) is not None)
    return image.model_copy(update={"path": _inside(path, folder), "known_sha256": digest})


def _inside(path: str, folder: Path) -> Path:
    """Where a picture is, links followed. Anything outside of the folder is refused: a file of somebody else must not have any
    file of this machine read and sent.
    """
    try:
        place = (folder / path).resolve()
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: links in a circle, before Python 3.13
        raise _Strange from error
    if not place.is_relative_to(folder):
        raise ConfigurationError(f"the conversation names the picture {path!r}, outside of its folder: it is not read")
    return place
