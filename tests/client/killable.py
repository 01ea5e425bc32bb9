"""A stream that writes its images to a folder, to be killed: address, folder."""

import asyncio
import sys

from or_stream import Client


async def main(address, folder):
    async with Client(api_key="k", base_url=address) as client:
        await client.generate("x", save_to=folder)


asyncio.run(main(*sys.argv[1:]))
