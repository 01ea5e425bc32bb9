"""Show text while it comes and save each picture when it is whole."""

import asyncio

from or_stream import ImageEnd, ImageStart, TextDelta, UsageUpdate, stream


async def main(prompt: str = "Draw a lighthouse at dusk, then describe it") -> None:
    async for event in stream(prompt):
        match event:
            case TextDelta(text=text):
                print(text, end="", flush=True)
            case ImageStart(media_type=media_type):
                print(f"\n[a picture begins: {media_type}]")
            case ImageEnd(image=image, index=index):
                print(f"[saved {image.save(f'out/lighthouse-{index}')}, {image.width}x{image.height}]")
            case UsageUpdate(usage=usage):
                print(f"\n[cost: ${usage.cost}]")


if __name__ == "__main__":
    asyncio.run(main())
