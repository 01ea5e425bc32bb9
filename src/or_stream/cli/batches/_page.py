"""One item in HTML, and what stands around the items of a page. Everything that others wrote is escaped; no script is there."""

import re
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

from or_stream.batching import BatchItem
from or_stream.cli.batches._progress import money
from or_stream.values import Image

__all__ = ["END", "Totals", "head", "item_html"]

_SHOWN_CHARACTERS: Final = 4000
# HTML has no way to write these; lone surrogates have no UTF-8.
_UNWRITABLE: Final = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
# A picture that is a document of its own may carry a script: it is shown, which runs nothing, and not opened.
_OPENED: Final = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})

_STYLE: Final = """
:root{color-scheme:light dark;--line:light-dark(#d8d8d8,#3a3a3a);--card:light-dark(#fff,#1d1d1f);
--dim:light-dark(#5c5c5c,#a5a5a5);
--bad:light-dark(#b00020,#ff8a80)}
*{box-sizing:border-box}
body{margin:0;padding:1.2rem;font:15px/1.45 system-ui,sans-serif;background:light-dark(#f4f4f5,#121213);
color:light-dark(#161616,#ececec)}
h1{font-size:1.3rem;margin:0 0 .3rem;overflow-wrap:anywhere}
header p,nav{color:var(--dim);margin:0 0 .6rem}
label{margin:0 1rem 0 .2rem}
main{display:grid;grid-template-columns:repeat(auto-fill,minmax(15rem,1fr));gap:1rem;margin-top:1rem;align-items:start}
article{background:var(--card);border:1px solid var(--line);border-radius:8px;overflow:hidden;content-visibility:auto;
contain-intrinsic-size:auto 24rem}
article.failed{border-color:var(--bad)}
figure{margin:0;display:grid;grid-template-columns:repeat(auto-fit,minmax(7rem,1fr));gap:1px}
img{display:block;width:100%;height:auto;max-height:28rem;object-fit:contain;
background:repeating-conic-gradient(#8883 0 25%,#0000 0 50%) 0 0/16px 16px}
article>p,article>div,footer{margin:.6rem .7rem;overflow-wrap:anywhere;white-space:pre-wrap;unicode-bidi:isolate}
article>p{font-weight:600;max-height:12rem;overflow:auto}
article>div{max-height:16rem;overflow:auto}
.error{color:var(--bad)}
footer{color:var(--dim);font-size:.85em;white-space:normal}
code{font-size:.95em}
#only-done:checked~main .failed,#only-failed:checked~main .done{display:none}
"""

_HEAD: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="referrer" content="no-referrer">
<title>{title}</title><style>{style}</style></head>
<body><header><h1>{title}</h1><p>{totals}</p></header>
<input type="radio" name="show" id="all" checked><label for="all">all</label>
<input type="radio" name="show" id="only-done"><label for="only-done">done</label>
<input type="radio" name="show" id="only-failed"><label for="only-failed">failed</label>
{pages}<main>
"""

END: Final = "</main></body></html>\n"


@dataclass(slots=True)
class Totals:
    """What the head of each page says."""

    done: int = 0
    failed: int = 0
    pictures: int = 0
    cost: float = 0.0
    written_at: str = ""


def head(title: str, totals: Totals, page: int, names: list[str]) -> str:
    """All of a page before its first item. `names` are the files of all pages."""
    said = f"{totals.done:,} done · {totals.failed:,} failed · {totals.pictures:,} pictures · {money(totals.cost)}"
    links = [
        f"<b>{number}</b>" if number == page else f'<a href="{_address(name)}">{number}</a>'
        for number, name in enumerate(names, 1)
    ]
    pages = f"<nav>page {' '.join(links)}</nav>" if len(names) > 1 else ""
    return _HEAD.format(title=_text(title), style=_STYLE, totals=f"{said} · {_text(totals.written_at)}", pages=pages)


def item_html(item: BatchItem, pictures: str) -> str:
    """One item. `pictures` is the folder of its pictures, seen from the page."""
    prompt = item.prompt if isinstance(item.prompt, str) else "(no text to show)" if item.prompt is None else str(item.prompt)
    parts = [f'<article class="{"done" if item.error is None else "failed"}">']
    if item.message is not None:
        shown = [_picture(image, pictures, prompt) for image in item.message.images]
        parts += ["<figure>", *shown, "</figure>"] if shown else []
    parts.append(f'<p dir="auto">{_text(prompt)}</p>')
    if item.message is not None and (text := item.message.text or item.message.refusal):
        parts.append(f'<div dir="auto">{_text(text)}</div>')
    if item.error is not None:
        parts.append(f'<div class="error" dir="auto"><b>{type(item.error).__name__}</b> {_text(str(item.error))}</div>')
    facts = [
        f"<code>{_text(item.key)}</code>",
        *([_text(item.model)] if item.model else []),
        *([money(item.cost)] if item.cost is not None else []),
        *([f"{item.seconds:.1f} s"] if item.seconds else []),
        *([f"{item.attempts} requests"] if item.attempts > 1 else []),
    ]
    parts.append(f"<footer>{' · '.join(facts)}</footer></article>\n")
    return "".join(parts)


def _picture(image: Image, folder: str, prompt: str) -> str:
    if image.path is None:
        if image.url is None or urlsplit(image.url).scheme not in ("http", "https"):
            return ""
        return f'<footer><a href="{escape(image.url)}" rel="noreferrer">picture at an address</a></footer>'
    address = _address(f"{folder}/{Path(image.path).name}")
    size = f' width="{image.width}" height="{image.height}"' if image.width and image.height else ""
    shown = f'<img src="{address}" alt="{_text(prompt[:200])}" loading="lazy" decoding="async"{size}>'
    return f'<a href="{address}">{shown}</a>' if image.media_type in _OPENED else shown


def _address(path: str) -> str:
    return escape(quote(path, errors="surrogateescape"))


def _text(text: str) -> str:
    short = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
    return escape(_UNWRITABLE.sub("\ufffd", short))
