"""Which endpoint a request is for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from or_stream.emulator._bill import Bill
from or_stream.emulator._endpoints import _account, _chat, _checks, _images, _models
from or_stream.emulator._endpoints._catalogue import Model, find
from or_stream.emulator._endpoints._chat import Pace
from or_stream.emulator._recorded import RecordedRequest
from or_stream.emulator._script import Identity, Scenario

_PREFIX = "/api/v1"


@dataclass(frozen=True, slots=True)
class Generator:
    """An endpoint that makes something: what is wrong with a request, what is wrong with it for a model, and the answer.

    `draws`: whether the answer takes so long to make that it must not be made on the event loop.
    """

    name: str
    complaint: Callable[[Any], Scenario | None]
    objection: Callable[[Mapping[str, Any], Model], Scenario | None]
    answer: Callable[[Mapping[str, Any], Identity, Pace], Scenario]
    draws: Callable[[Mapping[str, Any], Identity], bool]


_CHAT = Generator(
    "chat",
    _checks.chat_complaint,
    _checks.chat_objection,
    _chat.answer,
    lambda body, identity: _chat.paints(body, find(identity.model)),
)
_IMAGES = Generator("images", _checks.images_complaint, _checks.images_objection, _images.answer, lambda *_: True)
_GENERATORS = {
    f"{_PREFIX}/chat/completions": _CHAT,
    f"{_PREFIX}/images": _IMAGES,
    f"{_PREFIX}/images/generations": _IMAGES,
}


@dataclass(frozen=True, slots=True)
class Account:
    """Whose key it is: what has been used, and what there was; None is without end."""

    bill: Bill
    credits: float | None
    generation_delay_seconds: float

    @property
    def credits_left(self) -> float | None:
        """What is left, never less than nothing."""
        return None if self.credits is None else max(0.0, self.credits - self.bill.total)


def generator_of(method: str, path: str) -> Generator | None:
    """The endpoint that makes something of such a request, None where it is for none."""
    return _GENERATORS.get(path) if method == "POST" else None


def looked_up(record: RecordedRequest, account: Account, now_seconds: float) -> Scenario | None:
    """What an endpoint says that only shows something, None where there is no such endpoint."""
    if record.method != "GET" or not record.path.startswith(_PREFIX):
        return None
    match record.path.removeprefix(_PREFIX).strip("/").split("/"):
        case ["models"]:
            return _models.models(record.query)
        case ["models", "count"]:
            return _models.count(record.query)
        case ["models", author, slug, "endpoints"]:
            return _models.endpoints(f"{author}/{slug}")
        case ["model", author, slug]:
            return _models.one(f"{author}/{slug}")
        case ["images", "models"]:
            return _images.models()
        case ["images", "models", author, slug, "endpoints"]:
            return _images.endpoints(f"{author}/{slug}")
        case ["generation"]:
            return _account.generation(account.bill, record.query.get("id"), now_seconds, account.generation_delay_seconds)
        case ["key"]:
            return _account.key(account.bill, account.credits)
        case ["credits"]:
            return _account.credits_left(account.bill, account.credits)
    return None


def is_open(record: RecordedRequest) -> bool:
    """Whether it is answered without a key: the catalogue is."""
    return "/models" in record.path or "/model/" in record.path
