"""or_stream.protocol.Pipeline against anything: JSON with the wire's names in odd places, random answers in random pieces."""

import base64
import json
import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from or_stream.errors import OrStreamError
from or_stream.events import ImageDelta, ImageEnd
from support.feeding import cut
from support.pipelines import DONE, chunk, data_line, outcome_of

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(90))
HEAD = "data:image/png;base64,"
URL = HEAD + base64.b64encode(PNG).decode()

NAMES = [
    *("id", "choices", "index", "delta", "message", "content", "text", "images", "image_url", "url", "type", "tool_calls"),
    *("function", "name", "arguments", "reasoning", "reasoning_details", "summary", "data", "signature", "audio", "transcript"),
    *("expires_at", "annotations", "refusal", "finish_reason", "native_finish_reason", "error", "code", "metadata", "raw"),
    *("headers", "availability", "usage", "cost", "prompt_tokens_details", "created", "model", "provider", "logprobs", "extra"),
]
LEAVES = st.sampled_from(
    [
        None,
        True,
        0,
        1,
        -1,
        1.5,
        10**30,
        10**400,
        "",
        "a",
        URL,
        HEAD,
        HEAD + "Q",
        "https://x/",
        "data:,",
        "stop",
        "error",
        "{}",
        "QQ==",
        "~",
    ]
)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5), max_leaves=25
)
DELTAS = st.dictionaries(st.sampled_from(NAMES), JSON, max_size=5)
CHOICES = st.fixed_dictionaries({}, optional={"index": LEAVES, "delta": DELTAS, "message": DELTAS, "finish_reason": LEAVES})
CHUNKS = st.fixed_dictionaries(
    {"choices": st.lists(CHOICES | JSON, max_size=3)}, optional={"usage": JSON, "error": JSON, "id": LEAVES}
)


@given(st.lists(CHUNKS | JSON, max_size=4), st.lists(st.integers(0, 5000), max_size=6), st.booleans())
def test_any_json_at_all(documents: list[Any], offsets: list[int], is_stream: bool):
    """JSON with the wire's names in odd places raises nothing, ends in one way, and does not depend on its cuts."""
    data = b"".join(map(data_line, documents)) + DONE if is_stream else json.dumps(documents[0] if documents else {}).encode()
    framing: Any = "sse" if is_stream else "json"
    whole = outcome_of([data], framing=framing)
    assert whole.failure is None or isinstance(whole.failure, OrStreamError)
    assert whole.message.model_dump_json()
    assert outcome_of(cut(data, sorted(offset % (len(data) + 1) for offset in offsets)), framing=framing).told == whole.told


@given(st.lists(st.tuples(st.sampled_from(["images", "url", "image_url", "content"]), LEAVES | st.just([URL])), max_size=5))
def test_names_that_stand_twice(pairs: list[tuple[str, Any]]):
    """An object in which a name stands twice raises nothing that is not ours."""
    members = ",".join(f"{json.dumps(name)}:{json.dumps(value)}" for name, value in pairs)
    for delta in (f"{{{members}}}", f'{{"images":[{{{members}}}]}}'):
        outcome = outcome_of([b'data: {"choices":[{"delta":%b}]}\n\n' % delta.encode() + DONE])
        assert outcome.failure is None or isinstance(outcome.failure, OrStreamError)


TEXTS = st.text(max_size=6).map(lambda content: {"role": "assistant", "content": content})
URLS = st.binary(min_size=1, max_size=90).map(lambda data: HEAD + base64.b64encode(data).decode()) | st.just("https://x/a.png")
ENTRIES = st.one_of(
    URLS,
    URLS.map(lambda url: {"image_url": url}),
    URLS.map(lambda url: {"type": "image_url", "image_url": {"url": url}, "index": 0}),
)
PICTURES = st.builds(
    lambda content, entries: {"content": content, "images": entries}, st.text(max_size=3), st.lists(ENTRIES, max_size=3)
)
CALLS = st.builds(
    lambda index, arguments: {
        "tool_calls": [{"index": index, "id": f"c{index}", "function": {"name": "f", "arguments": arguments}}]
    },
    st.integers(0, 2),
    st.sampled_from(["", '{"a":', "1}", f'{{"url":"{URL}"}}']),
)
THOUGHTS = st.text(max_size=4).map(
    lambda text: {"reasoning": text, "reasoning_details": [{"type": "t", "index": 0, "text": text}]}
)
ANSWERS = st.lists(
    st.one_of(
        TEXTS.map(chunk), PICTURES.map(chunk), CALLS.map(chunk), THOUGHTS.map(chunk), st.just(b": OPENROUTER PROCESSING\n\n")
    ),
    max_size=6,
)


@given(ANSWERS, st.lists(st.integers(0, 5000), max_size=8), st.booleans(), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_any_answer_in_any_pieces(pieces: list[bytes], offsets: list[int], is_escaped: bool, end: bytes):
    """Any stream of texts, images, calls and comments gives the same events however it is cut, and all its images."""
    data = b"".join(pieces)
    data = (data.replace(b"/", rb"\/") if is_escaped and b": OPEN" not in data else data) + chunk({}, "stop") + DONE
    data = data.replace(b"\n", end)
    whole = outcome_of([data])
    assert whole.failure is None
    assert outcome_of(cut(data, sorted(offset % (len(data) + 1) for offset in offsets))).told == whole.told
    delivered = [event.image for event in whole.events if isinstance(event, ImageEnd)]
    assert delivered == whole.message.images
    deltas = {event.index: event.data for event in whole.events if isinstance(event, ImageDelta)}
    assert [picture.data for picture in delivered if picture.data] == [
        deltas[event.index] for event in whole.events if isinstance(event, ImageEnd) and event.image.data
    ]


def test_cost_of_strings_that_look_like_images():
    """A line with 100,000 beginnings of images that are none takes time in step with its length."""

    def seconds(count: int) -> float:
        data = chunk({"role": "assistant", "content": f'"{HEAD}' * count}) + DONE
        start = time.process_time()
        assert outcome_of(cut(data, range(65536, len(data), 65536))).failure is None
        return time.process_time() - start

    small, large = (min(seconds(count) for _ in range(2)) for count in (50_000, 100_000))
    assert large < 4 * small + 0.1
