"""Where a request goes: which endpoint makes what this model puts out. Pure; what is known of the model comes in."""

from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from or_stream.errors import APIStatusError, NotFound, OrStreamError
from or_stream.protocol import API

__all__ = ["DRAW", "IMAGES", "TALK", "TALK_AND_DRAW", "Route", "route_for", "route_instead_of"]


class Route(NamedTuple):
    """An endpoint, and over chat what may come out."""

    api: API
    modalities: tuple[str, ...] = ()


IMAGES: Final = Route("images")
DRAW: Final = Route("chat", ("image",))
TALK: Final = Route("chat", ("text",))
TALK_AND_DRAW: Final = Route("chat", ("image", "text"))

_FUNNEL_STEP: Final = "Filter by Model Output Modalities"


def route_for(outputs: Collection[str] | None) -> Route:
    """For a model that puts this out; None where nobody knows."""
    if not outputs or {"image", "text"} <= set(outputs):
        return TALK_AND_DRAW
    return IMAGES if "image" in outputs else TALK


def route_instead_of(refused: Route, error: OrStreamError, *, wants_image: bool, may_change_api: bool) -> Route | None:
    """Where to go after a refusal that says it was the wrong place; None for any other failure.

    A model that only talks refuses `["image", "text"]` with the same 404 as one that only draws (docs/wire.md).
    """
    if not isinstance(error, APIStatusError):
        return None
    availability = error.metadata.get("availability")
    if refused.api == "images":
        return DRAW if isinstance(error, NotFound) and may_change_api else None  # also a gateway that has no Image API
    if isinstance(availability, Mapping) and availability.get("code") == "wrong_endpoint":
        return IMAGES if "/images" in _place(availability) and may_change_api else None
    if isinstance(error, NotFound) and _is_for_its_output(error):
        return TALK if not wants_image else IMAGES if may_change_api else DRAW
    return None


def _place(availability: Mapping[str, Any]) -> str:
    constraint = availability.get("constraint")
    return str(constraint.get("detail") if isinstance(constraint, Mapping) else "/images")


def _is_for_its_output(error: APIStatusError) -> bool:
    return "output modalities" in str(error) or error.metadata.get("failed_routing_step") == _FUNNEL_STEP
