"""Refusals of requests, with the bodies of the service. What is odd about them is in `scenarios`."""

from collections.abc import Mapping, Sequence
from typing import Any

from or_stream.emulator._endpoints._catalogue import Model
from or_stream.emulator._script import JSON_TYPE, Scenario, Send, dump
from or_stream.emulator._wire import error_body

USER_ID = "user_emulated"
_ROUTING_DOCS = "https://openrouter.ai/docs/provider-routing"


def json_answer(body: Any, status: int = 200) -> Scenario:
    """JSON, without an id of a generation."""
    return Scenario((Send(dump(body)),), status, JSON_TYPE, generation_header=False)


def refusal(status: int, message: str, metadata: Mapping[str, Any] | None = None, **fields: Any) -> Scenario:
    """`error` with its code, and what stands beside it."""
    return json_answer(error_body(status, message, metadata, **fields), status)


def not_found() -> Scenario:
    """No such endpoint, or no such model at one."""
    return refusal(404, "Not Found")


def no_key() -> Scenario:
    """No bearer key."""
    return refusal(401, "Missing Authentication header")


def wrong_key() -> Scenario:
    """A key that nobody has."""
    return refusal(401, "User not found.")


def unknown_model(id: str, why: str = "") -> Scenario:
    """No model has that id."""
    return refusal(400, f"{id} is not a valid model ID{why and f' ({why})'}", user_id=USER_ID)


def no_tools() -> Scenario:
    """Tools for a model that has no endpoint with them."""
    return refusal(404, f"No endpoints found that support tool use. To learn more about provider routing, visit: {_ROUTING_DOCS}")


def wrong_modalities(modalities: Sequence[str]) -> Scenario:
    """What the model does not put out."""
    funnel = [{"step": "Initial Endpoints", "endpoint_count": 1}]
    return refusal(
        404,
        f"No endpoints found that support the requested output modalities: {', '.join(sorted(modalities))}",
        {"routing_funnel": funnel, "failed_routing_step": "Filter by Model Output Modalities"},
    )


def wrong_endpoint(model: Model, right: str) -> Scenario:
    """A model that is to be had at another endpoint: `availability` names it (documented since 2026-08-19)."""
    body = error_body(404, f"{model.id} is not available on this endpoint. Use POST /api/v1{right} instead.")
    body["error"]["availability"] = {
        "code": "wrong_endpoint",
        "retryable": False,
        "requested_models": [model.id],
        "constraint": {"field": "model", "detail": f"/api/v1{right}"},
        "docs_url": "https://openrouter.ai/docs/api/reference/errors-and-debugging",
    }
    return json_answer(body, 404)


def moderated(model: Model, reason: str, flagged: str) -> Scenario:
    """A prompt that was flagged."""
    metadata = {"reasons": [reason], "flagged_input": flagged[:100]}
    message = (
        f'{model.id} requires moderation on {model.provider}. Your input was flagged for "{reason}". No credits were charged.'
    )
    return refusal(403, message, metadata)


def out_of_credit(requested_tokens: int | None = None, affordable_tokens: int = 0) -> Scenario:
    """Nothing is left, or less than the tokens that were requested cost."""
    if requested_tokens is None:
        message = "Insufficient credits. Add more using https://openrouter.ai/settings/credits"
    else:
        message = (
            f"This request requires more credits, or fewer max_tokens. You requested up to {requested_tokens} tokens, but can "
            f"only afford {affordable_tokens}. To increase, visit https://openrouter.ai/settings/credits and upgrade to a paid "
            "account"
        )
    return refusal(402, message, {"provider_name": None}, user_id=USER_ID)
