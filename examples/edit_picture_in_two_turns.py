"""A picture edited in two turns: the conversation keeps it in a file, sends it back with the second request, and can be saved."""

import asyncio

from or_stream import Client, Conversation


async def main() -> None:
    async with Client() as client:
        conversation = Conversation(client=client, save_to="out", require_image=True)
        for request in ("Draw a fishing village", "Now make it night"):
            message = await conversation.generate(request)
            print(f"{request}: {message.images[0].path}")
    print("to go on another day, Conversation.load:", conversation.save("out/village.json"))


if __name__ == "__main__":
    asyncio.run(main())
