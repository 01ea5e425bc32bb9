"""Clients that nobody here wrote. Each is a script in an environment of its own, which prints as JSON what it got."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from counterparties import binary, free_port, running, unavailable

__all__ = ["PEERS", "Report", "ask", "backend_process", "emulator_process"]

_HERE: Final = Path(__file__).parent
_ENVIRONMENTS: Final = Path(sys.prefix)

# A client that hangs past its own limit is ended.
_GRACE_SECONDS: Final = 60

PEERS: Final = {
    "openai_python": "clients",
    "openrouter_sdk": "clients",
    "litellm_client": "clients",
    "pydantic_ai_client": "clients",
    "langchain_client": "langchain",
    "openai_node": "npm",
    "ai_sdk": "npm",
}
"""The script of each client, and the environment that it runs in."""

_ENVIRONMENT_OF: Final = {**PEERS, "ui_message": "npm"}


class Report(NamedTuple):
    """What the client `name` got: an answer for each case, and what it or its packages warned of."""

    name: str
    answers: dict[str, dict[str, Any]]
    warnings: list[str]


def ask(name: str, base_url: str, cases: Sequence[str], seconds: float = 30) -> Report:
    """Run the client on cases `WAY:MODEL`, side by side, each for at most `seconds`."""
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "NO_COLOR": "1"}
    command = [*_script(name), base_url, str(seconds), *cases]
    finished = subprocess.run(command, env=environment, capture_output=True, timeout=seconds + _GRACE_SECONDS, check=False)
    if finished.returncode != 0:
        pytest.fail(f"{name} ended with {finished.returncode}: {finished.stderr.decode(errors='replace')[-2000:]}", pytrace=False)
    report = json.loads(finished.stdout.splitlines()[-1])
    return Report(name, report["answers"], report["warnings"])


def _script(name: str) -> list[str]:
    place = _ENVIRONMENTS / _ENVIRONMENT_OF[name]
    if not place.exists():
        unavailable(f"{place.name} is not installed (`make interop` does)")
    if place.name == "npm":
        # The scripts are linked into the environment: an import looks for packages beside the link.
        return [binary("node"), "--preserve-symlinks", "--preserve-symlinks-main", str(place / "clients" / f"{name}.mjs")]
    return [str(place / "bin" / "python"), str(_HERE / "clients" / f"{name}.py")]


@contextmanager
def emulator_process(folder: Path) -> Iterator[str]:
    """The emulator in its own process. Yields its base URL."""
    port = free_port()
    with running([sys.executable, str(_HERE / "emulated.py"), str(port)], port, folder):
        yield f"http://127.0.0.1:{port}/api/v1"


@contextmanager
def backend_process(folder: Path, server: str, provider_url: str) -> Iterator[str]:
    """A backend that relays what a provider says, in its own process. Yields its address."""
    port, place = free_port(), folder / "backend"
    place.mkdir()
    with running([sys.executable, str(_HERE / "relaying.py"), server, str(port), provider_url], port, place):
        yield f"http://127.0.0.1:{port}"
