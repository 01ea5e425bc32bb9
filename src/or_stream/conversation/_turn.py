"""Turn: a question and its answer, light enough to keep; and the messages that it is sent as."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from or_stream._short_repr import ShortRepr
from or_stream.client import ImageInput, Picture
from or_stream.client.request import Detail, Prompt, messages_of
from or_stream.conversation._pictures import inflated, kept, taken_in
from or_stream.errors import ConfigurationError
from or_stream.values import Image, Message

__all__ = ["Question", "Turn", "check_new"]

# An assistant's message without any content is refused by some providers.
_FORGOTTEN = "(a picture that is no longer shown)"


@dataclass(frozen=True, slots=True, repr=False)
class Question(ShortRepr):
    """What is asked: a text, or messages as the API wants them; pictures as they are kept, and how closely to look at each."""

    prompt: str | tuple[Mapping[str, Any], ...]
    images: tuple[Image, ...] = ()
    details: tuple[Detail | None, ...] = ()

    @classmethod
    def take(cls, prompt: Prompt, images: Sequence[ImageInput], folder: Path | None) -> "tuple[Question, list[dict[str, Any]]]":
        """The question, and the messages to send for it now. Raises ConfigurationError for what cannot be sent or kept."""
        pictures = [taken_in(image, folder) for image in images]
        messages = messages_of(prompt, [picture for picture, _ in pictures])
        asked = prompt if isinstance(prompt, str) else tuple(dict(message) for message in prompt if isinstance(message, Mapping))
        return cls(asked, tuple(image for _, image in pictures), tuple(picture.detail for picture, _ in pictures)), messages


@dataclass(frozen=True, slots=True, repr=False)
class Turn(ShortRepr):
    """A question and its answer, as a conversation keeps them.

    `prompt` is the text, or the messages that were passed instead; `images` were sent in with it. Pictures, also those of the
    answer, are files (`path`), addresses (`url`), or in memory where the conversation has no folder. `answer` has no
    `alternatives`: only what is sent back is kept.
    """

    question: Question
    answer: Message

    @classmethod
    def of(cls, question: Question, answer: Message, folder: Path | None) -> "Turn":
        """As it is kept."""
        images = [kept(image, folder) for image in answer.images]
        return cls(question, answer.model_copy(update={"images": images, "alternatives": []}))

    @property
    def prompt(self) -> str | tuple[Mapping[str, Any], ...]:
        """What was asked."""
        return self.question.prompt

    @property
    def images(self) -> tuple[Image, ...]:
        """What was sent in with it."""
        return self.question.images

    @property
    def picture_count(self) -> int:
        """Sent in and received."""
        return len(self.question.images) + len(self.answer.images)

    def messages(self, number: int) -> list[dict[str, Any]]:
        """For sending, pictures inline. Raises ConfigurationError, with the turn's number, for one that is gone or changed."""
        question = self.question
        pictures = [
            Picture(inflated(image, number), detail=detail)
            for image, detail in zip(question.images, question.details, strict=True)
        ]
        prompt: Prompt = question.prompt if isinstance(question.prompt, str) else list(question.prompt)
        images = [inflated(image, number) for image in self.answer.images]
        return [*messages_of(prompt, pictures), self.answer.model_copy(update={"images": images}).to_param()]

    def without_pictures(self) -> "Turn":
        """The words alone. Reasoning details go with the pictures that they belong to."""
        answer = self.answer
        if answer.images:
            text = answer.text if answer.text or answer.tool_calls else _FORGOTTEN
            changes: dict[str, Any] = {"images": [], "image_offsets": [], "reasoning_details": None, "text": text}
            answer = answer.model_copy(update=changes)
        return Turn(replace(self.question, images=(), details=()), answer)


def check_new(prompt: Prompt) -> None:
    """Raises ConfigurationError for a prompt that has an answer in it."""
    if not isinstance(prompt, str) and isinstance(prompt, Sequence) and any(isinstance(one, Message) for one in prompt):
        raise ConfigurationError("a conversation has its answers already: pass what is new, and earlier turns to add()")
