"""What is left when a stream fails, whether to try again later, and how to leave one early."""

import asyncio

from or_stream import APIStatusError, Client, ConfigurationError, OrStreamError, RetryPolicy, StreamTimeout, Timeouts


async def describe(client: Client, prompt: str) -> str:
    try:
        message = await client.generate(prompt)
    except ConfigurationError as error:
        return f"nothing was sent: {error}"
    except StreamTimeout as error:
        return f"too slow ({error.phase}), kept {len(error.partial.text)} characters"
    except APIStatusError as error:
        return f"refused with {error.status} by {error.provider or 'the router'}, later: {error.retryable}"
    except OrStreamError as error:
        return f"{type(error).__name__} after {error.attempts} requests, kept {error.partial.text!r}"
    return f"{len(message.images)} pictures"


async def main() -> None:
    timeouts = Timeouts(first_content=300, idle=60, total=600)
    async with Client(timeouts=timeouts, retry=RetryPolicy(attempts=2)) as client:
        print(await describe(client, ""))
        print(await describe(client, "A lighthouse"))
        generation = client.stream("Tell me a long story")
        async for _text in generation.text:
            break  # drops the connection at once, though `generation` lives on
        print(f"left: {generation.status}, had {len(generation.message.text)} characters, id {generation.generation_id}")


if __name__ == "__main__":
    asyncio.run(main())
