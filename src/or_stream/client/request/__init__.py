"""Arguments -> requests: their JSON bodies and headers. Pure but for reading the pictures that are sent in."""

from or_stream.client.request._chat import checked_images, messages_of
from or_stream.client.request._encoding import checked_headers
from or_stream.client.request._options import (
    DEFAULT_MODEL,
    BodyOptions,
    Detail,
    GenerationOptions,
    ImageConfig,
    ImageInput,
    MessageParam,
    Picture,
    Prompt,
    check_options,
)
from or_stream.client.request._pictures import loaded_picture
from or_stream.client.request._request import Request, build_request, checked_folder
from or_stream.client.request._route import Route

__all__ = [
    "DEFAULT_MODEL",
    "BodyOptions",
    "Detail",
    "GenerationOptions",
    "ImageConfig",
    "ImageInput",
    "MessageParam",
    "Picture",
    "Prompt",
    "Request",
    "Route",
    "build_request",
    "check_options",
    "checked_folder",
    "checked_headers",
    "checked_images",
    "loaded_picture",
    "messages_of",
]
