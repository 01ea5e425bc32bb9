"""A batch on a disk that is full after 3000 more bytes: address, journal."""

import asyncio
import resource
import signal
import sys
from pathlib import Path

from or_stream import Client, OrStreamError
from or_stream.batching import batch


async def main(address, journal):
    journal_bytes = Path(journal).stat().st_size  # noqa: ASYNC240
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (journal_bytes + 3000, resource.RLIM_INFINITY))
    items = []
    async with Client(api_key="k", base_url=address) as client:
        try:
            async for item in batch([f"prompt {number}" for number in range(12)], client=client, journal=journal, concurrency=2):
                items.append(item)  # noqa: PERF401  # what came before the error
        except OrStreamError as error:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)  # whoever writes at exit may
            print(type(error).__name__, all(item.error is None for item in items) and bool(items))  # noqa: T201


asyncio.run(main(*sys.argv[1:]))
