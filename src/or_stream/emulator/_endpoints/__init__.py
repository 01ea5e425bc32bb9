"""The endpoints of the service: what each says when no scenario is played."""

from or_stream.emulator._endpoints._catalogue import MODELS, Model, find
from or_stream.emulator._endpoints._chat import DEFAULT_MODEL, Pace, models_of, prompt_of, prompt_tokens_of
from or_stream.emulator._endpoints._checks import route
from or_stream.emulator._endpoints._refusals import no_key, not_found, out_of_credit, unknown_model, wrong_key
from or_stream.emulator._endpoints._routes import Account, Generator, generator_of, is_open, looked_up

__all__ = [
    "DEFAULT_MODEL",
    "MODELS",
    "Account",
    "Generator",
    "Model",
    "Pace",
    "find",
    "generator_of",
    "is_open",
    "looked_up",
    "models_of",
    "no_key",
    "not_found",
    "out_of_credit",
    "prompt_of",
    "prompt_tokens_of",
    "route",
    "unknown_model",
    "wrong_key",
]
