"""A conversation: the message of one turn goes into the next as it is, with its pictures and its reasoning details."""

import asyncio

from or_stream import Client, Message


async def main() -> None:
    conversation: list[dict[str, str] | Message] = []
    async with Client() as client:
        for turn, request in enumerate(("Draw a fishing village", "Now make it night")):
            conversation.append({"role": "user", "content": request})
            message = await client.generate(conversation, require_image=True)
            conversation.append(message)
            print(f"{request}: {message.images[0].save(f'out/village-{turn}')}")


if __name__ == "__main__":
    asyncio.run(main())
