"""What the emulator answers when nobody tells it what to: a plausible assistant that talks, thinks, paints and speaks."""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from or_stream.emulator._bill import Tally
from or_stream.emulator._endpoints._catalogue import Model, find
from or_stream.emulator._endpoints._instances import instance_of
from or_stream.emulator._painting import Scene, dimensions, picture_url
from or_stream.emulator._script import JSON_TYPE, Chunk, Comment, Event, Identity, Scenario, Send, Step, Wait, dump, encode
from or_stream.emulator._wire import JSON_KEEP_ALIVE, completion, delta, ending, image_delta, opening, thought, usage, words

DEFAULT_MODEL = "google/gemini-3.1-flash-image"
IMAGES_AT_MOST = 4

_NATIVE_STOP = {"google": "STOP", "anthropic": "end_turn"}
_COUNTS = {"one": 1, "two": 2, "three": 3, "four": 4}
_COUNTED = re.compile(
    r"\b(\d+|one|two|three|four)\s+(?:\w+\s+){0,2}?(?:pictures|images|photos|paintings|drawings|illustrations|views)\b",
    re.IGNORECASE,
)
_ORDINALS = ("first", "second", "third", "fourth")


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things take: between two words, and for the bytes of one image."""

    text_delay_seconds: float = 0.0
    image_seconds: float = 0.0


def models_of(body: Mapping[str, Any]) -> list[str]:
    """The models that may answer, in the order in which they are tried: the one asked for, those of the list, or the default."""
    asked = [body["model"]] if body.get("model") else []
    return list(dict.fromkeys([*asked, *(body.get("models") or ())])) or [DEFAULT_MODEL]


# The answer


def answer(body: Mapping[str, Any], identity: Identity, pace: Pace) -> Scenario:
    """A few sentences and the pictures asked for. Takes 0.1 s for each picture not drawn before: call it off the event loop."""
    reply = _Reply(body, identity, pace)
    return reply.streamed() if body.get("stream") else reply.whole()


def paints(body: Mapping[str, Any], model: Model) -> bool:
    """Whether the answer will have pictures."""
    modalities = body.get("modalities")
    return model.outputs == ("image",) if modalities is None else "image" in modalities


def thinks(body: Mapping[str, Any], model: Model) -> bool:
    """Whether the answer begins with reasoning that is shown."""
    asked = body.get("reasoning") or {}
    if model.reasoning is None or asked.get("exclude") or body.get("include_reasoning") is False:
        return False
    effort = asked.get("effort") or body.get("reasoning_effort")
    if effort is not None or asked.get("max_tokens"):
        return bool(effort != "none")
    return bool(asked.get("enabled", model.reasoning.get("default_enabled", False) or bool(asked)))


def prompt_tokens_of(body: Mapping[str, Any]) -> int:
    """About four characters a token, of everything that was said so far."""
    said = [_text_of(message.get("content")) for message in body.get("messages") or ()] or [_text_of(body.get("prompt"))]
    return max(1, sum(map(len, said)) // 4)


def prompt_of(body: Mapping[str, Any]) -> str:
    """The text of the last thing the user said."""
    for message in reversed(body.get("messages") or ()):
        if message["role"] == "user":
            return _text_of(message.get("content"))
    return _text_of(body.get("prompt"))


def _text_of(content: str | list[Any] | None) -> str:
    if isinstance(content, list):
        content = " ".join(str(part["text"]) for part in content if isinstance(part, dict) and part.get("text"))
    # JSON can hold half a surrogate pair, UTF-8 cannot.
    return (content or "").encode(errors="replace").decode()


def images_asked_for(prompt: str) -> int:
    """How many pictures a prompt names: "two pictures", "3 small images"; 1 where it names no number."""
    found = _COUNTED.search(prompt)
    if not found:
        return 1
    number = found[1].lower()
    return max(1, min(IMAGES_AT_MOST, _COUNTS[number] if number in _COUNTS else int(number)))


def tool_called(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The function that the assistant calls: the one it must, or one whose name is in the prompt; none once there is a result."""
    functions: list[Mapping[str, Any]] = [
        tool["function"] for tool in body.get("tools") or () if isinstance(tool.get("function"), dict)
    ]
    choice, said = body.get("tool_choice"), (body.get("messages") or [{}])[-1].get("role")
    if not functions or choice == "none" or said == "tool":
        return None
    if isinstance(choice, dict):
        wanted = (choice.get("function") or {}).get("name")
        return next((function for function in functions if function.get("name") == wanted), functions[0])
    named = [function for function in functions if str(function.get("name")) in prompt_of(body)]
    callable_now = named or (functions if choice == "required" else [])
    return callable_now[0] if callable_now else None


class _Reply:
    def __init__(self, body: Mapping[str, Any], identity: Identity, pace: Pace) -> None:
        self.body, self.identity, self.pace = body, identity, pace
        self.model = find(identity.model)
        self.prompt = prompt_of(body)
        self.modalities = body.get("modalities") or ["text"]
        self.images = images_asked_for(self.prompt) if paints(body, self.model) else 0
        self.talks = not self.images or "text" in (body.get("modalities") or [])
        self.thoughts = ["Thinking", " of", " a", " lamp."] if thinks(body, self.model) else []
        self.tool = tool_called(body)
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or 0
        self.word_limit = limit if limit > 0 else 10_000
        config = body.get("image_config") or {}
        self.size = dimensions(config.get("aspect_ratio", "1:1"), config.get("image_size", "1K"))
        self.native = _NATIVE_STOP.get(self.model.author, "stop")

    def streamed(self) -> Scenario:
        steps = [*opening(3), *self._body()]
        tally = Tally(self.model.image_tokens)
        for step in steps:
            if isinstance(step, Chunk | Send):
                tally.sent(step, b"")
        return Scenario((*steps, *ending(self._usage(tally), *self._reason())))

    def whole(self) -> Scenario:
        parts = [part for part, _ in self._parts()]
        content = (
            " ".join(" ".join(parts).split(" ")[: self.word_limit]) if parts and not self.tool else None if self.tool else ""
        )
        reason, native = self._reason()
        fields: dict[str, Any] = {"reasoning": "".join(self.thoughts)} if self.thoughts else {}
        if self.tool:
            fields["tool_calls"] = [self._call()]

        def body(urls: list[str], tokens: Mapping[str, Any] | None) -> dict[str, Any]:
            known = self.identity.fields()
            return completion(known, content, images=urls, reason=reason, native=native, tokens=tokens, message_fields=fields)

        tally = Tally(self.model.image_tokens)
        without_images = body([""] * self.images, {})
        tally.sent(Event(without_images), b"")
        tokens = self._usage(tally)
        data = dump(body([self._url(index) for index in range(self.images)], tokens))
        says = Event({**without_images, "usage": tokens})
        keep_alive = Send(JSON_KEEP_ALIVE)
        return Scenario((keep_alive, keep_alive, Send(data, self.pace.image_seconds * self.images, says)), 200, JSON_TYPE)

    def _parts(self) -> list[tuple[str, int | None]]:
        """The paragraphs, each with the picture that comes after it."""
        asked = self.prompt if len(self.prompt) <= 80 else self.prompt[:79].rstrip() + "…"
        wanted = self.body.get("response_format") or {}
        if wanted.get("type") in ("json_object", "json_schema"):
            schema = (wanted.get("json_schema") or {}).get("schema") or {"properties": {"answer": {}}}
            return [(json.dumps(instance_of(schema)), None)]
        if not self.images:
            return [(_TALK.format(asked=asked), None)]
        if not self.talks:
            return []
        few = "a picture" if self.images == 1 else f"{self.images} pictures"
        parts: list[tuple[str, int | None]] = [(f"Here is what I made of “{asked}”: {few}, each drawn for these words.", 0)]
        for index in range(self.images):
            which = "Here it is." if self.images == 1 else f"That is the {_ORDINALS[index]} one."
            following = index + 1 if index + 1 < self.images else None
            parts.append((f"{which} {Scene.of(self.prompt, index).describe()}", following))
        return parts

    def _reason(self) -> tuple[str, str]:
        if self.tool:
            return "tool_calls", "tool_calls"
        said = sum(len(part.split(" ")) for part, _ in self._parts())
        return ("length", "max_output_tokens") if said > self.word_limit else ("stop", self.native)

    def _body(self) -> Iterator[Step]:
        yield from (thought(part) for part in self.thoughts)
        if self.tool:
            yield delta(None, tool_calls=[{"index": 0, **self._call()}])
        elif "audio" in self.modalities:
            yield from self._spoken()
        else:
            yield from self._written()

    def _written(self) -> Iterator[Step]:
        if not self.talks:
            for index in range(self.images):
                yield from self._image(index)
        left, opened = self.word_limit, False
        for part, image in self._parts():
            said = words(part)[:left]
            left -= len(said)
            if opened and said:
                yield delta("\n\n")
            for word in said:
                yield word
                if self.pace.text_delay_seconds:
                    yield Wait(self.pace.text_delay_seconds)
            opened = True
            if image is not None and left:
                yield from self._image(image)

    def _spoken(self) -> Iterator[Step]:
        """Sixteen samples of silence a word, in base64 that is cut anywhere."""
        said = [word.payload["choices"][0]["delta"]["content"] for part, _ in self._parts() for word in words(part)]
        data = base64.b64encode(bytes(32 * len(said))).decode()
        share = -(-len(data) // len(said))
        for number, word in enumerate(said):
            part = data[number * share : (number + 1) * share]
            yield delta(None, audio={"id": "audio_emulated", "data": part, "transcript": word, "expires_at": 0})

    def _call(self) -> dict[str, Any]:
        assert self.tool is not None
        arguments = json.dumps(instance_of(self.tool.get("parameters") or {"type": "object"}))
        call = {"name": self.tool.get("name"), "arguments": arguments}
        return {"id": f"call_{self.identity.id[-20:]}", "type": "function", "function": call}

    def _image(self, index: int) -> Iterator[Step]:
        """Encoded here and not by the server, since this runs off the event loop."""
        yield Comment(count=2)
        yield Send(encode(image_delta(self._url(index)), self.identity), self.pace.image_seconds, image_delta(""))

    def _url(self, index: int) -> str:
        return picture_url(self.prompt, *self.size, index)

    def _usage(self, tally: Tally) -> dict[str, Any]:
        prompt_tokens, image_tokens = prompt_tokens_of(self.body), tally.images * self.model.image_tokens
        return usage(
            prompt_tokens=prompt_tokens,
            completion_tokens=tally.completion_tokens,
            reasoning_tokens=tally.reasoning_tokens,
            image_tokens=image_tokens,
            costs=self.model.cost(prompt_tokens, tally.completion_tokens, image_tokens),
        )


_TALK = (
    "You said: “{asked}”. This is the emulator speaking, so nothing has left your machine. "
    "The answer has the shape of a real one all the same: it comes a word at a time, and what it would have cost comes last."
)
