"""What is secret is gone, what is not stays, and nothing changes its length."""

import base64
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from or_stream.emulator.recording._scrubbing import Scrubber, scrubbed_headers, scrubbed_query, secrets_of
from support.feeding import cut

KEY = "sk-or-v1-0123456789abcdef0123456789abcdef"
USER = "user_2abcDEFghiJKLmnoPQRstuVWX"


def scrubbed(data: bytes, *secrets: str) -> bytes:
    scrubber = Scrubber(secrets)
    return scrubber.feed(data) + scrubber.finish()


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"my key is {KEY}.", KEY[9:]),
        ("sk-proj-AbCdEf0123456789_-x and more", "AbCdEf0123456789_-x"),
        ("-H 'Authorization: Bearer abcdef.ghijkl/mnop+qrst=='", "abcdef.ghijkl/mnop+qrst=="),
        (f"glued{KEY}", KEY[9:]),
        (f'{{"user_id":"{USER}"}}', USER),
        ('{"user_id" : "acme"}', "acme"),
        (r'{"raw":"{\"user_id\":\"acme-7\"}"}', "acme-7"),
        (r'{"raw":"{\\\"account_id\\\": \\\"acme-7\\\"}"}', "acme-7"),
        (r'{"password":"half\"quoted"}', r"half\"quoted"),
        ('{"creator_user_id":"x12"}', "x12"),
        ('{"openai_api_key":"abc"}', "abc"),
        ("eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.SflKxwRJSMeKKF2QT4", "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.SflKxwRJSMeKKF2QT4"),
        (f"as {USER} and org{USER[4:]}", USER[5:]),
    ],
)
def test_what_looks_like_a_secret(text: str, secret: str):
    """A secret is stars in equal number, and what is around it is as it was."""
    assert text.replace(secret, "*" * len(secret)).encode() == scrubbed(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "risk-free-and-without-any-secret",
        "Missing Bearer authentication",
        '{"id":"gen-1787584664-aB3dE5fG7hJ9kL1mN3pQ","max_tokens":5}',
        '{"role":"user","user_id":null}',
        "a user_name and user_1",
        "any",
    ],
)
def test_what_is_none(text: str):
    """Ordinary text that resembles a secret is left alone."""
    assert text.encode() == scrubbed(text.encode(), "any")


def test_pictures_are_never_touched():
    """Standard base64 holds no secret, by whatever chance."""
    picture = base64.b64encode(random.Random(7).randbytes(3_000_000))
    assert picture == scrubbed(picture)


@pytest.mark.parametrize(
    "spelled",
    [
        'pa/ss "wörd+1',
        "pa%2Fss%20%22w%C3%B6rd%2B1",
        "pa%2Fss+%22w%C3%B6rd%2B1",
        r"pa/ss \"w\u00f6rd+1",
        r"pa\/ss \"w\u00f6rd+1",
    ],
)
def test_a_known_secret_in_every_spelling(spelled: str):
    """As it is, in a URL, in a form, in JSON, and in JSON that escapes slashes."""
    assert b"*" * len(spelled.encode()) == scrubbed(spelled.encode(), 'pa/ss "wörd+1')


PARTS = st.sampled_from(
    [
        "\n",
        " ",
        '"',
        "\\",
        "x",
        "sk-",
        KEY,
        KEY[:20],
        KEY[20:],
        "Bearer ",
        "user_",
        USER,
        '"user_id":',
        '"abc"',
        "supersecret",
        "é",
    ]
)


@given(st.lists(PARTS, max_size=12), st.data())
def test_cuts_change_nothing(parts: list[str], data: st.DataObject):
    """However the bytes come, the same bytes are left."""
    text = "".join(parts).encode()
    places = data.draw(st.lists(st.integers(0, len(text)), max_size=6).map(sorted))
    scrubber = Scrubber(["supersecret"])
    assert scrubbed(text, "supersecret") == b"".join(map(scrubber.feed, cut(text, places))) + scrubber.finish()


@given(st.lists(PARTS, max_size=12))
def test_scrubbing_again_changes_nothing(parts: list[str]):
    """What was recorded can be recorded again."""
    once = scrubbed(" ".join(parts).encode(), "supersecret")
    assert once == scrubbed(once, "supersecret")


def test_a_whole_line_is_not_held_back():
    """What ends with a line end comes at once, so that a recorder that is killed loses no event."""
    scrubber = Scrubber(["supersecret"])
    assert scrubber.feed(b"data: x\n\n") == b"data: x\n\n"


def test_what_was_given_out_still_counts():
    """What only looks like a key from its middle on is no key, also where that middle begins what was held back."""
    text = b"x" * 100 + b"sk-0123456789abcdefgh" + b" " * 8171
    assert text == scrubbed(text)


def test_little_is_held_back_of_a_long_line():
    """A line without end takes no memory."""
    scrubber = Scrubber()
    given_out = sum(len(scrubber.feed(b"x" * 100_000)) for _ in range(10))
    assert given_out > 1_000_000 - 10_000


def test_headers():
    """A header with the name of a secret keeps its name and its scheme, any other its value but for known secrets."""
    headers = [
        ("Authorization", f"Bearer {KEY}"),
        ("cookie", "a=1"),
        ("X-Api-Key", "k"),
        ("x-user-id", "7"),
        ("Referer", f"https://example.com/?k={KEY}"),
        ("X-RateLimit-Remaining-Tokens", "12"),
    ]
    told = dict(scrubbed_headers(headers, Scrubber(secrets_of(headers))))
    assert told == {
        "Authorization": "Bearer ***",
        "cookie": "***",
        "X-Api-Key": "***",
        "x-user-id": "***",
        "Referer": f"https://example.com/?k={'*' * len(KEY)}",
        "X-RateLimit-Remaining-Tokens": "12",
    }


def test_query():
    """A parameter with the name of a secret keeps its name."""
    assert "a=1&api_key=***&b=%20" == scrubbed_query("a=1&api_key=hidden&b=%20", Scrubber())


def test_secrets_of_a_request():
    """Credentials, cookies, the password in basic credentials, and secret parameters as written and as meant."""
    basic = base64.b64encode(b"me:my-password").decode()
    headers = [("Authorization", f"Basic {basic}"), ("Cookie", "session=abcdefgh; theme=dark"), ("x-api-key", "12345678")]
    found = secrets_of(headers, "key=a%2Bbcdefgh&page=2")
    assert found == {basic, "my-password", "abcdefgh", "12345678", "a%2Bbcdefgh", "a+bcdefgh"}


def test_json_stays_json():
    """A document in which something was hidden can still be read."""
    document = {"api_key": KEY, "messages": [{"content": f'{KEY} "quoted"'}], "user_id": USER}
    assert json.loads(scrubbed(json.dumps(document).encode(), KEY))["messages"][0]["content"].endswith('"quoted"')
