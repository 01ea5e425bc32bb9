"""What real servers send: the peculiarities of recorded traffic, each as the bytes of a small stream and what becomes of them."""

import base64
from typing import Any

import pytest

from or_stream.errors import StreamFailed, StreamTruncated
from or_stream.events import (
    AnnotationDelta,
    AudioDelta,
    Event,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallEnd,
    UsageUpdate,
)
from or_stream.values import Audio, Image, Usage
from support.pipelines import DONE, Outcome, data_line, said, same_outcome

GIF = b"GIF89a\x01\x00\x02\x00\x00\x00\x00" + b"\xff" * 60
GIF_URL = b"data:image/gif;base64," + base64.b64encode(GIF)


def read(*documents: bytes, done: bool = True) -> Outcome:
    """The outcome of a stream of these JSON texts, in every way to cut it."""
    return same_outcome(b"".join(map(data_line, documents)) + (DONE if done else b""))


def delta(members: bytes, rest: bytes = b'"finish_reason":null') -> bytes:
    return b'{"id":"gen-1","choices":[{"index":0,"delta":{"role":"assistant",%b},%b}]}' % (members, rest)


def content(text: bytes) -> bytes:
    return delta(b'"content":"%b"' % text)


def call(members: bytes, rest: bytes = b'"finish_reason":null') -> bytes:
    return delta(b'"content":null,"tool_calls":[%b]' % members, rest)


STOP = b'{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":"stop","native_finish_reason":"STOP"}]}'
USAGE = b'"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12,"cost":0.5}'


def events_of(outcome: Outcome, *kinds: type) -> list[Event]:
    return [event for event in outcome.events if isinstance(event, kinds)]


# ---- usage and finish


@pytest.mark.parametrize(
    "choices",
    [
        b"[]",
        b'[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null,"native_finish_reason":null,"logprobs":null}]',
        b'[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":"stop","native_finish_reason":"STOP"}]',
    ],
)
def test_three_shapes_of_the_usage_chunk(choices: bytes):
    """Usage comes on an empty list of choices, on a choice without a finish, or with the finish repeated."""
    outcome = read(content(b"a"), STOP, b'{"id":"gen-1","service_tier":null,"choices":%b,%b}' % (choices, USAGE))
    assert events_of(outcome, UsageUpdate) == [
        UsageUpdate(Usage(prompt_tokens=9, completion_tokens=3, total_tokens=12, cost=0.5))
    ]
    assert (outcome.message.finish_reason, outcome.message.native_finish_reason) == ("stop", "STOP")
    assert outcome.failure is None


def test_first_of_conflicting_finishes():
    """Gemini sends tool_calls with the call, then stop: the first holds."""
    first = call(
        b'{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}',
        b'"finish_reason":"tool_calls","native_finish_reason":null',
    )
    outcome = read(first, STOP, STOP)
    assert (outcome.message.finish_reason, outcome.message.native_finish_reason) == ("tool_calls", "STOP")
    assert len(events_of(outcome, ToolCallEnd)) == 1


def test_finish_beside_content():
    """The delta of the chunk that finishes is read."""
    assert read(delta(b'"content":"a","reasoning":"r"', b'"finish_reason":"stop"')).message.text == "a"


def test_empty_completion():
    """A stream of nothing but usage is an honest end."""
    outcome = read(b'{"id":"gen-1","choices":[{"index":0,"delta":{"content":""},"finish_reason":null}],%b}' % USAGE)
    assert outcome.failure is None
    assert said(outcome) == ["usage_update"]


def test_finish_without_done():
    """A finish and a clean end of the body is an honest end."""
    assert read(content(b"a"), STOP, done=False).failure is None


def test_neither_finish_nor_done():
    """Without finish and [DONE] a stream is truncated."""
    assert isinstance(read(content(b"a"), done=False).failure, StreamTruncated)


# ---- errors inside a stream


@pytest.mark.parametrize(
    ("document", "status", "words"),
    [
        (
            b'{"error":{"code":502,"message":"m"},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}',
            502,
            "m",
        ),
        (b'{"id":"gen-1","choices":[],"error":{"code":400,"message":"prompt is too long"}}', 400, "prompt is too long"),
        (
            (
                b'{"choices":[{"error":{"message":"m","code":502,"metadata":{"raw":{"retryable":true}}},"finish_reason":"error",'
                b'"native_finish_reason":"error","delta":{"content":""}}]}'
            ),
            502,
            "m",
        ),
        (b'{"error":{"message":"m","code":502,"metadata":{"provider_name":"Venice"}},"user_id":"u"}', 502, "Venice"),
        (b'{"choices":[{"index":0,"delta":{},"finish_reason":"error","native_finish_reason":null}]}', None, "provider failed"),
        (b'{"error":"upstream hung up"}', None, "upstream hung up"),
        (
            b'{"choices":[{"delta":{"content":""},"finish_reason":"stop","native_finish_reason":"network_error"}]}',
            None,
            "network_error",
        ),
        (
            (
                b'{"choices":[{"delta":{},"finish_reason":"stop","native_finish_reason":"MALFORMED_FUNCTION_CALL"}],'
                b'"error":{"code":502,"message":"m"}}'
            ),
            502,
            "m",
        ),
    ],
)
def test_shapes_of_an_error(document: bytes, status: int | None, words: str):
    """An error is found in every place where servers put it, ends the stream, and nothing after it is read."""
    outcome = read(content(b"a"), document, content(b"b"), STOP)
    assert isinstance(outcome.failure, StreamFailed)
    assert outcome.failure.status == status
    assert words in str(outcome.failure)
    assert outcome.message.text == "a"


def test_error_as_the_first_event():
    """An error before anything else brings no event, so that the request can be sent again."""
    assert read(b'{"id":"gen-1","choices":[],"error":{"code":502,"message":"m"},%b}' % USAGE).events == []


def test_error_on_the_usage_chunk():
    """An error beside usage is a failure, and the usage of that chunk is known."""
    outcome = read(
        content(b"a"), b'{"choices":[{"delta":{},"finish_reason":null}],"error":{"code":400,"message":"m"},%b}' % USAGE
    )
    assert isinstance(outcome.failure, StreamFailed)
    assert outcome.message.usage is not None


# ---- tool calls


def test_lies_of_later_fragments():
    """Later fragments repeat the id or send null and empty ones, leave out type, name and arguments, or send `function: {}`."""
    fragments = [
        b'{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}',
        b'{"index":0,"id":null,"type":"","function":{"name":null,"arguments":"{\\"x\\""}}',
        b'{"index":0,"id":"","function":{"arguments":":1}"}}',
        b'{"index":0,"id":"a","type":"function","function":{}}',
        b'{"index":0,"function":{"arguments":null}}',
        b'{"index":0}',
    ]
    message = read(*map(call, fragments), STOP).message
    assert [(made.id, made.name, made.arguments, made.complete) for made in message.tool_calls] == [("a", "f", '{"x":1}', True)]


def test_two_calls_in_one_delta():
    """One delta may bring two calls."""
    two = b'{"index":%d,"id":"%b","function":{"name":"f","arguments":"{}"}}'
    assert [made.id for made in read(call(b",".join([two % (0, b"a"), two % (1, b"b")]))).message.tool_calls] == ["a", "b"]


def test_cut_call_that_claims_to_be_one():
    """finish_reason tool_calls with a native length and half arguments is a call that is not complete."""
    cut = call(b'{"index":0,"id":"a","function":{"name":"f","arguments":"{\\"x\\":"}}')
    finish = b'{"choices":[{"delta":{},"finish_reason":"tool_calls","native_finish_reason":"max_output_tokens"}]}'
    assert [made.complete for made in read(cut, finish).message.tool_calls] == [False]


def test_white_space_after_the_arguments():
    """White space behind whole arguments does no harm."""
    made = read(call(b'{"index":0,"id":"a","function":{"name":"f","arguments":"{}\\n "}}')).message.tool_calls[0]
    assert made.complete
    assert made.json() == {}


# ---- reasoning


def test_reasoning_twice():
    """`reasoning` and `reasoning_details` carry one text: it is said once, and the details are kept."""
    twice = delta(b'"reasoning":"hm","reasoning_details":[{"type":"reasoning.text","text":"hm","index":0}]')
    outcome = read(twice, twice)
    assert events_of(outcome, ReasoningDelta) == [ReasoningDelta("hm"), ReasoningDelta("hm")]
    assert outcome.message.reasoning == "hmhm"
    assert outcome.message.reasoning_details == [{"type": "reasoning.text", "text": "hmhm", "index": 0}]


def test_signature_behind_the_text():
    """A signature that comes when the answer has begun joins its detail."""
    thought = delta(b'"reasoning_details":[{"type":"reasoning.text","text":"hm","index":0,"format":"anthropic-claude-v1"}]')
    signature = delta(b'"reasoning":null,"reasoning_details":[{"type":"reasoning.text","signature":"Eq=","index":0}]')
    assert read(thought, content(b"a"), signature).message.reasoning_details == [
        {"type": "reasoning.text", "text": "hm", "index": 0, "format": "anthropic-claude-v1", "signature": "Eq="}
    ]


def test_summary_and_encrypted_of_one_index():
    """A summary and an encrypted detail of the same index are two."""
    summary, encrypted = (
        b'{"type":"reasoning.summary","summary":"s","index":0}',
        b'{"type":"reasoning.encrypted","data":"x","index":0}',
    )
    outcome = read(delta(b'"reasoning":null,"reasoning_details":[%b,%b]' % (summary, encrypted)))
    assert outcome.message.reasoning == "s"
    assert len(outcome.message.reasoning_details or []) == 2


def test_encrypted_reasoning_says_nothing():
    """Reasoning that cannot be read is no event, and is kept to be sent back."""
    outcome = read(delta(b'"reasoning":null,"reasoning_details":[{"type":"reasoning.encrypted","data":"QUJD","index":0}]'))
    assert said(outcome) == []
    assert outcome.message.to_param()["reasoning_details"] == [{"type": "reasoning.encrypted", "data": "QUJD", "index": 0}]


# ---- the rest


def test_annotations_in_pieces():
    """Citations come in several deltas; an empty object says nothing, an empty citation is kept."""
    outcome = read(
        delta(b'"annotations":[{"type":"url_citation","url_citation":{"url":"https://example.org"}},{}]'),
        delta(b'"annotations":[]'),
        delta(b'"annotations":[{"type":"url_citation","url_citation":{}}]'),
    )
    assert [event.annotation for event in events_of(outcome, AnnotationDelta) if isinstance(event, AnnotationDelta)] == [
        {"type": "url_citation", "url_citation": {"url": "https://example.org"}},
        {"type": "url_citation", "url_citation": {}},
    ]
    assert len(outcome.message.annotations) == 2


def test_sound_in_fragments():
    """Sound is cut anywhere; its transcript comes beside it, and content is null."""
    fragments = [(b"AAECAwQFB", b"The"), (b"gc", b" lamp"), (b"ICQ==", b"")]
    outcome = read(
        *(delta(b'"content":null,"audio":{"id":"s","data":"%b","transcript":"%b"}' % fragment) for fragment in fragments)
    )
    assert outcome.message.audio == Audio(id="s", data=bytes(range(10)), transcript="The lamp")
    assert b"".join(event.data for event in events_of(outcome, AudioDelta) if isinstance(event, AudioDelta)) == bytes(range(10))


def test_refusal():
    """A refusal comes beside empty content and with an ordinary finish."""
    outcome = read(delta(b'"content":"","refusal":"I\'m"'), delta(b'"content":"","refusal":" sorry"'), STOP)
    assert events_of(outcome, RefusalDelta) == [RefusalDelta("I'm"), RefusalDelta(" sorry")]
    assert (outcome.message.refusal, outcome.message.text) == ("I'm sorry", "")


@pytest.mark.parametrize(
    ("logprobs", "kept"),
    [(b"-1.7881393e-06", -1.7881393e-06), (b'{"tokens":null}', {"tokens": None}), (b'"odd"', "odd"), (b"null", None)],
)
def test_logprobs_of_any_type(logprobs: bytes, kept: Any):
    """Log probabilities that nobody asked for may have any type, and hide no text."""
    outcome = read(content(b"a"), delta(b'"content":"b"', b'"finish_reason":null,"logprobs":%b' % logprobs))
    assert outcome.message.text == "ab"
    assert outcome.message.extra.get("logprobs") == kept


def test_everything_unknown():
    """Chunks, fields and words of next year do no harm and are kept where there is a place."""
    outcome = read(
        b'{"choices":[],"debug":{"echo_upstream_body":{"model":"x"}}}',
        b'{"object":"chat.completion.weather","choices":[],"weather":"fog"}',
        b'{"type":"response.created"}',
        b"5",
        b'"text"',
        b"null",
        delta(
            b'"content":"a","hologram":{"depth":3},"reasoning_details":[{"type":"reasoning.dream"}]',
            b'"finish_reason":"dreamt","mood":"calm"',
        ),
    )
    assert outcome.failure is None
    assert (outcome.message.text, outcome.message.finish_reason) == ("a", "dreamt")
    assert outcome.message.extra["hologram"] == {"depth": 3}
    assert outcome.message.extra["weather"] == "fog"


def test_nulls_everywhere():
    """Null in the place of a delta, of content and of choices says nothing."""
    nulls = [
        b'{"choices":null}',
        b"{}",
        b'{"choices":[{"index":0,"delta":null}]}',
        b'{"choices":[{"index":0}]}',
        delta(b'"content":null'),
    ]
    outcome = read(*nulls, content(b"a"))
    assert said(outcome) == ["text_delta"]


def test_identity_is_not_joined():
    """Id and model are on every chunk and are said once."""
    chunk = b'{"id":"gen-1","model":"m","provider":"P","created":7,"choices":[{"delta":{"content":"a","role":"assistant"}}]}'
    message = read(chunk, chunk).message
    assert (message.id, message.model, message.provider, message.created) == ("gen-1", "m", "P", 7)


def test_several_choices():
    """Each of several choices has its own text and images."""
    second = b'{"choices":[{"index":1,"delta":{"content":"b","images":["%b"]},"finish_reason":"stop"}]}' % GIF_URL
    outcome = read(content(b"a"), second, STOP)
    assert outcome.message.text == "a"
    assert outcome.message.alternatives[0].parts == ["b", Image.from_bytes(GIF)]
    assert events_of(outcome, TextDelta) == [TextDelta("a", 0), TextDelta("b", 1)]


# ---- errors and endings


def test_event_named_error():
    """Some gateways name the event and send the bare error object."""
    outcome = same_outcome(data_line(content(b"a")) + b'event: error\ndata: {"message":"no more","code":502}\n\n')
    assert isinstance(outcome.failure, StreamFailed)
    assert (outcome.failure.status, str(outcome.failure), outcome.message.text) == (502, "no more", "a")


def test_other_choice_alone():
    """A stream that speaks of its second choice only is whole when that one is."""
    other = b'{"choices":[{"index":1,"delta":{"role":"assistant","content":"b"},"finish_reason":"stop"}]}'
    assert read(other, done=False).failure is None
    unfinished = b'{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}'
    assert isinstance(read(unfinished, other, done=False).failure, StreamTruncated)


def test_what_follows_many_equal_deltas():
    """A delta that says more than the ones before it is read in full: finish, usage, error, another choice, an image."""
    same = [content(b"a"), content(b"b"), content(b"c")]
    other_choice = content(b"z").replace(b'"index":0', b'"index":1')
    image = delta(b'"content":"d","images":[{"image_url":{"url":"%b"}}]' % GIF_URL)
    outcome = read(*same, other_choice, image, content(b"e"), delta(b'"content":"f"', b'"finish_reason":"stop"'), done=False)
    assert isinstance(outcome.failure, StreamTruncated)
    assert (outcome.message.text, outcome.message.alternatives[0].text, len(outcome.message.images)) == ("abcdef", "z", 1)
    failed = read(*same, delta(b'"content":"d"').replace(b'"gen-1"', b'"gen-1","error":{"code":502,"message":"m"}'))
    assert isinstance(failed.failure, StreamFailed)
    assert failed.message.text == "abcd"


def test_event_named_error_that_looks_like_a_delta():
    """The name of the event counts, whatever its data repeats."""
    outcome = same_outcome(data_line(content(b"a")) * 3 + b"event: error\n" + data_line(content(b"a")))
    assert isinstance(outcome.failure, StreamFailed)
    assert outcome.message.text == "aaa"


def test_two_documents_in_one_event():
    """What stands behind the first document of an event is read each time."""
    two = content(b"a") + b"\ndata: " + b'{"usage":{"total_tokens":1}}'
    outcome = read(two, two, two)
    assert (outcome.message.text, len(events_of(outcome, UsageUpdate))) == ("aaa", 3)


def test_drawing_without_base64():
    """A data URL may be percent-encoded (RFC 2397), as those of drawings are."""
    url = b"data:image/svg+xml;utf8,%3Csvg xmlns='http://www.w3.org/2000/svg'/%3E"
    outcome = read(content(b"a"), delta(b'"images":[{"image_url":{"url":"%b"}}]' % url, b'"finish_reason":"stop"'))
    (image,) = outcome.message.images
    assert (image.data, image.media_type) == (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml")


def test_whole_calls_without_index_and_id():
    """Two calls of one name, each whole in its fragment, are two; a call that is not whole yet goes on."""
    first, second = b'{"function":{"name":"f","arguments":"{\\"a\\":1}"}}', b'{"function":{"name":"f","arguments":"{}"}}'
    for documents in ([call(first + b"," + second)], [call(first), call(second)]):
        outcome = read(*documents, content(b"."))
        assert [tool.arguments for tool in outcome.message.tool_calls] == ['{"a":1}', "{}"]
    begun, rest = b'{"function":{"name":"f","arguments":"{\\"a\\":"}}', b'{"function":{"name":"f","arguments":"1}"}}'
    assert [tool.arguments for tool in read(call(begun), call(rest)).message.tool_calls] == ['{"a":1}']


def test_only_another_choice_than_the_first():
    """A stream in which choice 1 alone has spoken and finished is whole, with [DONE] or without."""
    spoken = b'{"id":"g","choices":[{"index":1,"delta":{"content":"b"},"finish_reason":"stop"}]}'
    for done in (True, False):
        outcome = read(spoken, done=done)
        assert outcome.failure is None
        assert [message.text for message in outcome.message.alternatives] == ["b"]


def test_comment_inside_data_is_cut():
    """A comment that a proxy wrapped into data is as short as any other."""
    (event,) = same_outcome(b"data: :" + b"x" * 10_000 + b"\n\n").events
    assert len(event.comment) == 4096


def test_whole_reasoning_details_stay_apart():
    """In a `message` each detail is whole, and goes back as it came."""
    details = b'[{"type":"reasoning.text","index":0,"text":"a"},{"type":"reasoning.text","index":0,"text":"b"}]'
    document = b'{"id":"g","choices":[{"message":{"content":"x","reasoning_details":%b},"finish_reason":"stop"}]}' % details
    assert [detail["text"] for detail in read(document).message.reasoning_details] == ["a", "b"]
