"""Conversation: keeps turns, sends them back, forgets them on request."""

import asyncio
import os
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self, Unpack

from or_stream.client import ChatStream, Client, GenerationOptions, ImageInput, open_stream
from or_stream.client.request import (
    Prompt,
    Request,
    build_request,
    check_options,
    checked_folder,
    checked_images,
)
from or_stream.conversation._file import read_conversation, write_conversation
from or_stream.conversation._turn import Question, Turn, check_new, messages_for, take_question, turn_of, without_pictures
from or_stream.errors import ConfigurationError
from or_stream.values import Message

__all__ = ["Conversation"]


class Conversation:
    """Turns that are kept and sent back with the next one: `await conversation.generate("Now make it night")`.

    `client`, `model` and options hold for every turn that brings none of its own; without `client`, as in `or_stream.stream`.
    `save_to`: a folder for all pictures, received and sent in. History then holds paths, and files are read when it is sent.
    Without it, pictures that were bytes stay in memory. A turn is kept once its stream is complete: one that failed, was cut or
    was left before its end leaves the conversation as it was. `add` keeps it anyway.
    """

    def __init__(self, *, client: Client | None = None, model: str | None = None, **options: Unpack[GenerationOptions]) -> None:
        check_options(options)
        if options.get("images"):
            raise ConfigurationError("images go with a turn: conversation.stream(prompt, images=[...])")
        self.model = model
        self._client = client
        self._options = options
        self._folder = checked_folder(options.get("save_to"))
        self._turns: list[Turn] = []
        self._current: weakref.ref[ChatStream] | None = None

    @property
    def turns(self) -> tuple[Turn, ...]:
        """What is kept, oldest first."""
        return tuple(self._turns)

    @property
    def answers(self) -> list[Message]:
        """What came, oldest first: the `answer` of each turn."""
        return [turn.answer for turn in self._turns]

    def __len__(self) -> int:
        return len(self._turns)

    def __iter__(self) -> Iterator[Turn]:
        return iter(self.turns)

    def __repr__(self) -> str:
        pictures = sum(len(turn.images) + len(turn.answer.images) for turn in self._turns)
        return f"<Conversation of {len(self)} turns, {pictures} pictures>"

    def stream(self, prompt: Prompt, *, model: str | None = None, **options: Unpack[GenerationOptions]) -> ChatStream:
        """The next turn, as an async iterator of events. Nothing is read, written or sent before it is iterated or entered.

        `prompt` is a text, or messages that are not yet part of the conversation, such as the results of tools. Options of the
        turn win over those of the conversation. Pictures are then read in a thread; one that cannot be sent, or that is gone or
        changed since, is a ConfigurationError there, as is a second stream while one of this conversation is under way. Raises
        ConfigurationError at once for anything else that cannot be sent.
        """
        images = checked_images(options.pop("images", ()))
        check_new(prompt)
        chosen: GenerationOptions = {**self._options, **options}
        chosen_model = model or self.model
        folder = checked_folder(chosen.get("save_to"))
        question: Question | None = None

        async def prepare() -> Request:
            nonlocal question
            self._claim(itself)
            question, request = await asyncio.to_thread(
                _read_pictures, self.turns, prompt, images, folder=folder, model=chosen_model, options=chosen
            )
            return request

        def keep(message: Message) -> None:
            assert question is not None
            self._turns.append(turn_of(question, message, folder))

        first = build_request(prompt, chosen_model, chosen)
        stream = open_stream(self._client, first, chosen, prepare=prepare, when_complete=keep)
        itself = weakref.ref(stream)
        return stream

    async def generate(self, prompt: Prompt, *, model: str | None = None, **options: Unpack[GenerationOptions]) -> Message:
        """The next turn, waited for: the message, or an OrStreamError with what had come in `.partial`. Cancelling stops it."""
        async with self.stream(prompt, model=model, **options) as generation:
            return await generation.final()

    def add(self, prompt: Prompt, answer: Message, *, images: Sequence[ImageInput] = ()) -> None:
        """Keep a turn that came about elsewhere, or the `.partial` of one that failed. Reads and writes pictures at once.

        Raises ConfigurationError for what could not be sent.
        """
        check_new(prompt)
        if not isinstance(answer, Message):
            raise ConfigurationError(f"the answer must be a Message, not {type(answer).__name__}")
        question, _ = take_question(prompt, checked_images(images), self._folder)
        self._turns.append(turn_of(question, answer, self._folder))

    def forget_pictures(self, *, keep_last: int = 0) -> None:
        """Drop the pictures of all turns but the last `keep_last`, with the reasoning details that belong to them; words stay.

        Files are left where they are, and messages that were passed instead of a text stay as they are.
        """
        end = max(0, len(self) - _checked_count(keep_last))
        self._turns[:end] = [without_pictures(turn) for turn in self._turns[:end]]

    def forget_turns(self, *, keep_last: int) -> None:
        """Drop all turns but the last `keep_last`. Files are left where they are."""
        del self._turns[: max(0, len(self) - _checked_count(keep_last))]

    def undo(self) -> Turn:
        """Drop the last turn and return it. Raises ConfigurationError where there is none."""
        if not self._turns:
            raise ConfigurationError("there is no turn to undo")
        return self._turns.pop()

    def clear(self) -> None:
        """Drop all turns. Files are left where they are."""
        self._turns.clear()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write turns, model and `system` as JSON, whole or not at all, and return where; client, key and options stay out.

        Pictures are named relative to the file. Those that are in memory or outside of its folder are written into
        `<name>-pictures` beside it. Raises ConfigurationError where something cannot be written, or a picture is gone or changed.
        """
        return write_conversation(Path(path), self.model, self._options.get("system"), self._turns)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        client: Client | None = None,
        model: str | None = None,
        **options: Unpack[GenerationOptions],
    ) -> Self:
        """A conversation that was saved. `model` and `system` are those of the file unless given; options are given anew.

        No picture is read before it is sent. Raises ConfigurationError for a file that cannot be read, is no whole conversation,
        is of another version, or names a picture outside of its own folder.
        """
        saved = read_conversation(Path(path))
        if saved.system is not None:
            options.setdefault("system", saved.system)
        conversation = cls(client=client, model=model or saved.model, **options)
        conversation._turns = saved.turns
        return conversation

    def _claim(self, stream: "weakref.ref[ChatStream]") -> None:
        """Make it the one stream that may add a turn."""
        current = self._current() if self._current is not None else None
        if current is not None and current.status == "streaming":
            raise ConfigurationError("another turn of this conversation is under way: read it to its end, or leave it")
        self._current = stream


def _read_pictures(
    turns: Sequence[Turn],
    prompt: Prompt,
    images: Sequence[ImageInput],
    *,
    folder: Path | None,
    model: str | None,
    options: GenerationOptions,
) -> tuple[Question, Request]:
    """What is asked as it is kept, and the request that asks it behind all earlier turns."""
    question, asked = take_question(prompt, images, folder)
    earlier = [message for number, turn in enumerate(turns, 1) for message in messages_for(turn, number)]
    return question, build_request([*earlier, *asked], model, options)


def _checked_count(keep_last: int) -> int:
    if not isinstance(keep_last, int) or isinstance(keep_last, bool) or keep_last < 0:
        raise ConfigurationError(f"keep_last must be a whole number from 0 on, not {keep_last!r}")
    return keep_last
