"""A batch that can be killed: address, journal, folder, how many prompts, how many at once."""

import asyncio
import sys

from or_stream import Client
from or_stream.batching import batch


async def main(address, journal, folder, count, concurrency):
    prompts = (f"picture number {number}" for number in range(int(count)))
    async with Client(api_key="k", base_url=address) as client:
        options = {"journal": journal, "save_to": folder, "skip_finished": True, "modalities": ["image", "text"]}
        size = {"image_size": "0.5K"}
        async for item in batch(prompts, client=client, concurrency=int(concurrency), image_config=size, **options):
            assert item.error is None, item


asyncio.run(main(*sys.argv[1:]))
