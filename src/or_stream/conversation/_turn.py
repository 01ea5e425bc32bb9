"""Turn: a question and its answer, light enough to keep; and the messages that it is sent as."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from or_stream._short_repr import ShortRepr
from or_stream.client import ImageInput, Picture
from or_stream.client.request import Detail, Prompt, messages_of
from or_stream.conversation._pictures import inflated, kept, taken_in
from or_stream.errors import ConfigurationError
from or_stream.values import Image, Message

__all__ = ["Question", "Turn", "check_new", "messages_for", "take_question", "turn_of", "without_pictures"]

# An assistant's message without any content is refused by some providers.
_FORGOTTEN = "(a picture that is no longer shown)"


class Question(NamedTuple):
    """What is asked, as it is kept: the first three fields of a `Turn`."""

    prompt: str | tuple[Mapping[str, Any], ...]
    images: tuple[Image, ...]
    details: tuple[Detail | None, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Turn(ShortRepr):
    """A question and its answer, as a conversation keeps them.

    `prompt` is the text, or the messages that were passed instead; `images` were sent in with it, and `details` says of each how
    closely to look at it. Pictures, also those of the answer, are files (`path`), addresses (`url`), or in memory where the
    conversation has no folder. `answer` has no `alternatives`: only what is sent back is kept.
    """

    prompt: str | tuple[Mapping[str, Any], ...]
    images: tuple[Image, ...]
    details: tuple[Detail | None, ...]
    answer: Message


def check_new(prompt: Prompt) -> None:
    """Raises ConfigurationError for a prompt that has an answer in it."""
    if not isinstance(prompt, str) and isinstance(prompt, Sequence) and any(isinstance(one, Message) for one in prompt):
        raise ConfigurationError("a conversation has its answers already: pass what is new, and earlier turns to add()")


def take_question(prompt: Prompt, images: Sequence[ImageInput], folder: Path | None) -> tuple[Question, list[dict[str, Any]]]:
    """The question as it is kept, and the messages to send for it now. Raises ConfigurationError for what can be neither."""
    pictures = [taken_in(image, folder) for image in images]
    messages = messages_of(prompt, [picture for picture, _ in pictures])
    asked = prompt if isinstance(prompt, str) else tuple(dict(message) for message in prompt if isinstance(message, Mapping))
    return Question(asked, tuple(image for _, image in pictures), tuple(picture.detail for picture, _ in pictures)), messages


def turn_of(question: Question, answer: Message, folder: Path | None) -> Turn:
    """The turn that an answer makes of a question."""
    images = [kept(image, folder) for image in answer.images]
    return Turn(*question, answer.model_copy(update={"images": images, "alternatives": []}))


def messages_for(turn: Turn, number: int) -> list[dict[str, Any]]:
    """For sending, pictures inline. Raises ConfigurationError, with the turn's number, for one that is gone or has changed."""
    prompt: Prompt = turn.prompt if isinstance(turn.prompt, str) else list(turn.prompt)
    sent = [Picture(inflated(image, number), detail=detail) for image, detail in zip(turn.images, turn.details, strict=True)]
    received = [inflated(image, number) for image in turn.answer.images]
    return [*messages_of(prompt, sent), turn.answer.model_copy(update={"images": received}).to_param()]


def without_pictures(turn: Turn) -> Turn:
    """The words alone. Reasoning details go with the pictures that they belong to."""
    answer = turn.answer
    if answer.images:
        text = answer.text if answer.text or answer.tool_calls else _FORGOTTEN
        changes: dict[str, Any] = {"images": [], "image_offsets": [], "reasoning_details": None, "text": text}
        answer = answer.model_copy(update=changes)
    return Turn(turn.prompt, (), (), answer)
