"""The catalogue over HTTP: GET /models with all its parameters, one model, and the endpoints of one."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlencode
from xml.sax.saxutils import escape

from or_stream.emulator._endpoints._catalogue import MODELS, Model
from or_stream.emulator._endpoints._refusals import json_answer, not_found, refusal
from or_stream.emulator._script import Scenario, Send

Query = Mapping[str, str]

_LIMIT_AT_MOST = 1000
_DAY_SECONDS = 86_400
_CATEGORIES = "programming roleplay marketing marketing/seo technology science translation legal finance health trivia academia"


def models(query: Query) -> Scenario:
    """GET /models. What only paints is left out unless `output_modalities` asks for it."""
    wrong = _complaint(query)
    if wrong is not None:
        return refusal(400, wrong)
    found = _sorted([model for model in MODELS if all(keeps(model, query) for keeps in _FILTERS)], query.get("sort"))
    if query.get("use_rss") == "true":
        return _feed(found, has_chat_links=query.get("use_rss_chat_links") == "true")
    if not {"limit", "offset"} & query.keys():
        return _page(found, len(found), None)
    first, size = int(query.get("offset") or 0), int(query.get("limit") or 500)
    following = {**query, "offset": str(first + size), "limit": str(size)}
    link = f"/api/v1/models?{urlencode(following)}" if first + size < len(found) else None
    return _page(found[first : first + size], len(found), link)


def _page(shown: Iterable[Model], total: int, following: str | None) -> Scenario:
    return json_answer({"data": [entry(model) for model in shown], "total_count": total, "links": {"next": following}})


def count(query: Query) -> Scenario:
    """GET /models/count."""
    return json_answer({"data": {"count": sum(_has_output(model, query) for model in MODELS)}})


def one(id: str) -> Scenario:
    """GET /model/{author}/{slug}."""
    found = _listed(id)
    return not_found() if found is None else json_answer({"data": entry(found)})


def endpoints(id: str) -> Scenario:
    """GET /models/{author}/{slug}/endpoints."""
    found = _listed(id)
    if found is None:
        return not_found()
    whole = entry(found)
    kept = {key: whole[key] for key in ("id", "name", "created", "description", "architecture")}
    return json_answer({"data": {**kept, "endpoints": [_endpoint(found, whole)]}})


def _listed(id: str) -> Model | None:
    return next((model for model in MODELS if model.id == id), None)


# The shapes


def entry(model: Model) -> dict[str, Any]:
    """A model as GET /models shows it."""
    inputs, outputs = ("+".join(sorted(kinds, key=_MODALITIES.index)) for kinds in (model.inputs, model.outputs))
    shown: dict[str, Any] = {
        "id": model.id,
        "canonical_slug": model.id.partition(":")[0],
        "hugging_face_id": "",
        "name": model.name,
        "created": model.created,
        "description": f"{model.name} as the emulator has it: {inputs} in, {outputs} out. Made up, and priced at will.",
        "context_length": model.context_length,
        "architecture": {
            "modality": f"{inputs}->{outputs}",
            "input_modalities": list(model.inputs),
            "output_modalities": list(model.outputs),
            "tokenizer": model.tokenizer,
            "instruct_type": None,
        },
        "pricing": prices(model),
        "top_provider": {
            "context_length": model.context_length,
            "max_completion_tokens": model.max_completion_tokens,
            "is_moderated": model.is_moderated,
        },
        "per_request_limits": None,
        "supported_parameters": sorted(model.parameters),
        "default_parameters": {"temperature": None, "top_p": None, "frequency_penalty": None},
        "supported_voices": None,
        "knowledge_cutoff": None,
        "expiration_date": None,
        "links": {"details": f"/api/v1/models/{model.id}/endpoints"},
    }
    if model.reasoning is not None:
        shown["reasoning"] = dict(model.reasoning)
    scores = _scores(model)
    return {**shown, "benchmarks": scores} if scores else shown


_MODALITIES = ["text", "image", "file", "audio", "video", "embeddings"]


def prices(model: Model) -> dict[str, str]:
    """Strings of USD a token. `image_output` is the price of a token of a picture that is made."""
    shown = {"prompt": _price(model.prompt_price), "completion": _price(model.completion_price)}
    if "image" in model.inputs:
        shown["image"] = _price(model.prompt_price)
    if "image" in model.outputs:
        shown["image_output"] = _price(model.image_price)
    if "audio" in model.inputs:
        shown["audio"] = _price(model.prompt_price)
    return shown


def _price(per_million: float) -> str:
    return f"{per_million / 1e6:.12f}".rstrip("0").rstrip(".")


def _scores(model: Model) -> dict[str, Any] | None:
    if model.elo is None and model.intelligence is None:
        return None
    arena = {"arena": "models", "category": "website", "elo": model.elo, "win_rate": 50.0, "rank": 10}
    shown: dict[str, Any] = {"design_arena": [] if model.elo is None else [arena]}
    if model.intelligence is not None:
        shown["artificial_analysis"] = {
            "intelligence_index": model.intelligence,
            "coding_index": model.coding,
            "agentic_index": model.agentic,
        }
    return shown


def _endpoint(model: Model, whole: Mapping[str, Any]) -> dict[str, Any]:
    speed, wait = model.tokens_per_second, model.latency_seconds
    takes_tools = "tool_choice" in model.parameters
    return {
        "name": f"{model.provider} | {model.id}",
        "model_id": model.id,
        "model_name": model.name,
        "context_length": model.context_length or 0,
        "pricing": {**whole["pricing"], "discount": 0},
        "provider_name": model.provider,
        "tag": slug_of(model.provider),
        "quantization": "unknown",
        "max_completion_tokens": model.max_completion_tokens,
        "max_prompt_tokens": None,
        "supported_parameters": whole["supported_parameters"],
        "status": 0,
        "uptime_last_5m": 100.0,
        "uptime_last_30m": 100.0,
        "uptime_last_1d": 99.9,
        "latency_last_30m": {"p50": wait, "p75": wait * 1.5, "p90": wait * 2, "p99": wait * 4},
        "throughput_last_30m": {"p50": speed, "p75": speed * 0.8, "p90": speed * 0.6, "p99": speed * 0.3},
        "supports_implicit_caching": False,
        "supports_diarization": False,
        "supports_tool_choice": dict.fromkeys(("auto", "function", "none", "required"), takes_tools),
        "service_tier": None,
        "native_tools": {},
    }


def slug_of(provider: str) -> str:
    """A provider as requests name it."""
    return provider.lower().replace(" ", "-").replace(".", "-")


def _feed(shown: Iterable[Model], *, has_chat_links: bool) -> Scenario:
    def link(model: Model) -> str:
        return f"https://openrouter.ai/chat?models={model.id}" if has_chat_links else f"https://openrouter.ai/{model.id}"

    items = "".join(
        f"<item><title>{escape(model.name)}</title><link>{escape(link(model))}</link><guid>{escape(model.id)}</guid></item>"
        for model in shown
    )
    channel = f"<channel><title>OpenRouter Models</title>{items}</channel>"
    page = f'<?xml version="1.0" encoding="UTF-8"?><rss version="2.0">{channel}</rss>'
    return Scenario((Send(page.encode()),), content_type="application/rss+xml", generation_header=False)


# What is asked for


def _words(query: Query, name: str) -> list[str]:
    return [word.strip().lower() for word in query.get(name, "").split(",") if word.strip()]


def _has_output(model: Model, query: Query) -> bool:
    wanted = _words(query, "output_modalities") or ["text"]
    return wanted == ["all"] or bool(set(wanted) & set(model.outputs))


def _between(name: str, value: Callable[[Model], float | None]) -> Callable[[Model, Query], bool]:
    """The parameters `min_NAME` and `max_NAME`. A model without that value is in no range."""

    def keeps(model: Model, query: Query) -> bool:
        low, high = (query.get(f"{side}_{name}") for side in ("min", "max"))
        if not low and not high:
            return True
        found = value(model)
        return found is not None and (not low or found >= float(low)) and (not high or found <= float(high))

    return keeps


_RANGES: dict[str, Callable[[Model], float | None]] = {
    "price": lambda model: model.prompt_price,
    "output_price": lambda model: model.completion_price,
    "age_days": lambda model: (time.time() - model.created) / _DAY_SECONDS,
    "intelligence_index": lambda model: model.intelligence,
    "coding_index": lambda model: model.coding,
    "agentic_index": lambda model: model.agentic,
    "tool_success_rate": lambda model: model.tool_success_rate,
}

_FILTERS: list[Callable[[Model, Query], bool]] = [
    _has_output,
    lambda model, query: set(_words(query, "input_modalities")) <= set(model.inputs),
    lambda model, query: set(_words(query, "supported_parameters")) <= set(model.parameters),
    lambda model, query: query.get("category") in {None, "", *model.categories},
    lambda model, query: query.get("q", "").lower() in f"{model.name} {model.id}".lower(),
    lambda model, query: (model.context_length or 0) >= int(query.get("context") or 0),
    lambda model, query: query.get("arch", "").lower() in {"", model.tokenizer.lower()},
    lambda model, query: not query.get("model_authors") or model.author in _words(query, "model_authors"),
    lambda model, query: not query.get("providers") or bool(_provider_names(model) & set(_words(query, "providers"))),
    lambda model, query: query.get("distillable") in {None, "", str(model.is_distillable).lower()},
    lambda model, query: query.get("zdr") != "true" or model.keeps_no_data,
    lambda model, query: query.get("region") in {None, "", *model.regions},
    *(_between(name, value) for name, value in _RANGES.items()),
]


def _provider_names(model: Model) -> set[str]:
    return {model.provider.lower(), slug_of(model.provider)}


def _average_price(model: Model) -> float:
    return model.prompt_price + model.completion_price


def _lowest_last(value: Callable[[Model], float | None]) -> Callable[[Model], float]:
    """What to sort by, the highest first; what has no value comes last."""
    return lambda model: -found if (found := value(model)) is not None else float("inf")


_ORDERS: dict[str, Callable[[Model], float]] = {
    "most-popular": MODELS.index,
    "top-weekly": MODELS.index,
    "newest": lambda model: -model.created,
    "pricing-low-to-high": _average_price,
    "pricing-high-to-low": lambda model: -_average_price(model),
    "context-high-to-low": _lowest_last(lambda model: model.context_length),
    "throughput-high-to-low": lambda model: -model.tokens_per_second,
    "latency-low-to-high": lambda model: model.latency_seconds,
    "intelligence-high-to-low": _lowest_last(lambda model: model.intelligence),
    "coding-high-to-low": _lowest_last(lambda model: model.coding),
    "agentic-high-to-low": _lowest_last(lambda model: model.agentic),
    "design-arena-elo-high-to-low": _lowest_last(lambda model: model.elo),
}


def _sorted(found: list[Model], order: str | None) -> list[Model]:
    return sorted(found, key=_ORDERS[order or "newest"])


_ENUMS = {
    "sort": list(_ORDERS),
    "category": _CATEGORIES.split(),
    "distillable": ["true", "false"],
    "zdr": ["true"],
    "region": ["eu", "us"],
}
_NUMBERS = {"offset": (0, None), "limit": (1, _LIMIT_AT_MOST), "context": (1, None)} | {
    f"{side}_{name}": (0, 1 if name == "tool_success_rate" else None) for side in ("min", "max") for name in _RANGES
}
_WHOLE = ("offset", "limit", "context", "min_age_days", "max_age_days")


def _complaint(query: Query) -> str | None:
    for name, known in _ENUMS.items():
        if query.get(name) and query[name] not in known:
            return f"Invalid input at {name}: expected one of {', '.join(known)}"
    for name, (low, high) in _NUMBERS.items():
        if not query.get(name):
            continue
        try:
            value = int(query[name]) if name in _WHOLE else float(query[name])
        except ValueError:
            return f"Invalid input at {name}: expected a number"
        if not low <= value <= (high if high is not None else float("inf")):
            return f"Invalid input at {name}: expected a number from {low}" + ("" if high is None else f" to {high}")
    return None
