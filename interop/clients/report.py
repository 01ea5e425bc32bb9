"""What the scripts of Python's clients share: their arguments, what they ask for, and the JSON they print.

    python CLIENT.py BASE_URL SECONDS WAY:MODEL...

Each script has a table of ways to ask. Every case gets `SECONDS`; all run side by side. What came before a failure is kept.
"""

import asyncio
import base64
import hashlib
import json
import sys
import warnings
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

PROMPT = "Two pictures of a lighthouse, and light the lamp."
API_KEY = "sk-or-v1-interop"
TEXT_AT_MOST = 100_000
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "light_lamp",
        "description": "Lights the lamp.",
        "parameters": {"type": "object", "properties": {"color": {"type": "string"}, "seconds": {"type": "integer"}}},
    },
}


@dataclass
class Answer:
    """What a caller of the client has got.

    Images are digests of their bytes. `unknown` is what the client has no type for, `rejected` what its types refuse; `seen` is
    whatever else a case shows.
    """

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    images: list[str] = field(default_factory=list)
    tool_calls: list[list[str]] = field(default_factory=list)
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    unknown: set[str] = field(default_factory=set)
    rejected: set[str] = field(default_factory=set)
    seen: Any = None


Ask = Callable[[str, Answer], Awaitable[None]]


def main(ways_of: Callable[[str], Mapping[str, Ask]]) -> None:
    """Run the cases of the command line and print `{"answers": {case: answer}, "warnings": [...]}`."""
    base_url, seconds, *cases = sys.argv[1:]
    with warnings.catch_warnings(record=True) as caught:
        answers = asyncio.run(_all(ways_of(base_url), float(seconds), cases))
    told = {"answers": answers, "warnings": [str(warning.message) for warning in caught]}
    sys.stdout.write(json.dumps(told, default=sorted) + "\n")


async def _all(ways: Mapping[str, Ask], seconds: float, cases: list[str]) -> dict[str, Any]:
    answers = await asyncio.gather(*(_one(ways, seconds, case) for case in cases))
    return dict(zip(cases, map(asdict, answers), strict=True))


async def _one(ways: Mapping[str, Ask], seconds: float, case: str) -> Answer:
    way, _, model = case.partition(":")
    answer = Answer()
    try:
        async with asyncio.timeout(seconds):
            await ways[way](model, answer)
    except Exception as error:  # noqa: BLE001 - whatever a client raises is what is asked for
        answer.error = _described(error)
    answer.text = answer.text[:TEXT_AT_MOST]
    return answer


def _described(error: Exception) -> dict[str, Any]:
    headers = getattr(error, "headers", None) or getattr(getattr(error, "response", None), "headers", None) or {}
    return {
        "type": type(error).__name__,
        "status": getattr(error, "status_code", None),
        "message": str(error)[:500],
        "retry_after": headers.get("retry-after"),
    }


def modalities(model: str) -> dict[str, Any]:
    """What is asked of a model that paints, beside the prompt."""
    return {"modalities": ["image", "text"]} if "image" in model else {}


def tools(model: str) -> dict[str, Any]:
    """What is asked where a tool is to be called."""
    return {"tools": [TOOL]} if "tool" in model else {}


def digest(url: str) -> str:
    """The digest of the bytes in a data URL; an address is its own."""
    head, comma, data = url.partition(",")
    if not comma or not head.startswith("data:"):
        return url
    return hashlib.sha256(base64.b64decode(data + "=" * (-len(data) % 4), validate=True)).hexdigest()


def collect_calls(calls: list[list[str]], entries: list[Mapping[str, Any]]) -> None:
    """Add the fragments of tool calls to what has come, by their index, as the wire means it."""
    for entry in entries:
        index = entry["index"]
        calls += [["", ""] for _ in range(index + 1 - len(calls))]
        function = entry.get("function") or {}
        calls[index][0] = function.get("name") or calls[index][0]
        calls[index][1] += function.get("arguments") or ""
