"""The models of the emulator: made up, and listed in `catalogue.json`. Their prices are what the bill is made of."""

import json
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

_PROVIDERS = {
    "anthropic": "Anthropic",
    "black-forest-labs": "Black Forest Labs",
    "bytedance-seed": "Seed",
    "deepseek": "DeepSeek",
    "google": "Google",
    "mistralai": "Mistral",
    "openai": "OpenAI",
    "perplexity": "Perplexity",
    "quiver": "Quiver",
    "x-ai": "xAI",
    "z-ai": "Z.AI",
}
_SAMPLING = ("max_tokens", "seed", "stop", "temperature", "top_p")
_TOOLS = ("tool_choice", "tools")
_IMAGES_IN = ("image", "text")
_EVERYTHING_IN = ("text", "image", "file", "audio", "video")
_IMAGE_ONLY_NAMES = ("flux", "seedream", "recraft", "riverflow", "gpt-image", "grok-imagine", "mai-image")


@dataclass(frozen=True, slots=True)
class Model:
    """One model. Prices are USD a million tokens; a picture costs `image_tokens` of them."""

    id: str
    name: str = ""
    created: int = 1767225600
    context_length: int | None = 131_072
    max_completion_tokens: int | None = 16_384
    inputs: tuple[str, ...] = ("text",)
    outputs: tuple[str, ...] = ("text",)
    prompt_price: float = 0.3
    completion_price: float = 2.5
    image_price: float = 30.0
    image_tokens: int = 1290
    parameters: tuple[str, ...] = _SAMPLING
    reasoning: Mapping[str, Any] | None = None
    tokenizer: str = "Other"
    is_moderated: bool = False
    has_chat: bool = True
    has_image_stream: bool = False
    image_formats: tuple[str, ...] = ("png", "jpeg", "webp")
    categories: tuple[str, ...] = ()
    regions: tuple[str, ...] = ("us",)
    is_distillable: bool = False
    keeps_no_data: bool = False
    intelligence: float | None = None
    coding: float | None = None
    agentic: float | None = None
    elo: float | None = None
    tool_success_rate: float | None = None
    tokens_per_second: float = 60.0
    latency_seconds: float = 0.8

    @property
    def author(self) -> str:
        """What stands before the slash."""
        return self.id.partition("/")[0]

    @property
    def provider(self) -> str:
        """Who serves it."""
        return _PROVIDERS.get(self.author, "FakeProvider")

    @property
    def takes_tools(self) -> bool:
        """Whether an endpoint supports tool use."""
        return "tools" in self.parameters

    @property
    def is_listed(self) -> bool:
        """Whether GET /models knows it."""
        return self.id in _BY_ID

    def cost(self, prompt_tokens: int, completion_tokens: int, image_tokens: int = 0) -> tuple[float, float]:
        """USD for the prompt and for the completion, whose tokens include those of its pictures."""
        prompt = prompt_tokens * self.prompt_price / 1e6
        completion = ((completion_tokens - image_tokens) * self.completion_price + image_tokens * self.image_price) / 1e6
        return round(prompt, 10), round(completion, 10)


def _models(rows: list[dict[str, Any]]) -> Iterator[Model]:
    for row in rows:
        fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
        yield Model(**fields)


_CATALOGUE: dict[str, Any] = json.loads((Path(__file__).parent / "catalogue.json").read_text(encoding="utf-8"))
MODELS: tuple[Model, ...] = tuple(_models(_CATALOGUE["models"]))
# What an id may begin with: an author that the service knows, or what examples and test suites put there.
_AUTHORS = frozenset(_CATALOGUE["authors"] + _CATALOGUE["placeholders"])
_BY_ID: Mapping[str, Model] = {model.id: model for model in MODELS}


def find(id: str) -> Model:
    """The model of that id, or one made up for it: what an id that is not listed can do is guessed from its name."""
    if id in _BY_ID:
        return _BY_ID[id]
    name, _, variant = id.partition(":")
    model = replace(_BY_ID.get(name) or _guessed(id), id=id)
    return replace(model, prompt_price=0.0, completion_price=0.0, image_price=0.0) if variant == "free" else model


def _guessed(id: str) -> Model:
    if any(name in id for name in _IMAGE_ONLY_NAMES):
        return Model(id, id, inputs=_IMAGES_IN, outputs=("image",), parameters=(), context_length=None)
    return Model(id, id, inputs=_EVERYTHING_IN, outputs=("image", "text"), parameters=(*_SAMPLING, *_TOOLS))


def is_model_id(id: str, also: AbstractSet[str] = frozenset()) -> bool:
    """Whether there may be such a model: listed, one of `also`, or of an author who is known."""
    author, slash, slug = id.removeprefix("~").partition("/")
    return id in _BY_ID or id in also or bool(slash and slug and author in _AUTHORS)
