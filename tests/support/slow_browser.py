"""A browser that does not read, and how to know that nothing more is made for it."""

import asyncio


class Stall(asyncio.Protocol):
    """A browser that asks, and stops reading at the first bytes."""

    def __init__(self):
        self.begun = asyncio.Event()

    def connection_made(self, transport):
        self.transport = transport
        transport.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")

    def data_received(self, data):
        self.transport.pause_reading()
        self.begun.set()


class CountingClient:
    """A client whose streams count the events that are taken from them."""

    def __init__(self, client):
        self.client = client
        self.taken = 0

    async def stream(self, prompt):
        async for event in self.client.stream(prompt):
            self.taken += 1
            yield event

    async def stall(self, url):
        """Have a browser ask and not read, until nothing is taken for it any more. Returns what makes it leave."""
        _, stall = await asyncio.get_running_loop().create_connection(Stall, "127.0.0.1", int(url.rpartition(":")[2]))
        await stall.begun.wait()
        before = -1
        while before != self.taken:
            before = self.taken
            await asyncio.sleep(0.2)
        return stall.transport.abort
