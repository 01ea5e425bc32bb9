"""The body of a request to the Image API, made from that of the same request to chat; and what a model cannot do there.

Source of the names and of what they may be: the published schema, ImageGenerationRequest (2026-08-22); docs/wire.md.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from or_stream.errors import ConfigurationError

if TYPE_CHECKING:
    from or_stream.catalog import ImageOptions

__all__ = ["check_image_parameters", "image_api_body", "image_api_headers"]

_IMAGES_AT_MOST: Final = 10
_REFERENCES_AT_MOST: Final = 16
_PASSED_ON: Final = {"model", "n", "seed", "provider", "user", "metadata", "trace"}
# What has another place there, or none and no meaning: usage always comes.
_ELSEWHERE: Final = {"messages", "modalities", "image_config", "stream", "stream_options", "usage", "session_id"}
_PROVIDER_FIELDS: Final = {"only", "order", "ignore", "sort", "allow_fallbacks", "options"}
_DESCRIBED: Final = ("aspect_ratio", "resolution", "quality", "output_format", "background", "output_compression", "seed", "n")
# A model that has no knob for these ignores them, as the schema says: that it does not describe them is no reason to refuse.
_IGNORED_WHERE_UNKNOWN: Final = {"quality", "output_compression", "seed"}
# What stands beside it in the body, and is no part of it.
_BESIDE_IMAGE_CONFIG: Final = {*_PASSED_ON, "prompt", "stream", "input_references"}
_DESCRIBED_OVER_CHAT: Final = ("aspect_ratio", "resolution")
_TIERS: Final = {"512", "1K", "2K", "4K"}


def image_api_body(chat: Mapping[str, Any]) -> dict[str, Any]:
    """The body. Raises ConfigurationError for what only chat can do."""
    if strange := sorted(chat.keys() - _PASSED_ON - _ELSEWHERE):
        raise _only_chat(chat, strange[0])
    if strange := sorted(_BESIDE_IMAGE_CONFIG.intersection(chat.get("image_config") or ())):
        raise ConfigurationError(
            f"{strange[0]!r} is no part of image_config: pass it beside it, the pictures that are sent in as images=[...]"
        )
    prompt, references = _prompt_and_references(chat)
    body = {name: chat[name] for name in chat if name in _PASSED_ON}
    body |= {"prompt": prompt, "stream": True, **_picture_fields(chat)}
    if references:
        body["input_references"] = references
    _check_counts(body, references)
    if strange := sorted(set(body.get("provider") or ()) - _PROVIDER_FIELDS):
        raise ConfigurationError(f"the Image API takes no provider field {strange[0]!r}, only {sorted(_PROVIDER_FIELDS)}")
    return body


def image_api_headers(chat: Mapping[str, Any]) -> dict[str, str]:
    """What stands in the body of a chat request and in the headers of one to the Image API."""
    return {"x-session-id": str(chat["session_id"])} if "session_id" in chat else {}


def check_image_parameters(model: str, options: "ImageOptions", body: Mapping[str, Any]) -> None:
    """Raises ConfigurationError where the model says that it cannot do what a body, of either endpoint, asks of it.

    Over chat only what has the same meaning in both is looked at. `size` is fitted to each provider by the service.
    """
    if not options.parameters:
        return
    is_chat = "messages" in body
    asked = _picture_fields(body) if is_chat else dict(body)
    if asked.get("size") in _TIERS:
        asked.setdefault("resolution", asked["size"])
    for name in _DESCRIBED_OVER_CHAT if is_chat else _DESCRIBED:
        value, described = asked.get(name), options.parameters.get(name)
        if value is None or value == "auto" or (name == "n" and value == 1):
            continue
        if described is None:
            if is_chat or name in _IGNORED_WHERE_UNKNOWN:
                continue
            raise ConfigurationError(f"{model} takes no {name}: leave it out, or choose another model")
        if not described.allows(value):
            allowed = described.values or f"from {described.min} to {described.max}"
            raise ConfigurationError(f"{model} makes no picture with {name}={value!r}, only {allowed}")
    references, most = len(asked.get("input_references") or ()), options.max_input_images
    if not is_chat and most is not None and references > most:
        raise ConfigurationError(f"{model} takes {most or 'no'} pictures, and {references} are sent in")


def _picture_fields(chat: Mapping[str, Any]) -> dict[str, Any]:
    """`image_config` in the words of the Image API. A key that is not known is passed on."""
    fields = dict(chat.get("image_config") or {})
    if "image_size" in fields:
        size = fields.pop("image_size")
        fields["resolution"] = "512" if size == "0.5K" else size
    return fields


def _prompt_and_references(chat: Mapping[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """The last turn with what the system says in front; pictures that are sent with it, behind those of the answer before it."""
    messages: Sequence[Mapping[str, Any]] = chat["messages"]
    last = messages[-1]
    if last.get("role") != "user":
        raise ConfigurationError(f"the Image API wants a prompt, and the conversation ends with a message of {last['role']!r}")
    system = [message for message in messages if message.get("role") in ("system", "developer")]
    texts = [text for message in (*system, last) for text in _texts(message)]
    if not texts:
        raise ConfigurationError("the Image API wants a prompt: say in words what to draw")
    answers = [message for message in messages[:-1] if message.get("role") == "assistant"]
    earlier = [_reference(entry) for entry in (answers[-1].get("images") or ())] if answers else []
    sent = [_reference(part) for part in _parts(last) if part.get("type") == "image_url"]
    return "\n\n".join(texts), [*earlier, *(reference for reference in sent if reference not in earlier)]


def _parts(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    content = message.get("content")
    return [part for part in content if isinstance(part, Mapping)] if isinstance(content, Sequence) else []


def _texts(message: Mapping[str, Any]) -> list[str]:
    content = message.get("content")
    if isinstance(content, str):
        return [content]
    texts = []
    for part in _parts(message):
        if part.get("type") == "text":
            texts.append(str(part.get("text")))
        elif part.get("type") != "image_url":
            raise ConfigurationError(f'the Image API takes text and pictures, no {part.get("type")!r}: use api="chat"')
    return texts


def _reference(part: Mapping[str, Any]) -> dict[str, Any]:
    """An object even for an address: a bare one is refused (NousResearch/hermes-agent#58260)."""
    image_url = part.get("image_url")
    url = image_url.get("url") if isinstance(image_url, Mapping) else image_url
    return {"type": "image_url", "image_url": {"url": url}}


def _check_counts(body: Mapping[str, Any], references: list[dict[str, Any]]) -> None:
    count = body.get("n", 1)
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= _IMAGES_AT_MOST:
        raise ConfigurationError(f"the Image API makes 1 to {_IMAGES_AT_MOST} pictures a request, not n={count!r}")
    if len(references) > _REFERENCES_AT_MOST:
        raise ConfigurationError(f"the Image API takes {_REFERENCES_AT_MOST} pictures at most, and {len(references)} are sent in")


def _only_chat(chat: Mapping[str, Any], name: str) -> ConfigurationError:
    return ConfigurationError(
        f"{chat['model']} is asked on the Image API, which has no parameter {name!r}: leave it out, choose a model that also "
        'writes, or pass api="chat"'
    )
