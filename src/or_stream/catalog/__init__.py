"""What the service says of its models, of generations that are over, and of a key: values, and how they are read from JSON.

Nothing here raises for what the service sends: a part that is missing or of another type is None or empty, and kept in `extra`.
"""

from or_stream.catalog._account import Credits, Generation, Key
from or_stream.catalog._images import ImageOptions, ImageParameter, ImagePrice
from or_stream.catalog._listing import ModelFilter, built_in_model, built_in_models, check_filter, read_models, select
from or_stream.catalog._model import Endpoint, Model
from or_stream.catalog._pricing import Pricing, RequestSize
from or_stream.catalog._receipt import Receipt

__all__ = [
    "Credits",
    "Endpoint",
    "Generation",
    "ImageOptions",
    "ImageParameter",
    "ImagePrice",
    "Key",
    "Model",
    "ModelFilter",
    "Pricing",
    "Receipt",
    "RequestSize",
    "built_in_model",
    "built_in_models",
    "check_filter",
    "read_models",
    "select",
]
