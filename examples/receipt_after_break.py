"""Leave a stream in the middle, and learn what it cost all the same: the service knows a moment later."""

import asyncio

from or_stream import Client, TextDelta


async def main() -> None:
    async with Client() as client:
        generation = client.stream("Tell me a long story about a lighthouse")
        async for event in generation:
            if isinstance(event, TextDelta):
                break  # the connection is dropped here
        receipt = await generation.receipt()
        cost = f"${receipt.cost:.6f}" if receipt.is_settled else f"unknown ({receipt.unsettled_because})"
        print(f"{receipt.status} after {receipt.bytes} bytes from {receipt.provider}: {cost}")
        print(f"the key has spent ${(await client.key()).usage or 0:.6f}")


if __name__ == "__main__":
    asyncio.run(main())
