"""A burst of requests: a few begin in each turn of the event loop, and none is forgotten."""

import asyncio

from or_stream import ConfigurationError
from or_stream.client.transport._session import _REQUESTS_A_TURN, _Turns
from or_stream.emulator import scenarios
from support.raw_server import RawServer, answer

BURST = 400


async def play(connection):
    while True:
        await connection.request()
        connection.send(answer(scenarios.text("one").body()))


async def test_first_are_answered_before_the_last_are_sent(client_of):
    """Of many at once, the first has its text while others have not even a connection."""
    connections_at_first_text = []

    async def ask(client, server):
        connections_at_first_text.extend([len(server.connections) async for _ in client.stream("x").text])

    async with RawServer(play) as server, client_of(server) as client:
        await asyncio.gather(*(ask(client, server) for _ in range(BURST)))
    assert len(connections_at_first_text) == BURST
    assert connections_at_first_text[0] < BURST / 2


async def test_client_closed_while_requests_wait_for_their_turn(client_of):
    """Each says that the client was closed."""
    async with RawServer(play) as server:
        client = client_of(server)
        asking = [asyncio.create_task(client.generate("x")) for _ in range(BURST)]
        await asyncio.sleep(0)
        await client.aclose()
        endings = await asyncio.gather(*asking, return_exceptions=True)
    assert {type(ending) for ending in endings} == {ConfigurationError}
    assert len(server.connections) < BURST


async def test_requests_left_while_they_wait_for_their_turn(client_of):
    """They take no turn from those that stay."""
    async with RawServer(play) as server, client_of(server) as client:
        asking = [asyncio.create_task(client.generate("x")) for _ in range(BURST)]
        await asyncio.sleep(0)
        for task in asking[:-1]:
            task.cancel()
        async with asyncio.timeout(5):
            assert (await asking[-1]).text == "one"
        await asyncio.gather(*asking, return_exceptions=True)
        assert sum(len(connection.requests) for connection in server.connections) < BURST / 2


def test_turns_of_a_loop_that_was_closed_in_the_middle():
    """Another loop begins anew."""
    turns = _Turns()

    async def fill():
        for _ in range(_REQUESTS_A_TURN):
            await turns.next()

    loop = asyncio.new_event_loop()
    task = loop.create_task(fill())
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert task.done()
    asyncio.run(asyncio.wait_for(turns.next(), 1))
