"""A database's port: passes connections on to its socket, run as a program: `relay.py HOST PORT SOCKET`.

Each line on its standard input is a number of seconds that everything takes from then on, in both directions.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

_CHUNK = 65_536


class Relay:
    """Passes everything on, after a while."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.delay = 0.0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(self._path)
        await asyncio.gather(self._pass_on(reader, far_writer), self._pass_on(far_reader, writer))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        sending = asyncio.create_task(self._send(queue, writer))
        with suppress(OSError):
            while content := await reader.read(_CHUNK):
                queue.put_nowait((asyncio.get_running_loop().time() + self.delay, content))
        queue.put_nowait((0, b""))
        await sending

    @staticmethod
    async def _send(queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while True:
                due, content = await queue.get()
                if not content:
                    break
                await asyncio.sleep(due - asyncio.get_running_loop().time())
                writer.write(content)
                await writer.drain()
        writer.close()


async def main(host: str, port: str, path: str) -> None:
    """Serve until the standard input ends."""
    relay = Relay(path)
    async with await asyncio.start_server(relay.serve, host, int(port)):
        print("ready", flush=True)  # noqa: T201
        while line := await asyncio.to_thread(sys.stdin.readline):
            relay.delay = float(line)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
