"""Arguments -> requests: their JSON bodies and headers. Pure but for reading the pictures that are sent in."""

from or_stream.client.request._encoding import checked_headers
from or_stream.client.request._options import (
    DEFAULT_MODEL,
    BodyOptions,
    GenerationOptions,
    ImageConfig,
    ImageInput,
    MessageParam,
    Picture,
    Prompt,
)
from or_stream.client.request._pictures import image_part, loaded_picture
from or_stream.client.request._request import Request, build_request, checked_folder
from or_stream.client.request._route import Route

__all__ = [
    "DEFAULT_MODEL",
    "BodyOptions",
    "GenerationOptions",
    "ImageConfig",
    "ImageInput",
    "MessageParam",
    "Picture",
    "Prompt",
    "Request",
    "Route",
    "build_request",
    "checked_folder",
    "checked_headers",
    "image_part",
    "loaded_picture",
]
