"""The catalogue as a list: both lists of the service as one, what was asked for of it, and what stands in for it."""

from collections.abc import Collection, Iterable
from typing import Any, Final, TypedDict, Unpack

from or_stream._model_families import outputs_by_name
from or_stream.catalog._model import Model
from or_stream.errors import ConfigurationError

__all__ = ["ModelFilter", "built_in_model", "built_in_models", "check_filter", "read_models", "select"]


class ModelFilter(TypedDict, total=False):
    """What a model must have. A single text is as good as a list of one; None and an empty list ask for nothing.

    `input_modalities`, `output_modalities` and `supported_parameters`: all of these. `max_price`: neither a token of the prompt
    nor one of the answer costs more, in US dollars for a million of them; a model whose prices are unknown is left out.
    `provider`: who serves it, by name or slug.
    """

    output_modalities: Collection[str] | str | None
    input_modalities: Collection[str] | str | None
    supported_parameters: Collection[str] | str | None
    max_price: float | None
    provider: str | None


def read_models(models: Any, image_models: Any) -> list[Model]:
    """From the bodies of `GET /models` and `GET /images/models`, either of which may be anything. Never raises."""
    listed = [Model.read(entry) for entry in _entries(models)]
    drawing = [Model.read_image_model(entry) for entry in _entries(image_models)]
    options = {model.id: model.image for model in drawing if model.id}
    known = {model.id for model in listed if model.id}
    merged = [model.model_copy(update={"image": options[model.id]}) if model.id in options else model for model in listed]
    return [*merged, *(model for model in drawing if model.id not in known)]


def check_filter(wanted: ModelFilter) -> None:
    """Raises ConfigurationError for a filter that is none, and for one of which nothing can be made."""
    if unknown := wanted.keys() - ModelFilter.__annotations__.keys():
        raise ConfigurationError(f"unknown filter of models {sorted(unknown)}: there are {sorted(ModelFilter.__annotations__)}")
    for name in ("output_modalities", "input_modalities", "supported_parameters"):
        given: Any = wanted.get(name)
        is_list = isinstance(given, Collection) and not isinstance(given, bytes | bytearray)
        if given is not None and not (is_list and all(isinstance(one, str) for one in given)):
            raise ConfigurationError(f'{name} must be a text or a list of texts, such as ["image"], not {given!r}')
    most, provider = wanted.get("max_price"), wanted.get("provider")
    if most is not None and (isinstance(most, bool) or not isinstance(most, int | float) or not most >= 0):
        raise ConfigurationError(f"max_price must be US dollars for a million tokens, 0 or more, not {most!r}")
    if provider is not None and not (isinstance(provider, str) and provider.strip()):
        raise ConfigurationError(f'provider must be a name such as "Google", not {provider!r}')


def select(models: Iterable[Model], **wanted: Unpack[ModelFilter]) -> list[Model]:
    """Those that have what is wanted, in the same order. `provider` is not looked at: a model does not say who serves it.

    Raises ConfigurationError for a filter of which nothing can be made.
    """
    check_filter(wanted)
    outputs, inputs = _set(wanted.get("output_modalities")), _set(wanted.get("input_modalities"))
    parameters, most = _set(wanted.get("supported_parameters")), wanted.get("max_price")
    return [
        model
        for model in models
        if outputs <= set(model.output_modalities)
        and inputs <= set(model.input_modalities)
        and parameters <= _parameters(model)
        and (most is None or _costs_at_most(model, most))
    ]


def built_in_models() -> list[Model]:
    """What is known to draw, for where the catalogue cannot be had: by id and modalities, without prices."""
    return [model for model_id in _DRAWING_MODELS if (model := built_in_model(model_id)) is not None]


def built_in_model(model_id: str) -> Model | None:
    """What the id alone says of a model that draws; None where it says nothing."""
    outputs = outputs_by_name(model_id)
    if outputs is None:
        return None
    return Model(id=model_id, name=model_id, input_modalities=("text", "image"), output_modalities=outputs, is_built_in=True)


_DRAWING_MODELS: Final = (
    "google/gemini-2.5-flash-image",
    "google/gemini-3-pro-image",
    "google/gemini-3.1-flash-image",
    "google/gemini-3.1-flash-lite-image",
    "openai/gpt-5-image",
    "openai/gpt-5-image-mini",
    "openai/gpt-5.4-image-2",
    "bytedance-seed/seedream-4.5",
    "bytedance-seed/seedream-5-0-pro",
)


def _entries(document: Any) -> list[Any]:
    entries = document.get("data") if isinstance(document, dict) else None
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _set(wanted: Collection[str] | str | None) -> set[str]:
    return {wanted} if isinstance(wanted, str) else set(wanted or ())


def _parameters(model: Model) -> set[str]:
    return {*model.supported_parameters, *(model.image.parameters if model.image is not None else ())}


def _costs_at_most(model: Model, usd_per_million: float) -> bool:
    prices = (model.pricing.prompt, model.pricing.completion)
    return all(price is not None and price * 1e6 <= usd_per_million for price in prices)
