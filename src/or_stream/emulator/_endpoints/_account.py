"""What was made and what is left: GET /generation, /key and /credits, all read off the bill."""

from datetime import UTC, datetime
from typing import Any

from or_stream.emulator._bill import Bill, BillEntry
from or_stream.emulator._endpoints._refusals import USER_ID, json_answer, refusal
from or_stream.emulator._script import Scenario

# What GET /credits says was bought where credit has no end.
_NO_END_OF_CREDITS = 1_000_000.0


def generation(bill: Bill, id: str | None, now_seconds: float, delay_seconds: float) -> Scenario:
    """GET /generation?id=: 404 while it goes on and for `delay_seconds` after its end."""
    if not id:
        return refusal(400, "Invalid input at id: expected string, received undefined")
    entry = bill.get(id)
    if entry is None or now_seconds < entry.ended_seconds + delay_seconds:
        return refusal(404, f"Generation {id} not found")
    return json_answer({"data": _generation(entry)})


def _generation(entry: BillEntry) -> dict[str, Any]:
    """First what was recorded, in that order, then what the schema has added. `streamed` is always true, as recorded."""
    provider_response = {
        "id": _upstream_id(entry),
        "is_byok": False,
        "latency": entry.latency_milliseconds,
        "model_permaslug": entry.model,
        "provider_name": entry.provider,
        "status": 200,
    }
    return {
        "created_at": datetime.fromtimestamp(entry.created, UTC).isoformat(timespec="microseconds"),
        "model": entry.model,
        "app_id": None,
        "external_user": entry.user,
        "streamed": True,
        "cancelled": entry.cancelled,
        "latency": entry.latency_milliseconds,
        "moderation_latency": None,
        "generation_time": entry.generation_milliseconds,
        "tokens_prompt": entry.prompt_tokens,
        "tokens_completion": entry.completion_tokens,
        "native_tokens_prompt": entry.prompt_tokens,
        "native_tokens_completion": entry.completion_tokens,
        "native_tokens_completion_images": entry.image_tokens or None,
        "native_tokens_reasoning": entry.reasoning_tokens,
        "native_tokens_cached": 0,
        "num_media_prompt": None,
        "num_input_audio_prompt": None,
        "num_media_completion": entry.images,
        "num_search_results": None,
        "origin": entry.headers.get("http-referer", ""),
        "is_byok": False,
        "finish_reason": entry.finish_reason,
        "native_finish_reason": entry.native_finish_reason,
        "usage": entry.cost,
        "api_type": "image" if entry.endpoint == "images" else "completions",
        "id": entry.generation_id,
        "upstream_id": _upstream_id(entry),
        "total_cost": entry.cost,
        "cache_discount": None,
        "upstream_inference_cost": 0,
        "provider_name": entry.provider,
        "data_region": "global",
        "http_referer": entry.headers.get("http-referer"),
        "num_fetches": None,
        "preset_id": None,
        "provider_responses": [provider_response],
        "request_id": f"req-{entry.generation_id.removeprefix('gen-')}",
        "router": None,
        "service_tier": None,
        "session_id": entry.headers.get("x-session-id"),
        "user_agent": entry.headers.get("user-agent"),
        "web_search_engine": None,
        "workspace_id": None,
    }


def _upstream_id(entry: BillEntry) -> str:
    return f"chatcmpl-{entry.generation_id.rpartition('-')[2]}"


def key(bill: Bill, credits: float | None) -> Scenario:
    """GET /key. The limit of the key is the credit there is."""
    used = bill.total
    usages = {f"usage{period}": used for period in ("", "_daily", "_weekly", "_monthly")}
    others = {f"byok_usage{period}": 0 for period in ("", "_daily", "_weekly", "_monthly")}
    shown = {
        "label": "sk-or-v1-emu...lat",
        "is_management_key": False,
        "is_provisioning_key": False,
        "limit": credits,
        "limit_reset": None,
        "limit_remaining": None if credits is None else max(0.0, round(credits - used, 10)),
        "include_byok_in_limit": False,
        **usages,
        **others,
        "is_free_tier": False,
        "expires_at": None,
        "creator_user_id": USER_ID,
        "organization_id": None,
        "workspace_id": None,
        "allowed_data_regions": ["global"],
        "budgets": [],
        "effective_budget": None,
        "free_model_daily_requests": {"used": 0, "limit": 1000, "remaining": 1000},
        "rate_limit": {"requests": -1, "interval": "10s", "note": "This field is deprecated and safe to ignore."},
    }
    return json_answer({"data": shown})


def credits_left(bill: Bill, credits: float | None) -> Scenario:
    """GET /credits. The service wants a management key; here any key will do."""
    bought = _NO_END_OF_CREDITS if credits is None else credits
    return json_answer({"data": {"total_credits": bought, "total_usage": bill.total}})
