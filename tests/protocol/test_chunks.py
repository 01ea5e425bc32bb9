"""or_stream.protocol.chunks: the wire's field names, and values of every wrong type."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from or_stream.protocol.chunks import Chunk, Finish, ImageEntry, Part, is_image_path, only_text, read_chunk

URL = "data:image/png;base64,QUJD"


def read_choice(**fields: Any) -> Chunk:
    return read_chunk({"choices": [{"index": 0, **fields}]})


def parts(delta: Any) -> list[tuple[str, Any]]:
    return [(part.kind, part.value) for part in read_choice(delta=delta).parts]


# ---- the document


@pytest.mark.parametrize("document", [None, 1, "text", [], {}, {"choices": None}, {"choices": {}}, {"choices": [None, 1, []]}])
def test_documents_that_say_nothing(document: Any):
    """What is no object, or has no choices, is an empty chunk."""
    assert read_chunk(document) == Chunk()


@pytest.mark.parametrize("odd", [None, 0, "", [], {}, False])
@pytest.mark.parametrize("name", ["id", "model", "provider", "created", "choices", "usage", "error"])
def test_empty_fields_are_missing_fields(name: str, odd: Any):
    """A field that is null, empty or of another type says nothing; an empty usage is a usage that says nothing."""
    chunk = read_chunk({name: odd})
    assert (chunk.id, chunk.model, chunk.provider, chunk.created, chunk.error) == (None,) * 5
    assert chunk.parts == []
    assert chunk.extra == {}


def test_identity():
    """Identity and the time of creation are read from the top."""
    chunk = read_chunk({"id": "gen-1", "model": "m", "provider": "P", "created": 17, "object": "chat.completion.chunk"})
    assert (chunk.id, chunk.model, chunk.provider, chunk.created) == ("gen-1", "m", "P", 17)
    assert chunk.extra == {}


def test_unknown_fields_are_kept():
    """Unknown fields of the document, the choice and the delta are kept, null ones are not."""
    choice = {"index": 0, "mood": "calm", "none": None, "delta": {"hologram": 3, "nothing": None}}
    chunk = read_chunk({"citations": ["a"], "service_tier": None, "choices": [choice]})
    assert chunk.extra == {"citations": ["a"], "mood": "calm", "hologram": 3}


@pytest.mark.parametrize("index", [None, -1, "1", 1.0, True, [], {}])
def test_odd_choice_index_is_the_first(index: Any):
    """A choice without a usable index is the first."""
    assert read_choice(index=index, delta={"content": "a"}).parts == [Part("text", 0, "a", False)]


def test_choices_are_told_apart():
    """Each part says its choice."""
    chunk = read_chunk({"choices": [{"index": 2, "delta": {"content": "b"}}, {"index": 0, "delta": {"content": "a"}}]})
    assert chunk.parts == [Part("text", 2, "b", False), Part("text", 0, "a", False)]


# ---- the delta


@pytest.mark.parametrize("delta", [None, "text", 5, [], [{"content": "a"}]])
def test_delta_that_is_no_object(delta: Any):
    """A delta of another type says nothing."""
    assert parts(delta) == []


@pytest.mark.parametrize(
    "name",
    ["content", "reasoning", "reasoning_details", "refusal", "images", "tool_calls", "audio", "annotations", "reasoning_content"],
)
@pytest.mark.parametrize("odd", [None, 0, 1.5, True, "", [None], [1], [[]], [""], {"x": None}])
def test_odd_values_raise_nothing(name: str, odd: Any):
    """A field of a delta may have any type."""
    for kind, value in parts({name: odd}):
        assert kind == "reasoning_details" or value == {"x": None}


@pytest.mark.parametrize("name", ["text", "image_url"])
def test_content_in_parts(name: str):
    """Content that is a list of parts is texts and images, and other parts are passed over."""
    content = [
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": {"url": URL}},
        {"text": 5},
        {"image_url": None},
        7,
    ]
    expected = [("text", "a"), ("image", ImageEntry(URL, "image/png"))]
    assert parts({"content": content}) == expected


def test_parts_keep_the_order_of_the_wire():
    """Text in front of an image is in front of it, and behind it when it came behind."""
    image = {"images": [{"image_url": {"url": URL}}]}
    assert [kind for kind, _ in parts({"content": "a", **image})] == ["text", "image"]
    assert [kind for kind, _ in parts({**image, "content": "a"})] == ["image", "text"]


def test_message_is_whole():
    """What stands in a `message` is marked."""
    assert read_choice(message={"content": "a"}).parts == [Part("text", 0, "a", True)]


@pytest.mark.parametrize(
    ("delta", "expected"),
    [
        ({"reasoning": "a", "reasoning_details": [{"type": "reasoning.text", "text": "a"}]}, "a"),
        ({"reasoning_details": [{"type": "reasoning.text", "text": "a"}], "reasoning": "a"}, "a"),
        ({"reasoning": None, "reasoning_details": [{"text": "a"}, {"summary": "b"}, {"data": "c"}]}, "ab"),
        ({"reasoning": "", "reasoning_content": "a"}, "a"),
        ({"reasoning": "a", "reasoning_content": "a"}, "a"),
        ({"reasoning": None, "reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]}, ""),
        ({"reasoning": 5, "reasoning_details": [{"text": 5, "summary": "a"}]}, "a"),
    ],
)
def test_reasoning_is_said_once(delta: dict[str, Any], expected: str):
    """The text of `reasoning` and of its details is the same text."""
    assert "".join(value for kind, value in parts(delta) if kind == "reasoning") == expected


def test_empty_reasoning_details_are_details():
    """An empty list of details is kept apart from none at all."""
    assert parts({"reasoning_details": []}) == [("reasoning_details", [])]
    assert parts({"reasoning_details": None}) == []


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"type": "image_url", "image_url": {"url": URL}, "index": 0}, ImageEntry(URL, "image/png")),
        ({"image_url": URL}, ImageEntry(URL, "image/png")),
        ({"url": URL}, ImageEntry(URL, "image/png")),
        (URL, ImageEntry(URL, "image/png")),
        ("https://example.org/a.png", ImageEntry("https://example.org/a.png", None)),
        (
            {"image_url": {"url": "data:IMAGE/JPEG;charset=utf-8;base64,QUJD"}},
            ("data:IMAGE/JPEG;charset=utf-8;base64,QUJD", "image/jpeg"),
        ),
        ("data:;base64,QUJD", ImageEntry("data:;base64,QUJD", None)),
        ("data:", ImageEntry("data:", None)),
        ({"image_url": {"url": ""}}, None),
        ({"image_url": {"url": {"url": URL}}}, None),
        ({"image_url": None}, None),
        ({"type": "image_url"}, None),
        ([URL], None),
        (None, None),
    ],
)
def test_image_entries(entry: Any, expected: ImageEntry | None):
    """An image is an address in three places or alone; its claimed type is what the data URL says."""
    assert parts({"images": [entry]}) == ([] if expected is None else [("image", expected)])


def test_images_that_are_no_list():
    """One entry without its list is an image all the same."""
    assert parts({"images": {"image_url": {"url": URL}}}) == [("image", ImageEntry(URL, "image/png"))]


def test_image_paths():
    """Only the addresses of a delta's and a message's images are payloads."""
    images = ("choices", None, "delta", "images", None)
    for rest in ((), ("url",), ("image_url",), ("image_url", "url")):
        assert is_image_path((*images, *rest))
        assert is_image_path(("choices", None, "message", "images", None, *rest))
    assert not is_image_path((*images, "thumbnail"))
    assert not is_image_path(("choices", None, "delta", "content"))
    assert not is_image_path(("choices", None, "delta", "annotations", None, "file", "content", None, "image_url", "url"))


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ({"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{"}}, (0, "a", "f", "{", {})),
        ({"index": 0, "id": None, "type": "", "function": {"name": None, "arguments": None}}, (0, None, None, None, {})),
        ({"index": 0, "id": "", "function": {}}, (0, None, None, None, {})),
        ({"function": None}, (None, None, None, None, {})),
        ({"index": "0", "id": 5, "function": {"name": [], "arguments": {"a": 1}}}, (None, None, None, '{"a": 1}', {})),
        ({"index": 1, "extra_content": {"google": 1}, "none": None}, (1, None, None, None, {"extra_content": {"google": 1}})),
    ],
)
def test_tool_calls(call: Any, expected: tuple[Any, ...]):
    """A fragment of a tool call says what it has; the rest is None, and unknown fields are kept."""
    assert parts({"tool_calls": [call]}) == [("tool_call", expected)]


def test_whole_tool_calls_are_counted():
    """The calls of a `message` have no index: their place is one."""
    calls = [{"function": {"name": "f"}}, {"function": {"name": "f"}}, {"index": 7}]
    assert [part.value.wire_index for part in read_choice(message={"tool_calls": calls}).parts] == [0, 1, 7]


# ---- finishes, usage, errors


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"finish_reason": "stop", "native_finish_reason": "STOP"}, [Finish(0, "stop", "STOP")]),
        ({"finish_reason": None, "native_finish_reason": "STOP"}, [Finish(0, None, "STOP")]),
        ({"finish_reason": "dreamt"}, [Finish(0, "dreamt", None)]),
        ({"finish_reason": "", "native_finish_reason": ""}, []),
        ({"finish_reason": 5}, []),
    ],
)
def test_finishes(fields: dict[str, Any], expected: list[Finish]):
    """Any word is a finish reason; null, empty and what is no text are none."""
    assert read_choice(**fields).finishes == expected


@pytest.mark.parametrize("number", [None, "5", True, [], float("nan"), float("inf"), 10**400, -(10**400)])
def test_numbers_that_are_none(number: Any):
    """A counter or a cost that is no number of a sane size is missing."""
    usage = read_chunk({"usage": {"prompt_tokens": number, "cost": number}}).usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.cost) == (None, None)


def test_usage():
    """Every counter finds its place, and what has none is kept as it came."""
    details = {"prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 4}, "is_byok": False, "new": 1, "none": None}
    completion = {"completion_tokens_details": {"reasoning_tokens": 5, "image_tokens": 6.0, "audio_tokens": 7}}
    tools = {"server_tool_use_details": {"web_search_requests": 8}, "cost_details": {"upstream_inference_cost": None}}
    counters = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "cost": 0}
    usage = read_chunk({"usage": {**counters, **details, **completion, **tools}}).usage
    assert usage is not None
    assert usage.model_dump(exclude={"extra"}) == {
        **counters,
        "is_byok": False,
        "cost_details": {"upstream_inference_cost": None},
        "cached_tokens": 3,
        "cache_write_tokens": 4,
        "reasoning_tokens": 5,
        "image_tokens": 6,
        "audio_tokens": 7,
        "web_search_requests": 8,
    }
    assert usage.extra["new"] == 1
    assert "none" not in usage.extra


def test_usage_of_older_name():
    """`server_tool_use` is the older name, and every part of a usage may be null."""
    fields = {"server_tool_use": {"web_search_requests": 2}, "prompt_tokens_details": None, "cost_details": None, "is_byok": 1}
    usage = read_chunk({"usage": fields}).usage
    assert usage is not None
    assert (usage.web_search_requests, usage.cost_details, usage.is_byok) == (2, None, None)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"error": {"message": "top"}, "choices": [{"error": {"message": "inner"}}]}, "top"),
        ({"choices": [{"error": {"message": "inner"}, "finish_reason": "error"}]}, "inner"),
        ({"choices": [{"finish_reason": "error"}]}, "the provider failed"),
        ({"choices": [{"finish_reason": "stop", "native_finish_reason": "network_error"}]}, "network_error"),
        ({"error": "plain"}, "plain"),
        ({"error": ["odd"]}, "odd"),
    ],
)
def test_errors(document: Any, message: str):
    """An error is found on top, in a choice and in a finish reason, in this order."""
    error = read_chunk(document).error
    assert error is not None
    assert message in error.message


# ---- the short way


def test_only_text_is_what_the_long_way_reads():
    """A chunk of nothing but text is read in the short way."""
    choice = {"index": 0, "delta": {"role": "assistant", "content": "a"}, "finish_reason": None, "native_finish_reason": None}
    assert only_text({"id": "gen-1", "choices": [choice]}) == "a"


@pytest.mark.parametrize(
    "change",
    [
        {"index": 1},
        {"finish_reason": "stop"},
        {"native_finish_reason": "STOP"},
        {"logprobs": {"content": []}},
        {"error": {"message": "no"}},
        {"message": {"content": "a"}},
        {"delta": {"role": "assistant", "content": None}},
        {"delta": {"role": "assistant", "content": [{"text": "a"}]}},
        {"delta": {"role": "assistant", "content": "a", "refusal": "no"}},
        {"delta": {"role": "assistant", "refusal": "no"}},
        {"delta": {"content": "a", "refusal": "no"}},
        {"delta": None},
    ],
)
def test_more_than_text(change: dict[str, Any]):
    """A chunk that says anything else is not read in the short way."""
    choice = {"index": 0, "delta": {"role": "assistant", "content": "a"}, "finish_reason": None}
    assert only_text({"choices": [{**choice, **change}]}) is None


@pytest.mark.parametrize("field", ["usage", "error"])
def test_more_than_a_choice(field: str):
    """Nor is one with usage or an error, nor one of several choices."""
    choice = {"index": 0, "delta": {"role": "assistant", "content": "a"}, "finish_reason": None}
    assert only_text({"choices": [choice], field: {}}) is None
    assert only_text({"choices": [choice, choice]}) is None


WORDS = st.sampled_from([None, "", "a", 0, 1, True, [], {}, "error", "stop", "network_error", {"message": "no"}, [{"text": "b"}]])
DELTAS = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("role", "content", "reasoning", "images", "tool_calls"), WORDS) | {"role": st.just("assistant")},
)
CHOICES = st.fixed_dictionaries(
    {"index": st.sampled_from([0, 0, None, 1]), "finish_reason": st.sampled_from([None, None, "stop"]), "delta": DELTAS},
    optional=dict.fromkeys(("native_finish_reason", "logprobs", "error", "message"), WORDS),
)
DOCUMENTS = st.fixed_dictionaries(
    {"choices": st.lists(CHOICES, max_size=2) | WORDS}, optional={"usage": WORDS, "error": WORDS, "id": st.just("gen-1")}
)


@given(DOCUMENTS | WORDS)
def test_short_way_loses_nothing(document: Any):
    """What the short way takes for text alone says nothing else in the long way."""
    text = only_text(document)
    if text is not None:
        chunk = read_chunk(document)
        assert chunk.parts == ([Part("text", 0, text, False)] if text else [])
        assert (chunk.finishes, chunk.usage, chunk.error, chunk.logprobs) == ([], None, None, [])
