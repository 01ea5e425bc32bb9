"""Model, and the endpoints it is served from. The field names of these answers are known here only."""

from datetime import date
from typing import Annotated, Any, ClassVar, Final, Literal, Self, Unpack

from pydantic import BeforeValidator, Field, StrictBool

from or_stream.catalog._images import ImageOptions, ImagePrice
from or_stream.catalog._pricing import Pricing, RequestSize
from or_stream.catalog._record import Count, Number, Record, Strings

__all__ = ["Endpoint", "Model"]

_ARCHITECTURE: Final = ("input_modalities", "output_modalities")
_TOP_PROVIDER: Final = ("max_completion_tokens", "is_moderated")

_Day = Annotated[date, BeforeValidator(lambda value: value[:10] if isinstance(value, str) else value)]


class Model(Record):
    """A model of the catalogue. Each part is None or empty where the service does not say.

    `created` is in Unix seconds. `image` is what the model takes on the Image API, None where it is not on it. From
    `expiration_date` on it is gone. `is_built_in` is set on a model of the table in this package, which stands in where the
    catalogue cannot be had: it has no prices.
    """

    not_on_the_wire: ClassVar[frozenset[str]] = frozenset({"extra", "image", "is_built_in"})

    id: str = ""
    name: str = ""
    canonical_slug: str | None = None
    description: str = Field(default="", repr=False)
    created: Count | None = None
    context_length: Count | None = None
    max_completion_tokens: Count | None = None
    is_moderated: StrictBool | None = None
    input_modalities: Strings = ()
    output_modalities: Strings = ()
    pricing: Pricing = Field(default_factory=Pricing)
    supported_parameters: Strings = Field(default=(), repr=False)
    expiration_date: _Day | None = None
    image: ImageOptions | None = None
    is_built_in: bool = False

    @classmethod
    def read(cls, document: Any) -> Self:
        """From an entry of `GET /models`."""
        said = _lifted(_lifted(document, "architecture", _ARCHITECTURE), "top_provider", _TOP_PROVIDER)
        if isinstance(said.get("pricing"), dict):
            said["pricing"] = Pricing.read(said["pricing"])
        return super().read(said)

    @classmethod
    def read_image_model(cls, document: Any) -> Self:
        """From an entry of `GET /images/models`, whose parameters are descriptors and which names no prices."""
        said = _lifted(document, "architecture", _ARCHITECTURE)
        model = cls.read({name: value for name, value in said.items() if name != "supported_parameters"})
        return model.model_copy(update={"image": ImageOptions.read(said)})

    @property
    def image_api(self) -> Literal["chat", "images"] | None:
        """How to have it draw: over chat where it also writes, else the Image API; None where it does not draw."""
        if "image" not in self.output_modalities:
            return None
        return "chat" if "text" in self.output_modalities else "images"

    @property
    def is_free(self) -> bool:
        """Whether a request costs nothing: what the model puts out has a price, and that and all others of a request are zero."""
        if self.id.endswith(":free"):
            return True
        prices = self.pricing
        made = {"image": prices.image_output, "audio": prices.audio_output}
        needed = [price for kind, price in made.items() if kind in self.output_modalities]
        needed += [prices.prompt, prices.completion, prices.request or 0.0]
        return all(price == 0 for price in needed)

    def estimate(self, **size: Unpack[RequestSize]) -> float | None:
        """US dollars for one request, or None where a price that it needs is unknown; see `Pricing.estimate`."""
        return self.pricing.estimate(**size)


class Endpoint(Record):
    """One provider's offer of a model. Each part is None or empty where the service does not say.

    `tag` is what `provider={"only": [...]}` takes. `status` is 0 where all is well, less than 0 where not. Uptimes are percent.
    `image` and `image_prices` are there for endpoints of the Image API, whose `pricing` is empty.
    """

    not_on_the_wire: ClassVar[frozenset[str]] = frozenset({"extra", "image", "image_prices"})

    provider: str = ""
    tag: str | None = None
    name: str = ""
    model_id: str | None = None
    status: int | None = None
    quantization: str | None = None
    context_length: Count | None = None
    max_completion_tokens: Count | None = None
    max_prompt_tokens: Count | None = None
    pricing: Pricing = Field(default_factory=Pricing)
    supported_parameters: Strings = Field(default=(), repr=False)
    supports_implicit_caching: StrictBool | None = None
    uptime_last_5m: Number | None = None
    uptime_last_30m: Number | None = None
    uptime_last_1d: Number | None = None
    latency_last_30m: dict[str, Number] | None = None
    throughput_last_30m: dict[str, Number] | None = None
    image: ImageOptions | None = None
    image_prices: tuple[ImagePrice, ...] = ()

    @classmethod
    def read(cls, document: Any) -> Self:
        """From an entry of `GET /models/{author}/{slug}/endpoints`, or of the same under /images."""
        said = dict(document) if isinstance(document, dict) else {}
        for name, wire_name in (("provider", "provider_name"), ("tag", "provider_tag")):
            if wire_name in said:
                said[name] = said.pop(wire_name)
        prices, parameters = said.get("pricing"), said.get("supported_parameters")
        if isinstance(prices, dict):
            said["pricing"] = Pricing.read(prices)
        if not isinstance(parameters, dict):
            return super().read(said)
        lines = [ImagePrice.read(line) for line in prices if isinstance(line, dict)] if isinstance(prices, list) else []
        there = super().read({name: value for name, value in said.items() if name not in ("pricing", "supported_parameters")})
        return there.model_copy(update={"image": ImageOptions.read(said), "image_prices": tuple(lines)})


def _lifted(document: Any, part: str, names: tuple[str, ...]) -> dict[str, Any]:
    """The object with some fields of one of its parts among its own."""
    said = dict(document) if isinstance(document, dict) else {}
    inner = said.get(part)
    if isinstance(inner, dict):
        said[part] = {name: value for name, value in inner.items() if name not in names}
        said.update({name: inner[name] for name in names if name in inner})
    return said
