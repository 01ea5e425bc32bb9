"""Servers that nobody here wrote, run in the foreground on free loopback ports and stopped by their own pid."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

__all__ = ["binary", "closed_port", "free_port", "haproxy", "nginx", "running", "tinyproxy", "unavailable"]

# A test run that is killed leaves no server behind for longer than that.
_LIFETIME_SECONDS: Final = 240
_START_SECONDS: Final = 60


def unavailable(reason: str) -> None:
    """Skip the test; on CI, where everything can be had, fail it."""
    if os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(f"{reason}, and CI=true", pytrace=False)
    pytest.skip(reason)


def binary(name: str) -> str:
    """The path of a program, beside this Python or on the system."""
    places = (str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin")
    path = shutil.which(name, path=os.pathsep.join(places))
    if path is None:
        unavailable(f"{name} is not installed")
    assert path is not None
    return path


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def closed_port() -> Iterator[int]:
    """A port that refuses connections for as long as it is held: bound, but not listening."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@contextmanager
def running(command: Sequence[str], port: int, folder: Path, *, environment: Mapping[str, str] | None = None) -> Iterator[None]:
    """The program while the block runs, from when it accepts connections on `port`. What it says goes to `folder`/log."""
    bounded = ["timeout", "--kill-after=5", str(_LIFETIME_SECONDS), *command]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            bounded,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=dict(environment) if environment is not None else None,
        )
        try:
            _wait_for_port(process, port, folder / "log")
            yield
        finally:
            process.terminate()  # `timeout` hands it on
            try:
                process.wait(15)
            finally:
                process.kill()
                process.wait()


def _wait_for_port(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    pytest.fail(f"{process.args!r} did not start: {log.read_text(errors='replace')[-2000:]}", pytrace=False)


_NGINX = """
daemon off;
master_process off;
pid nginx.pid;
error_log stderr warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    limit_req_zone $server_port zone=requests:1m rate=1r/m;
    {http}
    server {{
        listen 127.0.0.1:{port}{tls};
        {server}
    }}
}}
"""


@contextmanager
def nginx(folder: Path, server: str, *, http: str = "", certificate: Path | None = None) -> Iterator[str]:
    """nginx with `server` and `http` inside the blocks of these names. Yields its address, https where it has a `certificate`."""
    port, place = free_port(), folder / "nginx"
    place.mkdir()
    if certificate is not None:
        server = f"ssl_certificate {certificate}; ssl_certificate_key {certificate};\n{server}"
    text = _NGINX.format(port=port, http=http, server=server, tls=" ssl" if certificate is not None else "")
    (place / "nginx.conf").write_text(text)
    with running([binary("nginx"), "-e", "stderr", "-p", str(place), "-c", "nginx.conf"], port, place):
        yield f"{'https' if certificate is not None else 'http'}://127.0.0.1:{port}"


_HAPROXY = """
global
    log stderr format raw local0 err
defaults
    mode http
    timeout connect 1s
    timeout client 30s
    timeout server 30s
    retries 0
frontend front
    bind 127.0.0.1:{port}
    default_backend back
backend back
    {backend}
    server emulator 127.0.0.1:{upstream}
"""


@contextmanager
def haproxy(folder: Path, upstream: int, backend: str = "") -> Iterator[str]:
    """haproxy in front of a port, with more lines for its backend. Yields its address."""
    port, place = free_port(), folder / "haproxy"
    place.mkdir()
    (place / "haproxy.cfg").write_text(_HAPROXY.format(port=port, upstream=upstream, backend=backend))
    with running([binary("haproxy"), "-db", "-f", "haproxy.cfg"], port, place):
        yield f"http://127.0.0.1:{port}"


_TINYPROXY = """
Listen 127.0.0.1
Port {port}
Timeout 60
MaxClients 50
LogLevel Connect
Allow 127.0.0.1
{lines}
"""


@contextmanager
def tinyproxy(folder: Path, lines: str = "") -> Iterator[int]:
    """A forward proxy, with more lines for its configuration. Yields its port."""
    port, place = free_port(), folder / "tinyproxy"
    place.mkdir()
    (place / "tinyproxy.conf").write_text(_TINYPROXY.format(port=port, lines=lines))
    with running([binary("tinyproxy"), "-d", "-c", "tinyproxy.conf"], port, place):
        yield port
