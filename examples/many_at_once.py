"""64 generations at once over one client. No semaphore: connections are not limited unless `max_connections` says so."""

import asyncio

from or_stream import Client, Message, OrStreamError

PLACES = ("harbour", "lighthouse", "island", "cliff", "bay", "pier", "dune", "reef")
WEATHER = ("at dawn", "at noon", "at dusk", "by night", "in fog", "in rain", "in snow", "in a storm")


async def paint(client: Client, prompt: str) -> Message | OrStreamError:
    try:
        return await client.generate(prompt, save_to="out", image_config={"image_size": "1K"})
    except OrStreamError as error:  # one that fails must not end the others
        return error


async def main() -> None:
    prompts = [f"A {place} {weather}" for place in PLACES for weather in WEATHER]
    async with Client() as client, asyncio.TaskGroup() as group:
        tasks = [group.create_task(paint(client, prompt)) for prompt in prompts]
    messages = [result for task in tasks if isinstance(result := task.result(), Message)]
    images = [image for message in messages for image in message.images]
    cost = sum(message.usage.cost or 0 for message in messages if message.usage)
    print(f"{len(messages)} of {len(prompts)} answered, {len(images)} pictures in out/, ${cost:.2f}")


if __name__ == "__main__":
    asyncio.run(main())
