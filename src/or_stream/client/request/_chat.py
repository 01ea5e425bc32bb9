"""Arguments -> the body of a chat request."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from or_stream.client.request._options import BODY_OPTIONS, ImageInput, Picture, Prompt
from or_stream.client.request._pictures import image_part
from or_stream.errors import ConfigurationError
from or_stream.values import Image, Message

__all__ = ["chat_body", "checked_images", "messages_of"]


def chat_body(prompt: Prompt, model: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The body without what `extra_body` puts over it. Raises ConfigurationError for what cannot be sent."""
    modalities = _modalities(options)
    body: dict[str, Any] = {"model": model, "messages": _messages(prompt, options), "modalities": modalities, "stream": True}
    if options.get("image_config") is not None:
        body["image_config"] = _image_config(options["image_config"])
    body |= {name: value for name, value in options.items() if name in BODY_OPTIONS and value is not None}
    _check_reasoning(body)
    return body


def _image_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """In the words of chat, which has `image_size` where the Image API has `resolution`, and "0.5K" for its "512"."""
    config = {name: value for name, value in config.items() if value is not None}
    if "resolution" in config and "image_size" in config:
        raise ConfigurationError("image_config takes image_size or resolution, which mean the same: give one of them")
    for name in ("resolution", "image_size"):
        if name in config:
            size = config.pop(name)
            config["image_size"] = "0.5K" if size in ("512", 512) else size
    return config


def _modalities(options: Mapping[str, Any]) -> list[str]:
    """As given; a wish for both that the route replaces where nothing is given."""
    given = options.get("modalities")
    if given is None:
        return ["image", "text"]
    if isinstance(given, str):
        raise ConfigurationError(f'modalities must be a list: use ["{given}"]')
    if not isinstance(given, Iterable):
        raise ConfigurationError('modalities must be a list such as ["image", "text"]')
    modalities = list(given)
    if not modalities:
        raise ConfigurationError('modalities is empty: leave it out, or name what is wanted, such as ["image", "text"]')
    if not all(isinstance(name, str) for name in modalities):
        raise ConfigurationError(f'modalities must be texts, such as ["image", "text"], not {modalities!r}')
    if "image" not in modalities:
        for name in ("require_image", "image_config"):
            if options.get(name):
                raise ConfigurationError(
                    f'{name} wants an image and modalities={modalities} allows none: add "image" or drop {name}'
                )
    return modalities


def _messages(prompt: Prompt, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    messages = messages_of(prompt, options.get("images"))
    system = options.get("system")
    if system is not None:
        if messages[0].get("role") == "system":
            raise ConfigurationError(
                "there is a system message in the conversation already: pass `system` or that message, not both"
            )
        messages.insert(0, {"role": "system", "content": system})
    return messages


def messages_of(prompt: Prompt, images: Sequence[ImageInput] | None) -> list[dict[str, Any]]:
    """The messages of a prompt, with its pictures in the last one. Raises ConfigurationError for what cannot be sent."""
    messages = _conversation(prompt)
    # The service wants the text first, then the images (docs: guides/overview/multimodal/images).
    parts = [image_part(image) for image in checked_images(images)]
    if parts:
        if messages[-1].get("role") != "user":
            messages.append({"role": "user", "content": []})
        content = messages[-1].get("content") or []
        content = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if not isinstance(content, Sequence):
            raise ConfigurationError("images can only be added to a message whose content is text or a list of parts")
        messages[-1] = {**messages[-1], "content": [*content, *parts]}
    return messages


def checked_images(images: Sequence[ImageInput] | None) -> list[ImageInput]:
    """The pictures of a request as a list. Raises ConfigurationError for one picture that is in no list."""
    if images is None:
        return []
    if isinstance(images, str | bytes | bytearray | os.PathLike | Image | Picture) or not isinstance(images, Iterable):
        raise ConfigurationError("images must be a list: use images=[...]")
    return list(images)


def _conversation(prompt: Prompt) -> list[dict[str, Any]]:
    if isinstance(prompt, str):
        if not prompt.strip():
            raise ConfigurationError("the prompt is empty: say what to generate")
        return [{"role": "user", "content": prompt}]
    if isinstance(prompt, Mapping | Message | bytes) or not isinstance(prompt, Sequence):
        raise ConfigurationError("the prompt must be a string or a list of messages")
    messages = []
    for number, message in enumerate(prompt):
        if isinstance(message, Message):
            messages.append(_param(message, number))
        elif isinstance(message, Mapping) and isinstance(message.get("role"), str):
            messages.append(dict(message))
        else:
            raise ConfigurationError(f'message {number} of the conversation must be a Message or a mapping with a "role"')
    if not messages:
        raise ConfigurationError("the conversation is empty: give at least one message")
    return messages


def _param(message: Message, number: int) -> dict[str, Any]:
    try:
        return message.to_param()
    except OSError as error:
        raise ConfigurationError(f"cannot read an image of message {number} of the conversation: {error}") from error


def _check_reasoning(body: Mapping[str, Any]) -> None:
    reasoning, effort = body.get("reasoning") or {}, body.get("reasoning_effort")
    if not isinstance(reasoning, Mapping):
        raise ConfigurationError('reasoning must be a mapping such as {"effort": "low"}')
    if reasoning.get("effort") is not None and reasoning.get("max_tokens") is not None:
        raise ConfigurationError("reasoning takes effort or max_tokens, not both")
    if effort is not None and reasoning.get("effort") not in (None, effort):
        raise ConfigurationError(f"reasoning_effort={effort!r} contradicts reasoning={dict(reasoning)}: give one of them")
