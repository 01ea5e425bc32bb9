"""Arguments -> one request, ready to be sent as often as needed."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from or_stream._model_families import outputs_by_name
from or_stream.client.request._chat import chat_body
from or_stream.client.request._encoding import encoded, request_headers
from or_stream.client.request._image_api import check_image_parameters, image_api_body, image_api_headers
from or_stream.client.request._options import DEFAULT_MODEL, Prompt, check_options
from or_stream.client.request._route import (
    DRAW,
    IMAGES,
    TALK,
    TALK_AND_DRAW,
    Route,
    is_for_its_output,
    is_wrong_endpoint,
    route_for,
    routes_instead_of,
    says_nothing,
)
from or_stream.errors import APIStatusError, ConfigurationError, OrStreamError, ServerFailed, StreamFailed

if TYPE_CHECKING:
    from or_stream.catalog import Model

__all__ = ["Request", "build_request", "checked_folder"]

_CONTROL_CHARACTERS: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f]")


class Request:
    """One generation as it is asked for: which endpoint, which body. Ready to be sent as often as needed; has no key.

    Until `decide` the route is a guess from the model's name, unless the caller has fixed it.
    """

    __slots__ = (
        "_api",
        "_extra",
        "_fields",
        "_has_failed",
        "_may_change_api",
        "_may_change_modalities",
        "_own_headers",
        "_refusals",
        "body",
        "headers",
        "images_wanted",
        "is_decided",
        "model",
        "require_image",
        "route",
        "save_to",
    )

    def __init__(self, fields: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        self._api: str = options.get("api") or "auto"
        self._fields = fields  # of the chat request: the other is made from it
        self._extra: Mapping[str, Any] = options.get("extra_body") or {}
        asked = {**fields, **self._extra}
        self._may_change_modalities = options.get("modalities") is None and "modalities" not in self._extra
        self._may_change_api = self._api == "auto" and (self._may_change_modalities or asked["modalities"] == ["image"])
        self._own_headers = request_headers(options.get("extra_headers") or {})
        self.model: str = asked["model"] if isinstance(asked["model"], str) else fields["model"]
        self.images_wanted: int = asked["n"] if isinstance(asked.get("n"), int) else 1
        self.save_to: Path | None = checked_folder(options.get("save_to"))
        self.require_image: bool = bool(options.get("require_image"))
        self._has_failed = False  # over chat, as some models do there that only draw
        self._refusals: tuple[tuple[Route, OrStreamError], ...] = ()  # each of which led to another route
        self.is_decided: bool = not self._may_change_api and not self._may_change_modalities
        if self._api == "images" and "image" not in fields["modalities"]:
            raise ConfigurationError('modalities are for chat: leave them out, or api="images"')
        self._take(self._allowed(route_for(outputs_by_name(self.model))))

    @property
    def path(self) -> str:
        """Of the endpoint, behind the address of the service."""
        return "/images" if self.route.api == "images" else "/chat/completions"

    @property
    def is_worth_asking(self) -> bool:
        """Whether to ask the catalogue before sending: for a picture, which takes seconds, and where the name does not tell.

        A request for text is never held up: a model that refuses the guess says so at once, and at no cost. Only some that draw
        fail over chat without a word, so that the name does not tell behind a failure.
        """
        is_unsure = outputs_by_name(self.model) is None
        return (is_unsure and self._has_failed) or (self._wants_image and (is_unsure or self.route.api == "images"))

    @property
    def corrections(self) -> int:
        """How many refusals have made it another request."""
        return len(self._refusals)

    @property
    def learned_as(self) -> str:
        """What a lesson from a correction holds for: a model, asked of these providers, in place of these."""
        asked = {**self._fields, **self._extra}
        narrowing: dict[str, Any] = {name: asked[name] for name in ("provider", "models") if name in asked}
        return f"{self.model} {encoded(narrowing).decode()}" if narrowing else self.model

    def usable(self, learned: Route | None) -> Route | None:
        """What an earlier request has learned, unless it was to want no picture and one is wanted now."""
        return None if learned == TALK and self._wants_image else learned

    def decide(self, known: "Model | None", learned: Route | None = None) -> None:
        """Take the route that the catalogue knows, or that an earlier request has `learned`.

        Raises ConfigurationError for what the model is known to be unable to do. What is not known is left to the service.
        """
        if self.is_decided:
            return
        self.is_decided = True
        if known is not None and self._wants_image and known.output_modalities and "image" not in known.output_modalities:
            raise ConfigurationError(
                f"{self.model} makes no pictures, only {', '.join(known.output_modalities)}: choose a model of "
                'client.models(output_modalities={"image"})'
            )
        route = learned or (route_for(known.output_modalities) if known is not None else self.route)
        if self._allowed(route) != self.route:
            self._take(self._allowed(route))
        if known is not None and known.image is not None:
            check_image_parameters(self.model, known.image, self._body_for(self.route))

    def correct(self, error: OrStreamError) -> bool:
        """Whether a refusal says that the guess was wrong, and the request is another one now. No route is taken twice."""
        if isinstance(error, ServerFailed) and self.route.api == "chat" and self._may_change_api and not self._has_failed:
            self._has_failed, self.is_decided = True, False
            return False
        taken = {self.route, *(route for route, _ in self._refusals)}
        routes = routes_instead_of(
            self.route,
            error,
            model=self.model,
            wants_image=self._wants_image,
            may_use_images=self._may_use_images(),
            cannot_do_both=TALK_AND_DRAW in taken,
        )
        left = [route for route in map(self._allowed, routes) if route not in taken]
        if not left:
            return False
        self._refusals = (*self._refusals, (self.route, error))
        self._take(left[0])
        self.is_decided = True
        return True

    def telling(self, last: OrStreamError) -> OrStreamError:
        """Of all refusals the one that says why, with what the other endpoint said behind it.

        That is the last, unless it only says that its place was as wrong as the first.
        """
        if not self._refusals or not isinstance(last, APIStatusError | StreamFailed) or last.status not in (400, 404, 405):
            return last
        route, first = self._refusals[0]
        told: OrStreamError = last
        other, asked = first, route
        if is_wrong_endpoint(last) or is_for_its_output(last) or says_nothing(last, self.model):
            told, other, asked = first, last, self.route
        if route.api != self.route.api:
            told.args = (f"{told} (asked {'on the Image API' if asked.api == 'images' else 'over chat'}: {other})",)
        return told

    @property
    def _wants_image(self) -> bool:
        return self.require_image or bool(self._fields.get("image_config")) or self._fields["modalities"] == ["image"]

    def _may_use_images(self) -> bool:
        """Whether the Image API may be asked, and can be asked this."""
        try:
            image_api_body(self._fields)
        except ConfigurationError:
            return False
        return self._may_change_api

    def _allowed(self, route: Route) -> Route:
        """The route, within what the caller has fixed."""
        if self._api == "images" or (route.api == "images" and self._may_change_api):
            return IMAGES
        if not self._may_change_modalities:
            return Route("chat", tuple(self._fields["modalities"]))
        return DRAW if route.api == "images" else route

    def _take(self, route: Route) -> None:
        self.body: bytes = encoded(self._body_for(route))  # first: what raises must leave the route as it was
        self.headers: Mapping[str, str] = self._own_headers
        if route.api == "images":
            self.headers = {**image_api_headers(self._fields), **self._own_headers}
        self.route: Route = route

    def _body_for(self, route: Route) -> dict[str, Any]:
        """What the caller puts into `extra_body` wins."""
        over_chat: dict[str, Any] = {**self._fields, "modalities": list(route.modalities)}
        body = (over_chat if route.api == "chat" else image_api_body(self._fields)) | dict(self._extra)
        if body.get("stream") is not True:
            raise ConfigurationError("this library streams: leave `stream` out of extra_body")
        return body


def build_request(prompt: Prompt, model: str | None, options: Mapping[str, Any]) -> Request:
    """The request for these arguments. Raises ConfigurationError, which says what to do, for what cannot be sent."""
    check_options(options)
    options = _lifted(options)
    return Request(chat_body(prompt, _checked_model(model), options), options)


def _lifted(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """With what `extra_body` says of the output in the arguments of those names, because each endpoint has other words for it."""
    extra = options.get("extra_body")
    if not extra:
        return options
    lifted = {name: extra[name] for name in ("modalities", "image_config") if extra.get(name) is not None}
    if not lifted:
        return options
    options = {**options, **lifted, "extra_body": {name: value for name, value in extra.items() if name not in lifted}}
    check_options(options)
    return options


def _checked_model(model: str | None) -> str:
    model = model if model is not None else os.environ.get("OR_STREAM_MODEL") or DEFAULT_MODEL
    if not isinstance(model, str) or not model:
        raise ConfigurationError('the model must be a name such as "google/gemini-2.5-flash-image"')
    if _CONTROL_CHARACTERS.search(model):
        raise ConfigurationError(f"the model name {model!r} has white space or a control character in it: remove it")
    return model


def checked_folder(save_to: str | os.PathLike[str] | None) -> Path | None:
    """The folder to write pictures into, made where it was missing. Raises ConfigurationError where that is not possible."""
    if save_to is None:
        return None
    folder = Path(save_to)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"save_to={str(folder)!r} cannot be made a folder: {error}") from error
    if not os.access(folder, os.W_OK):
        raise ConfigurationError(f"save_to={str(folder)!r} cannot be written to: choose another folder")
    return folder
