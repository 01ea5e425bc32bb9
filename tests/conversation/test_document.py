"""docs/conversations.md does what it says."""

import ast
import re
from pathlib import Path

from or_stream.emulator import picture

DOCUMENT = Path(__file__).parents[2] / "docs" / "conversations.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


async def test_document_runs(emulator, monkeypatch, tmp_path):
    """Its blocks, one after the other, in one folder: the last request has both earlier turns."""
    monkeypatch.setenv("OPENROUTER_API_KEY", "test")
    monkeypatch.setenv("OPENROUTER_BASE_URL", emulator.base_url)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "moon.png").write_bytes(picture("a moon", 8, 8))
    for block in BLOCKS:
        await eval(compile(block, DOCUMENT, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), {})
    roles = [message["role"] for message in emulator.requests[-1].body["messages"]]
    assert roles == ["system", "user", "assistant", "user", "assistant", "user"]
