"""Where a request goes: which endpoint makes what this model puts out. Pure; what is known of the model comes in."""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from or_stream.errors import APIStatusError, OrStreamError, StreamFailed
from or_stream.protocol import API

__all__ = [
    "DRAW",
    "IMAGES",
    "TALK",
    "TALK_AND_DRAW",
    "Route",
    "is_for_its_output",
    "is_wrong_endpoint",
    "route_for",
    "routes_instead_of",
    "says_nothing",
]


class Route(NamedTuple):
    """An endpoint, and over chat what may come out."""

    api: API
    modalities: tuple[str, ...] = ()


IMAGES: Final = Route("images")
DRAW: Final = Route("chat", ("image",))
TALK: Final = Route("chat", ("text",))
TALK_AND_DRAW: Final = Route("chat", ("image", "text"))

_FUNNEL_STEP: Final = "Filter by Model Output Modalities"
_NOTHING_THERE: Final = {404, 405, 501}
_REASON: Final = re.compile(r"model|provider|endpoints|polic|guardrail|account|region|deprecated|retired")


def route_for(outputs: Collection[str] | None) -> Route:
    """For a model that puts this out; None where nobody knows."""
    if not outputs or {"image", "text"} <= set(outputs):
        return TALK_AND_DRAW
    return IMAGES if "image" in outputs else TALK


def routes_instead_of(
    refused: Route, error: OrStreamError, *, model: str, wants_image: bool, may_use_images: bool, cannot_do_both: bool
) -> tuple[Route, ...]:
    """Where to go after a refusal that says it was the wrong place, the likeliest first; nowhere for any other failure.

    A model that only talks refuses `["image", "text"]` with the same 404 as one that only draws (docs/wire.md). Where a model
    `cannot_do_both`, and the Image API names chat, it draws nowhere.
    """
    talking = () if wants_image else (TALK,)
    if is_wrong_endpoint(error):
        right = _right_endpoint(error)
        if refused.api == "images":
            drawing = () if cannot_do_both else (DRAW,)
            return (*drawing, *talking) if "chat" in right or not right else ()
        return (IMAGES,) if may_use_images and ("images" in right or not right) else ()
    if is_for_its_output(error):
        drawing = (IMAGES if may_use_images else DRAW,)
        return (*drawing, *talking) if "image" in model.lower() else (*talking, *drawing)
    return (DRAW, *talking) if refused.api == "images" and says_nothing(error, model) else ()


def is_wrong_endpoint(error: OrStreamError) -> bool:
    """Whether it says so in as many words."""
    return _availability(error).get("code") == "wrong_endpoint"


def is_for_its_output(error: OrStreamError) -> bool:
    """Whether it is the 404 for output modalities that the model has not."""
    if not isinstance(error, APIStatusError | StreamFailed) or error.status != 404:
        return False
    return "output modalities" in str(error) or error.metadata.get("failed_routing_step") == _FUNNEL_STEP


def says_nothing(error: OrStreamError, model: str) -> bool:
    """Whether it says no more than that there is nothing there, as a gateway does that has no Image API."""
    if not isinstance(error, APIStatusError) or error.status not in _NOTHING_THERE or error.provider:
        return False
    text = str(error).lower()
    return not error.metadata.keys() - {"error_type"} and model.lower() not in text and not _REASON.search(text)


def _availability(error: OrStreamError) -> Mapping[str, Any]:
    said = error.metadata.get("availability") if isinstance(error, APIStatusError | StreamFailed) else None
    return said if isinstance(said, Mapping) else {}


def _right_endpoint(error: OrStreamError) -> str:
    """What the refusal names; empty where it names none."""
    constraint = _availability(error).get("constraint")
    named = constraint.get("detail") if isinstance(constraint, Mapping) else None
    return named if isinstance(named, str) else ""
