"""An upstream that says in its errors what no browser may see: whatever the form, none of it goes out."""

import pytest

from or_stream.emulator import Chunk, Scenario, Send, scenarios
from or_stream.relay.asgi import StreamResponse

# A key, lines that would end a header or an event, and a script.
SAID = "of sk-or-v1-secret\r\n\r\ndata: [DONE]\r\n\r\nSet-Cookie: secret=1\u2028</p><script>secret()</script>"
ERROR = {"code": 502, "message": SAID, "metadata": {"raw": SAID, "provider_name": SAID, "error_type": SAID, "secret": SAID}}
BEGUN = scenarios.text().steps[0]


def inside(**fields):
    return Scenario((BEGUN, Chunk(fields)))


HOSTILE = {
    **{
        f"refused with {status}": scenarios.refused(status, {"error": {**ERROR, "code": status}})
        for status in (400, 401, 402, 403, 404, 408, 413, 429, 500, 502, 503, 529)
    },
    "refused with a code that is no number": scenarios.refused(400, {"error": {**ERROR, "code": SAID}}),
    "refused in plain words": Scenario((Send(SAID.encode()),), 502, "text/html"),
    "200 with an error": scenarios.json_body({"error": ERROR}),
    "200 with something else": Scenario((Send(SAID.encode()),), 200, "text/html"),
    "error inside": inside(error=ERROR, choices=[]),
    "error inside that is alone": Scenario((BEGUN, Send(b'data: {"error": "' + b"sk-or-v1-secret" + b'"}\n\n'))),
    "error inside a choice": inside(choices=[{"index": 0, "delta": {"content": ""}, "error": ERROR, "finish_reason": "error"}]),
    "not JSON inside": Scenario((BEGUN, Send(b"data: {sk-or-v1-secret\n\n"))),
    **{
        f"Retry-After {hint}": scenarios.refused(429, {"error": ERROR}, headers={"Retry-After": hint})
        for hint in ("inf", "nan", "-1", "1e999", "9" * 400, "secret")
    },
}


@pytest.mark.parametrize("protocol", ["events", "openai", "ui-message"])
async def test_nothing_of_it_goes_out(emulator, client, serve_asgi, browser, protocol):
    """Neither body nor headers have a word of it, and each answer is told to be a failure."""

    async def app(scope, receive, send):
        if scope["type"] == "http":
            await StreamResponse(client.stream("hi"), protocol)(scope, receive, send)

    url = await serve_asgi(app)
    for name, scenario in HOSTILE.items():
        emulator.play(scenario)
        async with browser.post(url) as response:
            body = await response.text()
            shown = body + str(response.headers)
            assert (name, "secret" in shown, "sk-or" in shown, "script" in shown) == (name, False, False, False)
            assert "Set-Cookie" not in response.headers
            assert (name, response.status >= 400 or "error" in body) == (name, True)
