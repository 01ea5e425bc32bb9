"""Arguments -> one request, ready to be sent as often as needed."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from or_stream.client.request._chat import chat_body
from or_stream.client.request._encoding import encoded, request_headers
from or_stream.client.request._options import DEFAULT_MODEL, Prompt, check_options
from or_stream.errors import ConfigurationError, NotFound, OrStreamError

__all__ = ["Request", "build_request", "checked_folder"]

_CONTROL_CHARACTERS: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f]")


class Request:
    """One request, ready to be sent as often as needed. Has no key: that is the client's."""

    __slots__ = ("_fields", "_modalities_are_a_guess", "body", "headers", "require_image", "save_to")

    def __init__(self, fields: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        self._fields = fields
        self._modalities_are_a_guess = options.get("modalities") is None and "modalities" not in (options.get("extra_body") or {})
        self.body: bytes = encoded(fields)
        self.headers: Mapping[str, str] = request_headers(options.get("extra_headers") or {})
        self.save_to: Path | None = checked_folder(options.get("save_to"))
        self.require_image: bool = bool(options.get("require_image"))

    def correct_modalities(self, error: OrStreamError) -> bool:
        """Whether the server refused what was guessed about the model's output, and the guess is another one now.

        A text model refuses `["image", "text"]`, a model of pictures alone too, both with the same 404 (docs/wire.md).
        """
        if not self._modalities_are_a_guess or not isinstance(error, NotFound) or "output modalities" not in str(error):
            return False
        self._modalities_are_a_guess = False
        wants_image = self.require_image or "image_config" in self._fields or "image" in self._fields["model"]
        self.body = encoded({**self._fields, "modalities": ["image"] if wants_image else ["text"]})
        return True


def build_request(prompt: Prompt, model: str | None, options: Mapping[str, Any]) -> Request:
    """The request for these arguments. Raises ConfigurationError, which says what to do, for what cannot be sent."""
    check_options(options)
    body = chat_body(prompt, _checked_model(model), options)
    body |= options.get("extra_body") or {}  # last, so that it wins
    if body.get("stream") is not True:
        raise ConfigurationError("this library streams: leave `stream` out of extra_body")
    return Request(body, options)


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
