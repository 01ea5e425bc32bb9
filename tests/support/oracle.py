"""A second opinion on a recorded answer: the slowest reader that can be right, to compare the real one with.

It imports nothing of the package and nothing outside the standard library. It wants the whole file, splits it on blank lines,
parses every data line with `json` and merges. `read` tells what an answer holds; `expectation` is the same without anybody's
texts or ids, fit to be kept. Run it on a folder of recordings and their `index.json` to write `captures_expected.json` anew.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

DONE = "[DONE]"
EXPECTED = Path(__file__).resolve().parent.parent / "captures_expected.json"

Record = dict[str, Any]


# ---- what an answer holds


def read(name: str, raw_bytes: bytes, status: int = 200) -> Record:
    """Everything the answer says, texts and ids in full. A name ending in `.sse` is a stream, any other is one JSON document."""
    record = read_stream(raw_bytes) if name.endswith(".sse") else read_document(raw_bytes)
    return {"status": status, **record}


def read_stream(raw_bytes: bytes) -> Record:
    """The merged chunks of a stream, read on past an error to the last byte; of one that was cut, what is whole.

    `after_error` names the fields that a reader who stops at the first chunk with an error, that chunk included, has otherwise;
    None where nothing failed.
    """
    payloads, comments = split(raw_bytes)
    done = DONE in payloads
    chunks = [json.loads(payload) for payload in payloads[: payloads.index(DONE)] if payload] if done else parse_cut(payloads)
    record = merge(chunks)
    failing = next((number for number, chunk in enumerate(chunks, 1) if error_of(chunk)), None)
    after_error = None
    if failing is not None:
        until_error = merge(chunks[:failing])
        after_error = sorted(field for field in record if record[field] != until_error[field])
    ending = "failed" if record["error"] else "complete" if done or record["finish_reason"] else "truncated"
    framing = {"comments": comments, "chunks": len(chunks), "done": done, "after_error": after_error}
    return {"kind": "stream", "ending": ending, **framing, **record}


def split(raw_bytes: bytes) -> tuple[list[str], int]:
    """The payloads of the data lines, and how many comment lines there were."""
    payloads, comments = [], 0
    for block in raw_bytes.split(b"\n\n"):
        data = []
        for line in block.split(b"\n"):
            if line.startswith(b":"):
                comments += 1
            elif line.startswith(b"data:"):
                data.append(line.removeprefix(b"data:").removeprefix(b" "))
        if data:
            payloads.append(b"\n".join(data).decode("utf-8", "replace"))
    return payloads, comments


def parse_cut(payloads: Sequence[str]) -> list[Record]:
    """The chunks of a stream without its end; the last one may be cut short and is then left out."""
    chunks = [json.loads(payload) for payload in payloads[:-1]]
    return chunks + [json.loads(payload) for payload in payloads[-1:] if is_json(payload)]


def read_document(raw_bytes: bytes) -> Record:
    """One JSON document: an answer, an error, a model list, a generation record or a result of the Image API."""
    body = json.loads(raw_bytes)  # whitespace before it is a keep-alive
    if "choices" in body or "error" in body:
        record = merge([body])
        kind = "message" if body.get("choices") else "error"
        return {"kind": kind, "ending": "failed" if record["error"] else "complete", **record}
    data = body["data"]
    if isinstance(data, dict):
        return {"kind": "generation", "generation": data}
    if any("b64_json" in item for item in data):
        images = [image_of_bytes(base64.b64decode(item["b64_json"], validate=True)) for item in data]
        rest = {
            "claimed": [item.get("media_type") for item in data],
            "usage": usage_of(body["usage"]),
            "created": body["created"],
        }
        return {"kind": "images", "ending": "complete", "images": images, **rest}
    return {"kind": "models", "models": data}


# ---- merging


def merge(chunks: Sequence[Record]) -> Record:
    """One record out of the chunks of a stream, or out of the one document that is a whole answer."""
    choices = [choice for chunk in chunks for choice in chunk.get("choices") or [] if choice.get("index", 0) == 0]
    whole = any("message" in choice for choice in choices)
    deltas = [choice.get("delta") or choice.get("message") or {} for choice in choices]
    details = [detail for delta in deltas for detail in delta.get("reasoning_details") or []]
    calls = [entry for delta in deltas for entry in delta.get("tool_calls") or []]
    images, parts = images_and_parts(deltas)
    return {
        "ids": distinct(chunk.get("id") for chunk in chunks),
        "model": first(chunk.get("model") for chunk in chunks),
        "provider": first(chunk.get("provider") for chunk in chunks),
        "text": "".join(delta.get("content") or "" for delta in deltas),
        "reasoning": "".join(reasoning_of(delta) for delta in deltas),
        "refusal": "".join(delta.get("refusal") or "" for delta in deltas),
        "reasoning_details": details if whole else merge_details(details),
        "images": images,
        "parts": parts,
        "tool_calls": merge_tool_calls([{**call, "index": index} for index, call in enumerate(calls)] if whole else calls),
        "annotations": [annotation for delta in deltas for annotation in delta.get("annotations") or []],
        "finish_reason": first(choice.get("finish_reason") for choice in choices),
        # The first to say anything, not always beside the finish_reason that won: Gemini sends tool_calls/null, then stop/STOP.
        "native_finish_reason": first(choice.get("native_finish_reason") for choice in choices),
        "usage": last([usage_of(chunk["usage"]) for chunk in chunks if chunk.get("usage")]),
        "error": first(error_of(chunk) for chunk in chunks),
    }


def reasoning_of(delta: Mapping[str, Any]) -> str:
    """What a delta adds to the reasoning; `reasoning` and `reasoning_details` say the same, so the second counts only alone."""
    if delta.get("reasoning"):
        return str(delta["reasoning"])
    return "".join(detail.get("text") or detail.get("summary") or "" for detail in delta.get("reasoning_details") or [])


def merge_details(fragments: Sequence[Record]) -> list[Record]:
    """Neighbours of one type and index joined: text, summary and data grow, other fields take the last non-empty value."""
    merged: list[Record] = []
    for fragment in fragments:
        if not merged or (merged[-1].get("type"), merged[-1].get("index")) != (fragment.get("type"), fragment.get("index")):
            merged.append(dict(fragment))
            continue
        detail = merged[-1]
        for field, value in fragment.items():
            if field in ("text", "summary", "data"):
                detail[field] = (detail.get(field) or "") + (value or "")
            elif value or field not in detail:
                detail[field] = value
    return merged


def merge_tool_calls(fragments: Sequence[Record]) -> list[Record]:
    """The calls in the order in which they were begun; another id at a used index begins another call, no id continues."""
    calls: list[Record] = []
    current: dict[int, Record] = {}
    for fragment in fragments:
        index = fragment.get("index") or 0
        call = current.get(index)
        identity = fragment.get("id") or ""
        if call is None or (identity and call["id"] and identity != call["id"]):
            call = current[index] = {"id": "", "name": "", "arguments": ""}
            calls.append(call)
        function = fragment.get("function") or {}
        call["id"] = call["id"] or identity
        call["name"] = call["name"] or function.get("name") or ""
        call["arguments"] += function.get("arguments") or ""
    for call in calls:
        call["arguments"] = call["arguments"] or "{}"
        call["complete"] = is_json(call["arguments"])
    return calls


def images_and_parts(deltas: Sequence[Mapping[str, Any]]) -> tuple[list[Record], list[str]]:
    """The images, byte-identical repeats once, and "text" and "image" in the order of arrival, neighbouring texts as one."""
    images: list[Record] = []
    parts: list[str] = []
    for delta in deltas:
        if delta.get("content") and parts[-1:] != ["text"]:
            parts.append("text")
        for entry in delta.get("images") or []:
            image = image_of_url(entry["image_url"]["url"])
            if image not in images:
                images.append(image)
                parts.append("image")
    return images, parts


def usage_of(usage: Mapping[str, Any]) -> Record:
    """The numbers of a usage object; None where it says nothing."""
    prompt = usage.get("prompt_tokens_details") or {}
    completion = usage.get("completion_tokens_details") or {}
    return {
        **{field: usage.get(field) for field in ("prompt_tokens", "completion_tokens", "total_tokens", "cost")},
        "reasoning_tokens": completion.get("reasoning_tokens"),
        "image_tokens": completion.get("image_tokens"),
        "cached_tokens": prompt.get("cached_tokens"),
    }


def error_of(chunk: Mapping[str, Any]) -> Record | None:
    """The error of a chunk or a document, wherever it sits: on top, in a choice, or only as a finish_reason."""
    choices = chunk.get("choices") or []
    on_top, in_choice = chunk.get("error"), first(choice.get("error") for choice in choices)
    error = on_top or in_choice
    if error is None:
        failed = any(choice.get("finish_reason") == "error" for choice in choices)
        return {"place": "finish_reason", "code": None, "message": "", "metadata": None} if failed else None
    if isinstance(error, str):
        error = {"message": error}
    place = "top" if on_top else "choice"
    return {"place": place, "code": error.get("code"), "message": error.get("message") or "", "metadata": error.get("metadata")}


# ---- images


def image_of_url(url: str) -> Record:
    """What a `data:` URL holds; of any other address, nothing but that it is one."""
    header, comma, payload = url.partition(",")
    if not (header.startswith("data:") and header.endswith(";base64") and comma):
        return {"media_type": None, "width": None, "height": None, "size": None, "sha256": None, "url": url}
    return image_of_bytes(base64.b64decode(payload, validate=True))


def image_of_bytes(data: bytes) -> Record:
    """Media type and measures as the bytes themselves tell them. Knows PNG and JPEG, the only formats that were recorded."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        media_type, width, height = "image/png", int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    elif data.startswith(b"\xff\xd8\xff"):
        media_type, (width, height) = "image/jpeg", measure_jpeg(data)
    else:
        raise ValueError(f"an image that begins with {data[:12]!r}")
    return {"media_type": media_type, "width": width, "height": height, "size": len(data), "sha256": sha256(data)}


def measure_jpeg(data: bytes) -> tuple[int, int]:
    """Width and height from the first start-of-frame segment (ITU-T T.81, B.2.2)."""
    offset = 2
    while data[offset] == 0xFF:
        marker = data[offset + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(data[offset + 7 : offset + 9], "big"), int.from_bytes(data[offset + 5 : offset + 7], "big")
        offset += 2 + int.from_bytes(data[offset + 2 : offset + 4], "big")
    raise ValueError("a JPEG without a frame")


# ---- what may be kept of it


def expectation(name: str, raw_bytes: bytes, status: int = 200) -> Record:
    """What `read` says with every text as its digest and every id as a count: an entry of captures_expected.json."""
    record = read(name, raw_bytes, status)
    if record["kind"] == "generation":
        return {**record, "generation": redact_generation(record["generation"])}
    if record["kind"] == "models":
        return {**record, "models": redact_models(record["models"])}
    if record["kind"] == "images":
        return record
    for field in ("text", "reasoning", "refusal"):
        record[field] = digest(record[field])
    for field in ("reasoning_details", "annotations"):
        record[field] = digest_list(record[field])
    record["ids"] = len(record["ids"])
    record["images"] = [{**image, "url": digest(image["url"])} if "url" in image else image for image in record["images"]]
    calls = record["tool_calls"]
    record["tool_call_ids"] = len(distinct(call["id"] for call in calls))
    record["tool_calls"] = [
        {"name": call["name"], "arguments": digest(call["arguments"]), "complete": call["complete"]} for call in calls
    ]
    if record["error"]:
        record["error"] = redact_error(record["error"])
    return record


def redact_error(error: Mapping[str, Any]) -> Record:
    """Code and place as they are, the message as its digest, of the metadata the names alone."""
    metadata = error["metadata"]
    return {
        "place": error["place"],
        "code": error["code"],
        "message": digest(error["message"]),
        "metadata_keys": None if metadata is None else sorted(metadata),
        "error_type": (metadata or {}).get("error_type"),
        "provider_name": (metadata or {}).get("provider_name"),
    }


def redact_generation(generation: Mapping[str, Any]) -> Record:
    """What a generation cost and how it ended."""
    ending = ("model", "provider_name", "streamed", "cancelled", "finish_reason", "native_finish_reason")
    tokens = sorted(field for field in generation if field.startswith(("tokens_", "native_tokens_")))
    return {field: generation.get(field) for field in (*ending, "total_cost", "usage", "is_byok", *tokens)}


def redact_models(models: Sequence[Mapping[str, Any]]) -> Record:
    """How many models there are, how many put out what, and a digest of their names in the order sent."""
    outputs: dict[str, int] = {}
    for model in models:
        for modality in (model.get("architecture") or {}).get("output_modalities") or []:
            outputs[modality] = outputs.get(modality, 0) + 1
    names = digest("\n".join(model["id"] for model in models))
    return {"count": len(models), "outputs": dict(sorted(outputs.items())), "names": names}


def digest(text: str | None) -> Record | None:
    """The SHA-256 and the length in bytes of the UTF-8 of a text; None for no text, be it None or empty."""
    if not text:
        return None
    data = text.encode("utf-8", "surrogatepass")
    return {"sha256": sha256(data), "length": len(data)}


def digest_list(items: Sequence[Any]) -> Record:
    """How many, and the SHA-256 of their canonical JSON: sorted keys, no blanks, text as itself in UTF-8."""
    canonical = json.dumps(list(items), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return {"count": len(items), "sha256": sha256(canonical.encode("utf-8", "surrogatepass"))}


# ---- small change


def sha256(data: bytes) -> str:
    """In hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def is_json(text: str) -> bool:
    """Whether a text is one whole JSON value."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def first(values: Any) -> Any:
    """The first that is neither None nor empty, else None."""
    return next((value for value in values if value), None)


def last(values: Sequence[Any]) -> Any:
    """The last one, None if there is none."""
    return values[-1] if values else None


def distinct(values: Any) -> list[Any]:
    """Each that is neither None nor empty once, in order."""
    return list(dict.fromkeys(value for value in values if value))


def main(arguments: Sequence[str]) -> int:
    """Write captures_expected.json, one line for a recording, from a folder of recordings."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python tests/support/oracle.py CAPTURES_DIR\n")
        return 2
    folder = Path(arguments[0])
    index = json.loads((folder / "index.json").read_bytes())
    lines = []
    for name in sorted(index):
        entry = expectation(name, (folder / name).read_bytes(), index[name]["status"])
        lines.append(f"{json.dumps(name)}: {json.dumps(entry, separators=(',', ':'))}")
    EXPECTED.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
