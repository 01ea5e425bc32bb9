"""The emulator as a process of its own: `python emulated.py PORT`."""

import asyncio
import sys

from or_stream.emulator import Emulator


async def serve(port: int) -> None:
    async with Emulator(port=port):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
