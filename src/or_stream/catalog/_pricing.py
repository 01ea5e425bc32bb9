"""Prices: what a model charges for, and what a request comes to."""

import math
from typing import Annotated, Any, Final, Self, TypedDict, Unpack

from pydantic import Field

from or_stream.catalog._record import Count, Number, Record
from or_stream.errors import ConfigurationError

__all__ = ["Pricing", "RequestSize"]

Usd = Annotated[Number, Field(ge=0)]

# The published schema has `image` and `image_output` as dollars per picture; recorded, Gemini and GPT Image have dollars per
# token there (0.00003: 1290 tokens are $0.0387). No token costs 0.1 cents, and no picture costs so little.
_LEAST_USD_PER_IMAGE: Final = 0.001


class RequestSize(TypedDict, total=False):
    """What a request takes. `images` are pictures to be made.

    Some models charge for those by the token: then `tokens_per_image` must be given, and `completion_tokens` are those of the
    text alone. Pictures that are sent in (`input_images`) count where each has a price; elsewhere they are tokens of the prompt.
    """

    prompt_tokens: int
    completion_tokens: int
    images: int
    tokens_per_image: int
    input_images: int
    web_searches: int


class _Prices(Record):
    prompt: Usd | None = None
    completion: Usd | None = None
    request: Usd | None = None
    image: Usd | None = None
    image_output: Usd | None = None
    audio: Usd | None = None
    audio_output: Usd | None = None
    web_search: Usd | None = None
    internal_reasoning: Usd | None = None
    input_cache_read: Usd | None = None
    input_cache_write: Usd | None = None
    input_cache_write_1h: Usd | None = None
    input_audio_cache: Usd | None = None


class _Override(_Prices):
    """Prices that replace others where a prompt has more than so many tokens."""

    min_prompt_tokens: Count | None = None

    @property
    def depends_on_the_hour(self) -> bool:
        return "utc_start" in self.extra or "utc_end" in self.extra


class Pricing(_Prices):
    """US dollars for each token, request, search or picture; None where the service names no price.

    A router's prices depend on where it sends a request: the service says -1, and that is None here too. `image` (sent in) and
    `image_output` (made) are for a picture with some models and for a token with others: the properties
    tell them apart.
    """

    overrides: tuple[_Override, ...] = ()

    @classmethod
    def read(cls, document: Any) -> Self:
        """From the `pricing` of a model or of an endpoint."""
        said = dict(document) if isinstance(document, dict) else {}
        overrides = said.get("overrides")
        if isinstance(overrides, list):
            said["overrides"] = tuple(_Override.read(entry) for entry in overrides if isinstance(entry, dict))
        return super().read(said)

    @property
    def usd_per_image(self) -> float | None:
        """For each picture made, where the model charges like that."""
        price = self.image_output
        return price if price is not None and (price == 0 or price >= _LEAST_USD_PER_IMAGE) else None

    @property
    def usd_per_input_image(self) -> float:
        """For each picture sent in: zero where it is tokens of the prompt, or nothing is said of it."""
        return self.image if self.image is not None and self.image >= _LEAST_USD_PER_IMAGE else 0.0

    @property
    def usd_per_image_token(self) -> float | None:
        """For each token of a picture made, where the model charges like that."""
        return self.image_output if self.usd_per_image is None else None

    def for_prompt(self, tokens: int) -> "Pricing":
        """The prices of a request with so many tokens of prompt: long ones cost more with some models."""
        prices = self
        for override in self.overrides:
            if (
                override.min_prompt_tokens is not None
                and tokens > override.min_prompt_tokens
                and not override.depends_on_the_hour
            ):
                dearer = {name: getattr(override, name) for name in _Prices.model_fields if name != "extra"}
                prices = prices.model_copy(update={name: price for name, price in dearer.items() if price is not None})
        return prices

    def estimate(self, **size: Unpack[RequestSize]) -> float | None:
        """US dollars for one request, or None where a price that it needs is unknown.

        Discounts, those of caches among them, and prices of certain hours are left out. Raises ConfigurationError for a count
        that is none, and for one of something else.
        """
        _check_size(size)
        prompt_tokens, images = size.get("prompt_tokens", 0), size.get("images", 0)
        prices = self.for_prompt(prompt_tokens)
        made, tokens_per_image = prices.usd_per_image, size.get("tokens_per_image")
        if prices.usd_per_image_token is not None and tokens_per_image is not None:
            made = prices.usd_per_image_token * tokens_per_image
        parts = [
            (prompt_tokens, prices.prompt),
            (size.get("completion_tokens", 0), prices.completion),
            (images, made),
            (size.get("input_images", 0), prices.usd_per_input_image),
            (size.get("web_searches", 0), prices.web_search),
            (1, prices.request or 0.0),
        ]
        needed = [(count, price) for count, price in parts if count]
        known = [count * price for count, price in needed if price is not None]
        return sum(known) if len(known) == len(needed) else None


def _check_size(size: RequestSize) -> None:
    if unknown := sorted(size.keys() - RequestSize.__annotations__.keys()):
        raise ConfigurationError(f"an estimate takes no {unknown[0]!r}, only {sorted(RequestSize.__annotations__)}")
    for name, count in size.items():
        if isinstance(count, bool) or not isinstance(count, int | float) or not 0 <= count < math.inf:
            raise ConfigurationError(f"{name} must be a number, 0 or more, not {count!r}")
