"""The Image API: POST /images, streamed or in one piece, and the catalogue of what can paint."""

from collections.abc import Iterator, Mapping
from typing import Any

from or_stream.emulator._endpoints._catalogue import MODELS, Model, find
from or_stream.emulator._endpoints._chat import Pace
from or_stream.emulator._endpoints._models import slug_of
from or_stream.emulator._endpoints._refusals import json_answer, not_found
from or_stream.emulator._painting import ASPECT_RATIOS, JPEG, WEBP, Scene, base64_of, dimensions, picture, svg
from or_stream.emulator._script import JSON_TYPE, Done, Event, Identity, Scenario, Send, Step, dump, encode
from or_stream.emulator._wire import image_completed, images_body, partial_image, text_chunk, usage

_PREVIEWS = 2
_PREVIEW_SHARE = 8
_SIZES = {"512": "0.5K", "1K": "1K", "2K": "2K", "4K": "4K"}
_MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp", "svg": "image/svg+xml"}
_SPECIMENS = {"jpeg": JPEG, "webp": WEBP}
_TEXT_CHUNK_CHARACTERS = 64


def answer(body: Mapping[str, Any], identity: Identity, pace: Pace) -> Scenario:
    """The pictures. A model that cannot stream answers in one piece, whatever was asked for. Call it off the event loop."""
    painting = _Painting(body, identity, pace)
    return painting.streamed() if body.get("stream") and painting.model.has_image_stream else painting.whole()


class _Painting:
    def __init__(self, body: Mapping[str, Any], identity: Identity, pace: Pace) -> None:
        self.pace, self.identity, self.model = pace, identity, find(identity.model)
        self.prompt, self.count = str(body["prompt"]).encode(errors="replace").decode(), body.get("n") or 1
        self.format = body.get("output_format") or self.model.image_formats[0]
        self.media_type = _MEDIA_TYPES[self.format]
        self.size = _pixels(body)
        prompt_tokens, image_tokens = max(1, len(self.prompt) // 4), self.count * self.model.image_tokens
        self.usage = usage(
            prompt_tokens=prompt_tokens,
            completion_tokens=image_tokens,
            image_tokens=image_tokens,
            costs=self.model.cost(prompt_tokens, image_tokens, image_tokens),
        )
        # Google's answers say 0, as recorded.
        self.created = 0 if self.model.author == "google" else identity.created
        self.headers = {"X-Provider-Name": self.model.provider}

    def whole(self) -> Scenario:
        images = [(self._base64(index), self.media_type) for index in range(self.count)]
        says = Event(images_body([("", "")] * self.count, self.created, self.usage))
        data = dump(images_body(images, self.created, self.usage))
        return Scenario((Send(data, self.pace.image_seconds * self.count, says),), 200, JSON_TYPE, self.headers)

    def streamed(self) -> Scenario:
        steps = [step for index in range(self.count) for step in self._one(index)]
        return Scenario((*steps, Done()), headers=self.headers)

    def _one(self, index: int) -> Iterator[Step]:
        tokens = self.usage if index == self.count - 1 else None
        if self.format == "svg":
            yield from self._text(index)
        else:
            for number in range(_PREVIEWS):
                preview = picture(self.prompt, *(max(8, side // _PREVIEW_SHARE) for side in self.size), index=index)
                yield Event(partial_image(number, base64_of(preview)))
        done = image_completed(self._base64(index), self.media_type, self.identity.created, tokens)
        says = Event(image_completed("", None, 0, tokens))
        yield Send(encode(Event(done), self.identity), self.pace.image_seconds, says)

    def _text(self, index: int) -> Iterator[Step]:
        yield Event(text_chunk("A lamp above the water.", "reasoning"))
        markup = svg(Scene.of(self.prompt, index), *self.size)
        for at in range(0, len(markup), _TEXT_CHUNK_CHARACTERS):
            yield Event(text_chunk(markup[at : at + _TEXT_CHUNK_CHARACTERS]))

    def _base64(self, index: int) -> str:
        if self.format == "svg":
            data = svg(Scene.of(self.prompt, index), *self.size).encode()
        else:
            data = _SPECIMENS.get(self.format) or picture(self.prompt, *self.size, index=index)
        return base64_of(data)


def _pixels(body: Mapping[str, Any]) -> tuple[int, int]:
    """`size` in pixels is obeyed; a ratio that is not drawn becomes 1:1, as providers clamp to what they can."""
    size = str(body.get("size") or "")
    if "x" in size:
        width, height = map(int, size.split("x"))
        return width, height
    ratio = body.get("aspect_ratio")
    return dimensions(ratio if ratio in ASPECT_RATIOS else "1:1", _SIZES[size or body.get("resolution") or "1K"])


# The catalogue


def models() -> Scenario:
    """GET /images/models."""
    return json_answer({"data": [_listing(model) for model in _painters()]})


def endpoints(id: str) -> Scenario:
    """GET /images/models/{author}/{slug}/endpoints."""
    model = next((model for model in _painters() if model.id == id), None)
    if model is None:
        return not_found()
    served = {
        "provider_name": model.provider,
        "provider_slug": slug_of(model.provider),
        "provider_tag": slug_of(model.provider),
        "supported_parameters": _parameters(model),
        "allowed_passthrough_parameters": [],
        "supports_streaming": model.has_image_stream,
        "pricing": [
            {"billable": "output_image", "unit": "image", "cost_usd": model.cost(0, model.image_tokens, model.image_tokens)[1]}
        ],
    }
    return json_answer({"id": id, "endpoints": [served]})


def _painters() -> list[Model]:
    return [model for model in MODELS if "image" in model.outputs]


def _listing(model: Model) -> dict[str, Any]:
    return {
        "id": model.id,
        "name": model.name,
        "description": f"{model.name} as the emulator has it.",
        "created": model.created,
        "architecture": {"input_modalities": list(model.inputs), "output_modalities": list(model.outputs)},
        "supported_parameters": _parameters(model),
        "supports_streaming": model.has_image_stream,
        "endpoints": f"/api/v1/images/models/{model.id}/endpoints",
    }


def _parameters(model: Model) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "aspect_ratio": {"type": "enum", "values": list(ASPECT_RATIOS)},
        "resolution": {"type": "enum", "values": list(_SIZES)},
        "output_format": {"type": "enum", "values": list(model.image_formats)},
        "seed": {"type": "boolean"},
    }
    if model.has_image_stream:
        shown["n"] = {"type": "range", "min": 1, "max": 10}
        shown["quality"] = {"type": "enum", "values": ["auto", "low", "medium", "high"]}
        shown["background"] = {"type": "enum", "values": ["auto", "transparent", "opaque"]}
        shown["output_compression"] = {"type": "range", "min": 0, "max": 100}
    if "image" in model.inputs:
        shown["input_references"] = {"type": "range", "min": 0, "max": 16}
    return shown
