"""No events: wait for the whole message, in which text and pictures stand in the order in which they came."""

import asyncio

from or_stream import Image, generate


async def main(prompt: str = "Two pictures of a harbour, each with a caption") -> None:
    message = await generate(prompt, image_config={"aspect_ratio": "16:9"}, require_image=True)
    for number, part in enumerate(message.parts):
        if isinstance(part, Image):
            print(f"![]({part.save(f'out/harbour-{number}')})")
        else:
            print(part.strip())
    print(f"{message.model} by {message.provider}, {message.finish_reason}")


if __name__ == "__main__":
    asyncio.run(main())
